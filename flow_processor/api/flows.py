"""Calls about flows: launch one, put one into the scheduler, list what is there."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Response
from pydantic import Field

from flow_processor import errors
from flow_processor.api.errors import BodyTooLarge, InvalidJson, error_answers
from flow_processor.api.handlers import Body, Parameters, answer, handler, service
from flow_processor.api.nouns import Noun
from flow_processor.api.permissions import Permission, caller
from flow_processor.api.waiting import MAX_WAIT_SECONDS, waiting_room
from flow_processor.run import Trigger
from flow_processor.service.views import AddedFlow, FlowFileDetail, FlowFileView, RunDetail, RunSummary, View

noun = Noun("flows", "/api/flows", "Launch, schedule and list flows.")

FlowPath = Annotated[str, Field(min_length=1, max_length=500)]


class LaunchBody(Body):
    """What to launch, and with what."""

    path: FlowPath
    """The flow file below the flows folder; `.yml` may be left out."""
    data: Any = None
    """The run's `__input__`: any JSON value."""
    params: dict[str, Any] | None = None
    """Values for the parameters that the flow declares."""
    until: str | None = None
    """The step of the flow to end after; left out: at its end."""
    trigger: Literal["api", "cli"] = "api"
    """Who launches, for the history: a program, or a person with `octospool run`."""
    wait: Annotated[float, Field(gt=0, le=MAX_WAIT_SECONDS)] | None = None
    """Wait up to so many seconds for the end of the run."""


class AddBody(Body):
    """Which flow to put into the scheduler."""

    path: FlowPath
    """The flow file below the flows folder; it says itself when it runs."""
    params: dict[str, Any] | None = None
    """Values for the flow's parameters, on top of those of its schedule."""


class FlowIdPath(Parameters):
    """Which added flow."""

    flow_id: str
    """Its id, as `GET /api/flows` shows it."""


class FlowFilePath(Parameters):
    """Which flow file."""

    path: FlowPath
    """The flow file below the flows folder; `.yml` may be left out."""


class GraphQuery(Parameters):
    """How a flow is drawn."""

    format: Literal["text", "mermaid", "svg"] = "svg"
    """As a picture, as a diagram for Markdown, or as lines of text."""
    sub_flows: bool = False
    """True: with the flows that it calls, inside the steps that call them."""


class FlowAdded(AddedFlow):
    """A flow that has just been put into the scheduler."""

    status: str = "added"
    """Always `added`."""


class FlowRemoved(View):
    """A flow that has just been taken out of the scheduler."""

    status: str = "removed"
    """Always `removed`."""
    flow_id: str
    """The id it had."""


class AddedFlows(View):
    """All flows of the scheduler."""

    flows: list[AddedFlow]
    """Those of config.yml and those added through the API."""


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

_LAUNCH_ERRORS = error_answers(
    InvalidJson,
    errors.FlowNotFound,
    errors.FlowRunning,
    BodyTooLarge,
    errors.SpecError,
    errors.ShuttingDown,
    errors.StoreUnavailable,
    errors.DiskFull,
)


@noun.post(
    "/launch",
    needs=Permission.RUN,
    description="202 once the run is safely recorded. With `wait`: 200 and the outcome if it ends in time.",
    responses={200: RunDetail, 202: RunSummary, **_LAUNCH_ERRORS},
)
@handler
def launch(body: LaunchBody) -> Response:
    """Launch a flow."""
    caller().check_flow(service().flow_name(body.path))
    trigger = Trigger(body.trigger)
    run = service().launch(
        body.path,
        data=body.data,
        params=body.params,
        until=body.until,
        trigger=trigger,
        by=caller().by(trigger.value),
    )
    if body.wait is not None and not run.status.is_terminal:
        run = waiting_room().wait(
            body.wait,
            lambda seconds: service().wait_for_run(run.run_id, seconds) if seconds else run,
            until=lambda found: found.status.is_terminal,
        )
    place = {"Location": f"/api/runs/{run.run_id}"}
    if body.wait is not None and run.status.is_terminal:
        outcome = run if isinstance(run, RunDetail) else service().run(run.run_id)
        return answer(outcome, headers=place)
    return answer(summary_of(run), 202, headers=place)


@noun.post(
    "/add",
    needs=Permission.SCHEDULE,
    responses={
        201: FlowAdded,
        **error_answers(InvalidJson, errors.FlowNotFound, errors.FlowAlreadyAdded, errors.SpecError),
    },
)
@handler
def add(body: AddBody) -> Response:
    """Put a flow into the scheduler, by the schedule in its file. It survives a restart."""
    caller().check_flow(service().flow_name(body.path))
    added = service().add_flow(body.path, body.params)
    return answer(FlowAdded.model_construct(**dict(added), status="added"), 201)


@noun.get("", needs=Permission.READ, responses={200: AddedFlows, **error_answers()})
@handler
def added_flows() -> Response:
    """List the flows of the scheduler, with their next and last run."""
    return answer(AddedFlows.model_construct(flows=service().added_flows()))


@noun.delete(
    "/<flow_id>",
    needs=Permission.SCHEDULE,
    responses={200: FlowRemoved, **error_answers(errors.ScheduleNotFound)},
)
@handler
def remove(path: FlowIdPath) -> Response:
    """Take a flow out of the scheduler; it never fires again. A run under way goes on."""
    for added in service().added_flows() if caller().flows else ():
        if added.flow_id == path.flow_id:
            caller().check_flow(added.path)
    service().remove_flow(path.flow_id)
    return answer(FlowRemoved(flow_id=path.flow_id))


@noun.get("/files", needs=Permission.READ, responses={200: FlowFiles, **error_answers()})
@handler
def files() -> Response:
    """List every flow file, valid or with its problems."""
    return answer(
        FlowFiles.model_construct(
            files=service().flow_files(), defaults_problems=service().defaults_problems()
        )
    )


@noun.get(
    "/files/<path:path>",
    needs=Permission.READ,
    responses={200: FlowFileDetail, **error_answers(errors.FlowNotFound)},
)
@handler
def file(path: FlowFilePath) -> Response:
    """Show one flow file: valid or with its problems, and as JSON Schema what may be given as `params`."""
    return answer(service().flow_file(path.path))


@noun.get(
    "/files/<path:path>/graph",
    needs=Permission.READ,
    responses={200: _DRAWN, **error_answers(errors.FlowNotFound, errors.SpecError)},
)
@handler
def graph(path: FlowFilePath, query: GraphQuery) -> Response:
    """Draw a flow: its steps, what leads from one to another, and what stands inside them."""
    text = service().flow_graph(path.path, query.format, sub_flows=query.sub_flows)
    return Response(text, mimetype=_MEDIA_TYPES[query.format])


def summary_of(run: RunSummary) -> RunSummary:
    """The part of a run that lists show."""
    if type(run) is RunSummary:
        return run
    return RunSummary.model_construct(**{name: getattr(run, name) for name in RunSummary.model_fields})
