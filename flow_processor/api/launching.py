"""Launching a flow: what callers say, and how they are answered at once or after a while."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Response
from pydantic import Field

from flow_processor import errors
from flow_processor.api.errors import BodyTooLarge, InvalidJson, error_answers
from flow_processor.api.handlers import Body, OptionalBody, Parameters, answer, service
from flow_processor.api.permissions import caller, check_path
from flow_processor.api.waiting import MAX_WAIT_SECONDS, waiting_room
from flow_processor.run import Trigger
from flow_processor.service.views import RunDetail, RunSummary

FlowPath = Annotated[str, Field(min_length=1, max_length=500)]


class FlowFilePath(Parameters):
    """Which flow file."""

    path: FlowPath
    """The flow file below the flows folder; `.yml` may be left out."""


class _Launch(Body):
    """With what a flow is launched."""

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


class _WhatToLaunch(Body):
    path: FlowPath
    """The flow file below the flows folder; `.yml` may be left out."""


class LaunchBody(_Launch, _WhatToLaunch):
    """What to launch, and with what."""


class FileLaunchBody(_Launch, OptionalBody):
    """With what to launch the flow of the address."""


LAUNCH_DESCRIPTION = (
    "202 once the run is safely recorded. With `wait`: 200 and the outcome if it ends in time."
)
LAUNCH_ANSWERS: dict[int, Any] = {
    200: RunDetail,
    202: RunSummary,
    **error_answers(
        InvalidJson,
        errors.FlowNotFound,
        errors.FlowRunning,
        BodyTooLarge,
        errors.SpecError,
        errors.ShuttingDown,
        errors.StoreUnavailable,
        errors.DiskFull,
    ),
}


def launched(path: str, body: LaunchBody | FileLaunchBody) -> Response:
    """Launch the flow for the caller, and wait for its end if that is wished."""
    check_path(path)
    trigger = Trigger(body.trigger)
    run = service().launch(
        path,
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
    return answer(_summary_of(run), 202, headers=place)


def _summary_of(run: RunSummary) -> RunSummary:
    """The part of a run that lists show."""
    if type(run) is RunSummary:
        return run
    return RunSummary.model_construct(**{name: getattr(run, name) for name in RunSummary.model_fields})
