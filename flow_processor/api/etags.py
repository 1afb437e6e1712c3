"""ETags of files (RFC 9110, 8.8.3 and 13.1): what callers have seen, and whether they change just that."""

from __future__ import annotations

from flask import request

from flow_processor.errors import InvalidRequest
from flow_processor.service.flow_edits import Expected

IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the file as the caller has seen it; `*`: whatever is there.",
    "schema": {"type": "string"},
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "`*`: only if there is no such file.",
    "schema": {"type": "string", "enum": ["*"]},
}
ETAG = {"ETag": {"description": "What tells this content from others.", "schema": {"type": "string"}}}
"""What OpenAPI says of the headers."""


def etag_header(etag: str | None) -> dict[str, str]:
    """The header of an answer; none where there is no content."""
    return {} if etag is None else {"ETag": f'"{etag}"'}


def expected() -> Expected:
    """What the caller says of the file as it is now. Weak ETags match nothing (RFC 9110, 13.1.1)."""
    wanted, unwanted = request.if_match, request.if_none_match
    if unwanted and not unwanted.star_tag:
        raise InvalidRequest("If-None-Match can only be '*' here: write the file if there is none")
    etags = frozenset(wanted.as_set(include_weak=False)) if wanted and not wanted.star_tag else None
    return Expected(etags=etags, is_there=wanted.star_tag, is_absent=unwanted.star_tag)
