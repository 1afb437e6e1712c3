"""Bodies: flow data as bytes to send, and the bytes of an answer as flow data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from flow_processor.documents import NotJson, to_json_value
from flow_processor.transport import Answer, TransportError

JsonValue = Any
_FORM = "application/x-www-form-urlencoded"


def encode(value: JsonValue, kind: str | None) -> tuple[str, bytes]:
    """Content type and bytes of a body; `kind` is the content type that the caller wants, if any.

    A text stays as it is, a mapping becomes a form if `kind` says so, everything else JSON.
    """
    try:
        if isinstance(value, str):
            return "text/plain; charset=utf-8", value.encode()
        if isinstance(value, Mapping) and kind is not None and kind.lower().startswith(_FORM):
            return _FORM, urlencode(form_pairs(value, what="body")).encode()
        text = json.dumps(to_json_value(value), ensure_ascii=False, separators=(",", ":"))
        return "application/json", text.encode()
    except (NotJson, UnicodeEncodeError) as error:
        raise TransportError(f"the body cannot be sent: {error}", code="rest_invalid_request") from error


def form_pairs(values: Mapping[str, JsonValue], *, what: str) -> list[tuple[str, str]]:
    """Names and texts of a query or form: a list repeats its name, None leaves it out."""
    pairs = []
    for name, value in values.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                pairs.append((name, scalar_text(f"{what} {name!r}", item)))
    return pairs


def scalar_text(what: str, value: JsonValue) -> str:
    """A text, number or boolean as HTTP's text. `what` names it in the message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise TransportError(
        f"{what} must be a text or a number, not {type(value).__name__}", code="rest_invalid_request"
    )


def decode(answer: Answer, *, redacted: Callable[[str], str] = str) -> JsonValue:
    """The body as flow data: JSON by content type, else text; None for an empty one.

    Raises TransportError `rest_invalid_json` or `rest_not_text`.
    """
    if not answer.body:
        return None
    kind, _, parameters = answer.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    if kind.endswith(("/json", "+json")):
        return _json(answer, kind, redacted)
    charset = parameters.lower().partition("charset=")[2].split(";")[0].strip(" \"'")
    return _text(answer.body, kind=kind, charset=charset)


def _json(answer: Answer, kind: str, redacted: Callable[[str], str]) -> JsonValue:
    try:
        return to_json_value(json.loads(answer.body, parse_constant=_no_constant))
    except (ValueError, RecursionError, NotJson) as error:
        start = redacted(answer.body.decode(errors="replace"))[:200]
        raise TransportError(
            f"the answer ({answer.status}) says {kind} but is none: {error}; it begins with {start!r}",
            code="rest_invalid_json",
            details={"status": answer.status, "body": start},
        ) from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _text(body: bytes, *, kind: str, charset: str) -> str:
    try:
        return body.decode(charset if charset not in ("", "utf-8") else "utf-8-sig")
    except (UnicodeDecodeError, LookupError) as error:
        if kind.startswith("text/"):
            return body.decode("latin-1")  # what HTTP took for granted before UTF-8
        raise TransportError(
            f"the answer is {kind or 'of no type'}, not text ({len(body):,} bytes); flow data holds text",
            code="rest_not_text",
            details={"content_type": kind, "bytes": len(body)},
        ) from error
