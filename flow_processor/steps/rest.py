"""Calls a REST endpoint.

```yaml
- name: open_tickets
  type: rest
  rest:
    uri: "https://tickets.example/api/search?expand=names"
    query: {jql: "status = Open", fields: [summary, status]}
    authentication: {type: basic, secret: tickets}
    timeout_seconds: 20
```

The result is the body of the answer: parsed if its content type says JSON, else text; null if it is empty.
With `response: full` it is `{status, headers, body}`, the headers by lower-case name.

A body that is a mapping or list goes out as JSON (or as a form, if the header Content-Type says so), a text
as it is. `query` may be a mapping, in which a list repeats the key and null leaves it out, or a query string.

`timeout_seconds` is the time of the whole call: connecting, redirects and the last byte of the body. At most
10 redirects are followed; to another scheme, host or port only Accept, Accept-Language, Content-Type and
User-Agent go along. No cookies are kept from one call to the next.

A status that is not expected fails the step with `REST request failed: 400 {"reason": …}`; the details of the
error are `{status, headers, body}`. After a crash GET, HEAD and OPTIONS are simply sent again, other methods only
with `on_interrupt: rerun`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.paths import inside
from flow_processor.shortened import shortened
from flow_processor.spec.base import Seconds, Spec, TemplateText
from flow_processor.spec.step import RetrySpec
from flow_processor.step import JsonValue, Secret, StepContext, StepResult
from flow_processor.transport import DEFAULT_MAX_BYTES, Answer, Request, send
from flow_processor.transport.content import decode, encode, form_pairs, scalar_text

_SHOWN_BODY = 2_000
"""Characters of the body in an error's message."""
_KEPT_BODY = 32_768
"""Characters of the body in an error's details."""


class RestError(StepError):
    """The endpoint gave no answer that the flow can use."""

    code = "rest_failed"


class Method(StrEnum):
    """HTTP methods."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"
    HEAD = "HEAD"
    OPTIONS = "OPTIONS"


class AuthenticationSpec(Spec):
    """Credentials of a call, from a named secret."""

    type: Literal["basic", "token", "api_key"]
    """`basic`: user name and password. `token`: `Authorization: Bearer …`. `api_key`: a header of its own."""
    secret: str
    """Name of the secret."""
    bearer: bool | str = True
    """With `token`, the word before the token: true means `Bearer`, false none at all, a text itself."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, int | str) else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _is_http(value: str) -> str:
    if "{{" not in value and "{%" not in value and not value.lower().startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https:// (or be a template)")
    return value


_Status = Annotated[int, Field(ge=100, le=599)] | Annotated[str, Field(pattern=r"^[1-5]xx$")]


class RestOptions(Spec):
    """Calls a REST endpoint."""

    uri: Annotated[str, Field(min_length=1, max_length=8192), AfterValidator(_is_http)]
    """The address, http:// or https://. A template."""
    method: Annotated[Method, BeforeValidator(_upper)] = Method.GET
    """The HTTP method."""
    headers: dict[str, Any] | TemplateText | None = None
    """Headers to send, by name; null leaves one out. Templates."""
    query: dict[str, Any] | str | None = None
    """Added to the uri's query: a mapping (a list repeats the key, null leaves it out) or a query string.
    Templates."""
    body: JsonValue = None
    """What to send. Templates."""
    data_key: str | None = None
    """Key of the flow data that is sent instead of `body`; `.` is the whole data."""
    authentication: AuthenticationSpec | None = None
    """Credentials."""
    timeout_seconds: Seconds = 30.0
    """Time of the whole call, in seconds."""
    verify: bool | str = True
    """Check the server's certificate. A text is the path of a file below the data folder with the
    certificates to trust."""
    expect: Annotated[tuple[_Status, ...], BeforeValidator(_listed), Field(min_length=1)] = ("2xx",)
    """Statuses that are a success: numbers, or classes like `2xx`. A redirect named here is not followed."""
    response: Literal["body", "full"] = "body"
    """What the result is: the body, or `{status, headers, body}`."""
    max_response_bytes: Annotated[int, Field(ge=1, le=1 << 30)] = DEFAULT_MAX_BYTES
    """Largest body of an answer, unpacked, in bytes."""
    retry: RetrySpec | None = None
    """The step's `retry`, where it does not have one."""

    @model_validator(mode="after")
    def _one_body(self) -> RestOptions:
        if self.method is Method.HEAD and (self.body is not None or self.data_key is not None):
            raise ValueError("HEAD takes no body")
        return self


_REPEATABLE = frozenset({Method.GET, Method.HEAD, Method.OPTIONS})


@step_type("rest", repeatable=lambda options: options.method in _REPEATABLE)
def run(options: RestOptions, context: StepContext) -> StepResult:
    """Call the endpoint. Raises RestError and TransportError."""
    headers = _headers(context.render(options.headers))
    body = _body(options, context, headers)
    if options.authentication is not None:
        headers.update(_credentials(options.authentication, context))
    request = Request(
        method=options.method.value,
        uri=_uri(context.render(options.uri), context.render(options.query)),
        headers=headers,
        body=body,
        verify=_verify(options, context),
        max_bytes=options.max_response_bytes,
        keep_redirect=lambda status: status in options.expect,
    )
    left = context.remaining_seconds()
    answer = send(
        request, seconds=options.timeout_seconds if left is None else min(left, options.timeout_seconds)
    )
    if not {answer.status, f"{answer.status // 100}xx"} & set(options.expect):
        raise _unexpected(answer, context)
    value = decode(answer, redacted=context.redacted)
    if options.response == "full":
        value = {"status": answer.status, "headers": dict(answer.headers), "body": value}
    return StepResult(value)


def _uri(uri: JsonValue, query: JsonValue) -> str:
    if not isinstance(uri, str):
        raise RestError(f"uri must be a text, not {type(uri).__name__}", code="rest_invalid_uri")
    if isinstance(query, str):
        pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True)
    elif isinstance(query, Mapping):
        pairs = form_pairs(query, what="query")
    elif query is None:
        pairs = []
    else:
        raise RestError(
            f"query must be a mapping or a text, not {type(query).__name__}", code="rest_invalid_request"
        )
    if not pairs:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise RestError(f"{uri!r} is no address: {error}", code="rest_invalid_uri") from error
    added = urlencode(pairs, quote_via=quote)
    merged = f"{parts.query}&{added}" if parts.query else added
    return urlunsplit((parts.scheme, parts.netloc, parts.path, merged, ""))


def _headers(rendered: JsonValue) -> dict[str, str]:
    if rendered is None:
        return {}
    if not isinstance(rendered, Mapping):
        raise RestError("headers must be a mapping", code="rest_invalid_request")
    return {
        name: scalar_text(f"header {name!r}", value) for name, value in rendered.items() if value is not None
    }


def _body(options: RestOptions, context: StepContext, headers: dict[str, str]) -> bytes | None:
    """The body as it is sent; adds the Content-Type that fits unless there is one."""
    if options.data_key is not None:
        value = context.lookup(options.data_key)
    elif options.body is None:
        return None
    else:
        value = context.render(options.body)
    kind = next((text for name, text in headers.items() if name.lower() == "content-type"), None)
    content_type, data = encode(value, kind)
    if kind is None:
        headers["Content-Type"] = content_type
    return data


def _credentials(spec: AuthenticationSpec, context: StepContext) -> dict[str, str]:
    secret = context.secret(spec.secret)
    if spec.type == "basic":
        pair = f"{_part(secret, 'username')}:{_part(secret, 'password')}"
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    if spec.type == "token":
        word = "Bearer" if spec.bearer is True else spec.bearer or ""
        return {"Authorization": f"{word} {_part(secret, 'token')}".strip()}
    return {_part(secret, "key"): _part(secret, "value")}


def _part(secret: Secret, key: str) -> str:
    value = secret.values.get(key)
    if not isinstance(value, str) or not value:
        there = ", ".join(sorted(secret.values)) or "nothing"
        raise RestError(
            f"secret {secret.name!r} ({secret.type}) has no {key!r}; it has: {there}",
            code="rest_authentication",
            details={"secret": secret.name, "missing": key},
        )
    return value


def _verify(options: RestOptions, context: StepContext) -> bool | str:
    if isinstance(options.verify, bool):
        if not options.verify:
            context.log("the server's certificate is not checked (verify: false)", level="warning")
        return options.verify
    path = inside(context.folders.data, options.verify, what="rest.verify", private=context.folders.private)
    if not path.is_file():
        raise RestError(f"verify: there is no file {options.verify!r}", code="rest_tls")
    return str(path)


def _unexpected(answer: Answer, context: StepContext) -> RestError:
    headers = {name: text for name, text in answer.headers.items() if name != "set-cookie"}
    text = context.redacted(answer.body.decode(errors="replace"))
    kept: JsonValue = text[:_KEPT_BODY]
    if len(text) <= _KEPT_BODY:
        try:
            kept = decode(answer)
        except StepError:
            kept = text
    shown = context.redacted(kept if isinstance(kept, str) else json.dumps(kept, ensure_ascii=False))
    quoted = "" if kept is None else shortened(shown, _SHOWN_BODY)
    message = f"REST request failed: {answer.status} {quoted}".rstrip()
    details = {"status": answer.status, "headers": headers, "body": kept}
    return RestError(message, code="rest_status", details=details)
