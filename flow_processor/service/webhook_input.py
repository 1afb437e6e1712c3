"""What a flow sees of the call that started it: `__input__` of a webhook."""

from __future__ import annotations

import base64
import contextlib
import json
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from flow_processor.clock import to_text
from flow_processor.documents import NotJson, to_json_value
from flow_processor.errors import InvalidRequest
from flow_processor.service.webhook_proof import Headers
from flow_processor.spec.webhook import WebhookSpec

MAX_FIELDS = 1000
"""Fields that a form may have."""

_CHARSETS = frozenset(
    (
        *("utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", "us-ascii", "ascii", "latin1", "koi8-r"),
        *(f"iso-8859-{part}" for part in range(1, 17) if part != 12),
        *(f"windows-{page}" for page in range(1250, 1259)),
    )
)
"""Those of the web that cost no more than the body is long. Python knows codecs that take minutes for a megabyte
(punycode), or that make texts with halves of surrogate pairs (utf-7, unicode_escape); the sender chooses the name."""

_FORM = "application/x-www-form-urlencoded"


def input_of(spec: WebhookSpec, headers: Headers, body: bytes, *, at: datetime) -> dict[str, Any]:
    """`{body, body_type, headers, received_at}`. Raises InvalidRequest for a body that is not what it says.

    `body_type` is `json`, `form`, `text`, `base64` (of bytes that are no text) or `none`.
    """
    kind, value = _read(body, headers.get("Content-Type") or "")
    return {
        "body": value,
        "body_type": kind,
        "headers": {name: headers.get(name) for name in spec.headers},
        "received_at": to_text(at),
    }


def _read(body: bytes, content_type: str) -> tuple[str, Any]:
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if not body:
        return "none", None
    if kind.endswith(("/json", "+json")):
        return "json", _json(body)
    if kind == _FORM:
        return "form", _form(body)
    charset = parameters.lower().partition("charset=")[2].split(";")[0].strip(" \"'") or "utf-8"
    if charset in _CHARSETS:
        with contextlib.suppress(UnicodeError):
            return "text", body.decode(charset)
    return "base64", base64.b64encode(body).decode()


def _json(body: bytes) -> Any:
    try:
        return to_json_value(json.loads(body, parse_constant=_no_constant))
    except (ValueError, RecursionError, NotJson) as error:
        raise InvalidRequest(f"the body is not JSON: {error}", code="invalid_json") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _form(body: bytes) -> dict[str, Any]:
    """A name that is there several times has a list."""
    fields: dict[str, Any] = {}
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as error:  # also UnicodeDecodeError
        raise InvalidRequest(f"the body is no form: {error}", code="invalid_form") from None
    for name, value in pairs:
        known = fields.get(name)
        if known is None:
            fields[name] = value
        else:
            fields[name] = [*known, value] if isinstance(known, list) else [known, value]
    return fields
