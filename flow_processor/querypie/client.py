"""Single calls of QueryPie's API: sent, tried again where that is safe, their errors in the vendor's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from flow_processor.expressions import patterns
from flow_processor.querypie.access import Access, Voice
from flow_processor.querypie.errors import (
    QueryPieAnswer,
    QueryPieError,
    QueryPieForbidden,
    QueryPieNotFound,
    QueryPieRefused,
    QueryPieUnauthorized,
    QueryPieUnavailable,
)
from flow_processor.shortened import shortened
from flow_processor.spec.step import RetrySpec
from flow_processor.transport import Answer, Request, TransportError, send
from flow_processor.transport.content import decode

JsonValue = Any

MAX_PAGES = 1_000
"""More pages than that are no list any more."""
_PAGE_SIZE = 50
_SHOWN = 2_000
"""Characters of an answer that are shown."""
_SHOWN_OF_ERROR = 1_000
"""Characters of each text in an error of QueryPie that are kept."""
_LONGEST_PAUSE = 300.0
"""A server that wants to be left alone for longer is taken as away."""
_BY_STATUS: dict[int, tuple[type[QueryPieError], str]] = {
    401: (
        QueryPieUnauthorized,
        "Unauthorized: QueryPie does not take the token (look at 'secret' and 'auth_prefix')",
    ),
    403: (QueryPieForbidden, "QueryPie does not allow this to the token"),
    404: (QueryPieNotFound, "QueryPie does not know it"),
    429: (QueryPieUnavailable, "QueryPie takes no more calls for now"),
}


class Client:
    """Sends calls and reads their answers. Raises QueryPieError."""

    def __init__(self, access: Access, voice: Voice):
        self._access = access
        self.voice = voice

    def get(self, *path: str, query: Mapping[str, str] | None = None) -> JsonValue:
        """The answer of a GET; `path` in its segments. Tried again where the server is away."""
        return self._call("GET", path, query=query or {})

    def post(self, *path: str, body: JsonValue) -> JsonValue:
        """The answer of a POST; None for an empty one.

        Sent again only where the server certainly did not take it; else the error says `is_unclear`.
        """
        return self._call("POST", path, body=body)

    def pages(self, *path: str, query: Mapping[str, str]) -> list[JsonValue]:
        """The elements of all pages of a list."""
        found: list[JsonValue] = []
        for number in range(MAX_PAGES):
            paging = {"pageNumber": str(number), "pageSize": str(_PAGE_SIZE)}
            answer = self.get(*path, query={**query, **paging})
            part = answer.get("list") if isinstance(answer, dict) else None
            if not isinstance(part, list):
                raise QueryPieAnswer(f"{_named('GET', path)} answers no list in 'list'")
            found += part
            page = answer.get("page")
            total = page.get("totalPages") if isinstance(page, dict) else None
            if not part or not isinstance(total, int) or number + 1 >= total:
                return found
        raise QueryPieAnswer(f"{_named('GET', path)} has more than {MAX_PAGES} pages")

    def _call(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: Mapping[str, str] | None = None,
        body: JsonValue = None,
    ) -> JsonValue:
        retry = self._access.retry
        attempt = 1
        while True:
            try:
                return self._send(method, path, query or {}, body)
            except QueryPieError as error:
                pause = _pause(retry, attempt) if error.retry_after is None else error.retry_after
                is_wanted = attempt <= retry.attempts and _is_retried(retry, error)
                if not error.may_repeat or not is_wanted or pause > _LONGEST_PAUSE:
                    raise
                self.voice.log(f"{error.message}; tried again in {pause:g} s", "warning")
            self.voice.wait(pause)
            attempt += 1

    def _send(
        self, method: str, path: tuple[str, ...], query: Mapping[str, str], body: JsonValue
    ) -> JsonValue:
        headers = {"Accept": "application/json", "Authorization": self._authorization()}
        data = None
        if method == "POST":
            headers["Content-Type"] = "application/json"
            data = json.dumps(body, ensure_ascii=False).encode()
        uri = self._access.root + "".join(f"/{quote(part, safe='')}" for part in path)
        request = Request(
            method=method,
            uri=f"{uri}?{urlencode(query, quote_via=quote)}" if query else uri,
            headers=headers,
            body=data,
            verify=self._access.verify,
            keep_redirect=lambda status: True,  # a redirect could mean a second POST, or a GET in its place
        )
        left = self.voice.remaining()
        limit = self._access.timeout_seconds
        try:
            answer = send(request, seconds=limit if left is None else min(limit, left))
        except TransportError as error:
            raise _unreachable(error, method, path) from error
        if not 200 <= answer.status < 300:
            raise self._refused(answer, method, path)
        return self._value(answer, method, path)

    def _authorization(self) -> str:
        return f"{self._access.auth_prefix.strip()} {self._access.token}".strip()

    def _value(self, answer: Answer, method: str, path: tuple[str, ...]) -> JsonValue:
        try:
            value = decode(answer, redacted=self.voice.redacted)
        except TransportError as error:
            broken = QueryPieAnswer(f"{_named(method, path)}: {error.message}", details=error.details)
            broken.is_unclear = method == "POST"
            raise broken from error
        if self._access.show_response:
            text = self.voice.redacted(json.dumps(value, ensure_ascii=False))
            cut = shortened(text, _SHOWN)
            self.voice.log(f"{_named(method, path)} answers {answer.status}: {cut}", "info")
        return value

    def _refused(self, answer: Answer, method: str, path: tuple[str, ...]) -> QueryPieError:
        said = {key: self._cut(text) for key, text in _vendor_error(answer).items()}
        words = ": ".join(said[key] for key in ("code", "message") if said.get(key))
        if said.get("required_key"):
            words += f" (required: {said['required_key']})"
        kind, reason = _BY_STATUS.get(answer.status, (QueryPieRefused, "QueryPie refuses it"))
        is_elsewhere = 300 <= answer.status < 400
        if is_elsewhere:
            reason = "the address of QueryPie leads elsewhere (look at 'base_url')"
        if answer.status >= 500:
            kind, reason = QueryPieUnavailable, "QueryPie has a defect or is away"
        message = f"{reason}: {_named(method, path)} answers {answer.status}{' ' + words if words else ''}"
        error = kind(
            message, details={"status": answer.status, **{f"vendor_{key}": said[key] for key in said}}
        )
        error.retry_after = _retry_after(answer)
        is_unsent = answer.status == 429 or (answer.status == 503 and error.retry_after is not None)
        error.may_repeat = is_unsent or (method == "GET" and answer.status >= 500)
        # Whoever leads elsewhere may have handed the call on before.
        may_be_taken = answer.status >= 500 or answer.status == 408 or is_elsewhere
        error.is_unclear = method == "POST" and not is_unsent and may_be_taken
        if is_elsewhere:
            error.details["location"] = self._cut(answer.headers.get("location", ""))
        return error

    def _cut(self, text: str) -> str:
        return shortened(self.voice.redacted(text), _SHOWN_OF_ERROR)


def _pause(retry: RetrySpec, attempt: int) -> float:
    """Seconds between the failed `attempt` (1 is the first) and the next."""
    return float(min(retry.delay_seconds * retry.backoff ** (attempt - 1), retry.max_delay_seconds))


def _is_retried(retry: RetrySpec, error: QueryPieError) -> bool:
    text = f"{error.message} {json.dumps(error.details, ensure_ascii=False)}"
    return retry.on is None or patterns.first_match(retry.on, text) is not None


def _named(method: str, path: tuple[str, ...]) -> str:
    return f"{method} /{'/'.join(path)}"


def _unreachable(error: TransportError, method: str, path: tuple[str, ...]) -> QueryPieError:
    message = f"{_named(method, path)}: {error.message}"
    failed = QueryPieUnavailable(message, details={"transport": error.code})
    is_passing = error.code in ("rest_connection", "rest_timeout")
    failed.may_repeat = is_passing and (method == "GET" or not error.was_sent)
    failed.is_unclear = method == "POST" and error.was_sent
    return failed


def _vendor_error(answer: Answer) -> dict[str, str]:
    """`code`, `message`, `path` of `{"error": {…}, "requiredKey": …}` and `required_key`, whatever content type it came
    with; of another body all of it as the message."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict):
        text = answer.body.decode(errors="replace").strip()
        return {"message": text} if text else {}
    said = {key: error.get(key) for key in ("code", "message", "path")} | {
        "required_key": found.get("requiredKey")
    }
    return {key: str(value) for key, value in said.items() if isinstance(value, str | int)}


def _retry_after(answer: Answer) -> float | None:
    """Seconds in Retry-After; 1 for a date, which is not worth a clock that may be another one's."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    return float(text) if text.isascii() and text.isdigit() else 1.0
