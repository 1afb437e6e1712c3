"""What goes wrong in a call, as the caller sees it: one table from error class to HTTP status, one shape.

Every error answer is `{"error": text, "code": stable code, …}`. Handlers contain no `try`: they let errors
through, and the handlers at the end of this module turn them into answers.
"""

from __future__ import annotations

import json
import logging
import secrets
from typing import Any

from flask import Flask, Response, current_app, request
from pydantic import ConfigDict
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from flow_processor import errors
from flow_processor.documents.described import Described
from flow_processor.errors import OctospoolError

logger = logging.getLogger("octospool.api")


class InvalidJson(errors.InvalidRequest):
    """The body is not JSON; the message says where it stops being JSON."""

    code = "invalid_json"


class HostRefused(OctospoolError):
    """A daemon that serves this machine only was called by another name (DNS rebinding)."""

    code = "host_refused"


class RouteNotFound(errors.NotFound):
    """The API has no such address."""

    code = "route_not_found"


class MethodRefused(OctospoolError):
    """The address exists, but not with this method."""

    code = "method_not_allowed"


class BodyTooLarge(OctospoolError):
    """The body is larger than `api.max_body`; it was refused before it was read whole."""

    code = "body_too_large"


class UnsupportedMedia(OctospoolError):
    """The body is of a kind that the call does not take; `Content-Type` says which it takes."""

    code = "unsupported_media_type"


class HttpRefused(OctospoolError):
    """The request breaks a rule of HTTP itself."""

    code = "bad_http_request"


class InternalError(OctospoolError):
    """A defect of the product; `id` finds it in the log."""

    code = "internal_error"


STATUS_OF: dict[type[OctospoolError], int] = {
    errors.InvalidRequest: 400,
    HttpRefused: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    HostRefused: 403,
    errors.NotFound: 404,
    MethodRefused: 405,
    errors.Conflict: 409,
    BodyTooLarge: 413,
    errors.DeliveryTooLarge: 413,
    errors.ItemTooLarge: 413,
    errors.FlowChanged: 412,
    UnsupportedMedia: 415,
    errors.SpecError: 422,
    errors.PreconditionRequired: 428,
    errors.QueueFull: 429,
    InternalError: 500,
    errors.Unavailable: 503,
    errors.DiskFull: 507,
    OctospoolError: 500,
}
"""HTTP status by error class; a class that is not here has its nearest base's. The only such table."""


class ErrorAnswer(Described):
    """What every error looks like; some carry more, such as `problems` or `run_id`."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    error: str
    """What is wrong and what to do, for people."""
    code: str
    """Stable, for programs."""


def status_of(error: type[OctospoolError]) -> int:
    """The HTTP status of an error class."""
    return next(STATUS_OF[base] for base in error.__mro__ if base in STATUS_OF)


def error_answers(*expected: type[OctospoolError]) -> dict[int, Any]:
    """The error part of a route's OpenAPI description: what it may raise, besides what any call may meet."""
    anywhere: tuple[type[OctospoolError], ...] = (
        errors.InvalidRequest,
        errors.Unauthorized,
        errors.Forbidden,
        HostRefused,
        InternalError,
    )
    sentences: dict[int, list[str]] = {}
    for error in (*anywhere, *expected):
        summary = (error.__doc__ or "").strip().splitlines()[0]
        sentences.setdefault(status_of(error), []).append(f"`{error.code}`: {summary}")
    schema = {"$ref": f"#/components/schemas/{ErrorAnswer.__name__}"}
    return {
        status: {"description": "\n\n".join(lines), "content": {"application/json": {"schema": schema}}}
        for status, lines in sorted(sentences.items())
    }


def error_body(error: OctospoolError) -> bytes:
    """The JSON text of an error answer."""
    return json.dumps(error.as_dict(), default=str).encode()


def install(app: Flask) -> None:
    """Turn every error of the app into its answer."""
    app.register_error_handler(OctospoolError, _answer_own)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_defect)


def _answer(error: OctospoolError, status: int) -> Response:
    answer = Response(error_body(error), status, mimetype="application/json")
    if "retry_after_seconds" in error.details:
        answer.headers["Retry-After"] = str(error.details["retry_after_seconds"])
    return answer


def _answer_own(error: OctospoolError) -> Response:
    status = status_of(type(error))
    if status >= 500:
        place = f"{request.method} {request.path[:200]}"
        level = logging.ERROR if status == 500 else logging.WARNING
        logger.log(level, "%s answered %d %s: %s", place, status, error.code, error.message)
    return _answer(error, status)


def _answer_http(error: HTTPException) -> Response:
    """Errors of Flask and Werkzeug in our shape."""
    place = f"{request.method} {request.path[:200]}"
    if isinstance(error, NotFound):
        return _answer(RouteNotFound(f"there is no {place}; /api/openapi.json lists every call"), 404)
    if isinstance(error, MethodNotAllowed):
        # `/api/flows/launch` also fits `/api/flows/{id}`, whose methods are no advice for it.
        rules = [rule for rule in current_app.url_map.iter_rules() if rule.rule == request.path]
        own = {method for rule in rules for method in rule.methods or ()}
        allowed = sorted((own or set(error.valid_methods or ())) - {"HEAD", "OPTIONS"})
        answer = _answer(MethodRefused(f"{place}: use {' or '.join(allowed)}"), 405)
        answer.headers["Allow"] = ", ".join(allowed)
        return answer
    if isinstance(error, RequestEntityTooLarge):
        return _answer(body_too_large(int(request.max_content_length or 0)), 413)
    return _answer(HttpRefused(f"{place}: {error.description or error.name}"), error.code or 400)


def _answer_defect(error: Exception) -> Response:
    """The last resort: nothing of the defect reaches the caller but an id that stands in the log."""
    defect_id = secrets.token_hex(6)
    logger.error("defect %s in %s %s", defect_id, request.method, request.path[:200], exc_info=error)
    details: dict[str, Any] = {"id": defect_id}
    message = f"the daemon failed to handle this call; its log tells more under the id {defect_id}"
    return _answer(InternalError(message, details=details), 500)


def body_too_large(limit: int) -> BodyTooLarge:
    """The error for a body of more than `limit` bytes."""
    return BodyTooLarge(
        f"the body is larger than {limit} bytes; send less, or raise api.max_body in config.yml",
        details={"limit": limit},
    )
