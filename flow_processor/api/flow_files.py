"""Calls about flow files: list, read and draw them; write, delete and bring back, for who may; launch one."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import quote

from flask import Response, request
from pydantic import Field

from flow_processor import errors
from flow_processor.api.errors import BodyTooLarge, InvalidJson, UnsupportedMedia, error_answers
from flow_processor.api.etags import ETAG, IF_MATCH, IF_NONE_MATCH, etag_header, expected
from flow_processor.api.handlers import Parameters, answer, handler, service
from flow_processor.api.launching import (
    LAUNCH_ANSWERS,
    LAUNCH_DESCRIPTION,
    FileLaunchBody,
    FlowFilePath,
    FlowPath,
    launched,
)
from flow_processor.api.nouns import Noun
from flow_processor.api.permissions import Permission, caller, check_path
from flow_processor.documents import dump_yaml
from flow_processor.service.edit_views import FlowFileEdited, FlowVersionDetail, FlowVersions
from flow_processor.service.flow_views import FlowFileDetail, FlowFileView
from flow_processor.service.views import View

noun = Noun("flow_files", "/api/flows/files", "Read and write flow files.")

YAML_TYPES = ("application/yaml", "text/yaml", "application/x-yaml", "text/x-yaml")
"""What YAML may be called (RFC 9512 and before)."""
JSON_TYPE = "application/json"


class GraphQuery(Parameters):
    """How a flow is drawn."""

    format: Literal["text", "mermaid", "svg"] = "svg"
    """As a picture, as a diagram for Markdown, or as lines of text."""
    sub_flows: bool = False
    """True: with the flows that it calls, inside the steps that call them."""


class WriteQuery(Parameters):
    """How a flow file is written."""

    dry: bool = False
    """True: only say what would be said; nothing is written."""


class VersionPath(Parameters):
    """Which version of which flow file."""

    path: FlowPath
    """The flow file below the flows folder; `.yml` may be left out."""
    version: Annotated[int, Field(ge=1)]
    """Its number."""


class FlowFiles(View):
    """All flow files."""

    files: list[FlowFileView]
    """Valid or with their problems."""
    defaults_problems: list[dict[str, Any]]
    """What is wrong with defaults.yml, as a file's `problems`; its last good version is in force."""


_MEDIA_TYPES = {"text": "text/plain", "mermaid": "text/plain", "svg": "image/svg+xml"}
_DRAWN = {
    "description": "The drawing.",
    "content": {name: {"schema": {"type": "string"}} for name in dict.fromkeys(_MEDIA_TYPES.values())},
}
_FILE_BODY = {
    "description": "The flow file: as YAML it is kept as it was sent, with its comments; JSON is written as YAML.",
    "required": True,
    "content": {
        "application/yaml": {"schema": {"type": "string"}},
        "application/json": {"schema": {"type": "object"}},
    },
}
_FILE_ANSWER = {
    "200": {"headers": ETAG, "content": {name: {"schema": {"type": "string"}} for name in YAML_TYPES[:2]}}
}
_MADE_ANSWER = {
    "200": {"headers": ETAG},
    "201": {
        "headers": {
            **ETAG,
            "Location": {"description": "Where the new file is.", "schema": {"type": "string"}},
        }
    },
}
_CHANGE_ERRORS = (
    errors.FlowChanged,
    errors.SpecError,
    errors.Unavailable,
    errors.StoreUnavailable,
    errors.DiskFull,
)


@noun.get("", needs=Permission.READ, responses={200: FlowFiles, **error_answers()})
@handler
def files() -> Response:
    """List every flow file, valid or with its problems."""
    return answer(
        FlowFiles.model_construct(
            files=service().flow_files(), defaults_problems=service().defaults_problems()
        )
    )


@noun.get(
    "/<path:path>",
    needs=Permission.READ,
    description="With `Accept: application/yaml` (or text/yaml) only its text. The ETag is for changing it.",
    more={"responses": _FILE_ANSWER},
    responses={
        200: FlowFileDetail,
        **error_answers(errors.FlowNotFound, errors.SpecError, errors.Unavailable),
    },
)
@handler
def file(path: FlowFilePath) -> Response:
    """Show one flow file: its text, its problems, and as JSON Schema what may be given as `params`."""
    wanted = request.accept_mimetypes.best_match((JSON_TYPE, *YAML_TYPES), JSON_TYPE)
    if wanted != JSON_TYPE:
        content, etag = service().flow_content(path.path)
        return Response(content, headers=etag_header(etag), content_type=f"{wanted}; charset=utf-8")
    found = service().flow_file(path.path)
    return answer(found, headers=etag_header(found.etag))


@noun.put(
    "/<path:path>",
    needs=Permission.EDIT,
    description="Nothing is written unless it is right. To change an existing file, send its ETag as `If-Match` (`*` "
    "overwrites whatever is there); with `If-None-Match: *` only a new file is written. It counts at once; a run under "
    "way keeps what it was launched with.",
    more={
        "requestBody": _FILE_BODY,
        "parameters": [IF_MATCH, IF_NONE_MATCH],
        "responses": _MADE_ANSWER,
    },
    responses={
        200: FlowFileEdited,
        201: FlowFileEdited,
        **error_answers(
            InvalidJson, BodyTooLarge, UnsupportedMedia, errors.PreconditionRequired, *_CHANGE_ERRORS
        ),
    },
)
@handler
def write(path: FlowFilePath, query: WriteQuery) -> Response:
    """Write a flow file, if it is right."""
    check_path(path.path)
    edited = service().write_flow_file(
        path.path, _content(), expected(), by=caller().by("api"), dry=query.dry
    )
    return _answer(edited)


@noun.delete(
    "/<path:path>",
    needs=Permission.EDIT,
    description="Its runs go on, its schedules stay and say what is wrong, its last version can be brought back. With "
    "`If-Match` only if it is still that one.",
    more={"parameters": [IF_MATCH]},
    responses={200: FlowFileEdited, **error_answers(errors.FlowNotFound, *_CHANGE_ERRORS)},
)
@handler
def delete(path: FlowFilePath) -> Response:
    """Delete a flow file."""
    check_path(path.path)
    return _answer(service().delete_flow_file(path.path, expected(), by=caller().by("api")))


@noun.post(
    "/<path:path>/launch",
    needs=Permission.RUN,
    description=LAUNCH_DESCRIPTION,
    responses=LAUNCH_ANSWERS,
)
@handler
def launch(path: FlowFilePath, body: FileLaunchBody) -> Response:
    """Launch the flow of this file."""
    return launched(path.path, body)


@noun.get(
    "/<path:path>/versions",
    needs=Permission.READ,
    responses={200: FlowVersions, **error_answers(errors.FlowNotFound)},
)
@handler
def versions(path: FlowFilePath) -> Response:
    """List the last ten versions of a flow file that was changed over the API: who wrote them, and when."""
    return answer(service().flow_versions(path.path))


@noun.get(
    "/<path:path>/versions/<int:version>",
    needs=Permission.READ,
    responses={200: FlowVersionDetail, **error_answers(errors.VersionNotFound)},
)
@handler
def version(path: VersionPath) -> Response:
    """Show one version, with its text."""
    return answer(service().flow_version(path.path, path.version))


@noun.post(
    "/<path:path>/versions/<int:version>/restore",
    needs=Permission.EDIT,
    description="What is there now becomes a version too. With `If-Match` only if it is still that one.",
    more={"parameters": [IF_MATCH], "responses": _MADE_ANSWER},
    responses={
        200: FlowFileEdited,
        201: FlowFileEdited,
        **error_answers(errors.VersionNotFound, *_CHANGE_ERRORS),
    },
)
@handler
def restore(path: VersionPath) -> Response:
    """Write a version again, if it is right; also of a file that was deleted."""
    check_path(path.path)
    edited = service().restore_flow_file(path.path, path.version, expected(), by=caller().by("api"))
    return _answer(edited)


@noun.get(
    "/<path:path>/graph",
    needs=Permission.READ,
    responses={200: _DRAWN, **error_answers(errors.FlowNotFound, errors.SpecError)},
)
@handler
def graph(path: FlowFilePath, query: GraphQuery) -> Response:
    """Draw a flow: its steps, what leads from one to another, and what stands inside them."""
    text = service().flow_graph(path.path, query.format, sub_flows=query.sub_flows)
    return Response(text, mimetype=_MEDIA_TYPES[query.format])


def _answer(edited: FlowFileEdited) -> Response:
    is_new = edited.created and edited.changed
    place = {"Location": f"/api/flows/files/{quote(edited.path)}"} if is_new else {}
    return answer(edited, 201 if is_new else 200, headers={**etag_header(edited.etag), **place})


def _content() -> bytes:
    """The flow file that was sent. Without a content type it is taken for YAML."""
    content = request.get_data(cache=False)
    if request.mimetype in ("", *YAML_TYPES):
        return content
    if request.mimetype != JSON_TYPE:
        known = f"{YAML_TYPES[0]}, {YAML_TYPES[1]} or {JSON_TYPE}"
        raise UnsupportedMedia(f"a flow file is sent as {known}, not as {request.mimetype[:100]}")
    try:
        value = json.loads(content, object_pairs_hook=_mapping, parse_constant=_no_constant)
        return dump_yaml(value).encode()
    except (ValueError, RecursionError, errors.StepError) as error:
        raise InvalidJson(f"the body is not JSON: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
        raise ValueError(f"the key '{twice}' stands twice in one object")
    return found
