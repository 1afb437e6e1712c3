"""Calls about flows: launch one, put one into the scheduler, list what is there."""

from __future__ import annotations

from typing import Any

from flask import Response

from flow_processor import errors
from flow_processor.api.errors import InvalidJson, error_answers
from flow_processor.api.handlers import Body, Parameters, answer, handler, service
from flow_processor.api.launching import LAUNCH_ANSWERS, LAUNCH_DESCRIPTION, FlowPath, LaunchBody, launched
from flow_processor.api.nouns import Noun
from flow_processor.api.permissions import Permission, caller, check_path
from flow_processor.service.flow_views import AddedFlow
from flow_processor.service.views import View

noun = Noun("flows", "/api/flows", "Launch, schedule and list flows.")


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


@noun.post("/launch", needs=Permission.RUN, description=LAUNCH_DESCRIPTION, responses=LAUNCH_ANSWERS)
@handler
def launch(body: LaunchBody) -> Response:
    """Launch a flow."""
    return launched(body.path, body)


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
    check_path(body.path)
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
    if caller().flows:
        caller().check_flow(service().schedules.flow_of(path.flow_id))
    service().remove_flow(path.flow_id)
    return answer(FlowRemoved(flow_id=path.flow_id))
