"""Calls about runs: find them, look into one, follow its log, cancel or delete it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from flask import Response
from pydantic import BeforeValidator, Field, WithJsonSchema

from flow_processor import errors
from flow_processor.api.errors import error_answers
from flow_processor.api.handlers import Parameters, answer, handler, noun, service
from flow_processor.api.waiting import MAX_WAIT_SECONDS, waiting_room
from flow_processor.run import RunStatus, Trigger
from flow_processor.service.views import LogPage, RunDetail, RunPage, RunSummary, View

blueprint = noun("runs", "/api/runs", "The history of runs, and the runs under way.")

MAX_FOLLOW_SECONDS = 30
"""The longest time that a call for log lines may wait for the next one."""


def _moment(value: Any) -> datetime:
    """ISO 8601; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        hint = "; a '+' in an address must be written as %2B" if " " in str(value) else ""
        raise ValueError(f"must be ISO 8601, such as 2026-11-21T07:40:06Z{hint}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _texts(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _comma_list(of: type[RunStatus] | type[Trigger]) -> WithJsonSchema:
    known = "|".join(of)
    return WithJsonSchema({"type": "string", "pattern": f"^({known})(,({known}))*$"})


Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
Statuses = Annotated[tuple[RunStatus, ...], BeforeValidator(_texts), _comma_list(RunStatus)]
Triggers = Annotated[tuple[Trigger, ...], BeforeValidator(_texts), _comma_list(Trigger)]


class RunsQuery(Parameters):
    """Which runs."""

    flow: str | None = None
    """Only runs of this flow: its path below the flows folder."""
    status: Statuses = ()
    """Only runs in one of these statuses, separated by commas."""
    trigger: Triggers = ()
    """Only runs that one of these caused, separated by commas."""
    since: Moment | None = None
    """Only runs accepted at or after this moment: ISO 8601, UTC if it names no zone."""
    until: Moment | None = None
    """Only runs accepted before this moment."""
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    """How many runs a page holds."""
    cursor: str | None = None
    """`next_cursor` of the page before."""


class OldRunsQuery(Parameters):
    """Which runs to delete; at least one of the two."""

    older_than_days: Annotated[float, Field(ge=0, le=36_500)] | None = None
    """Only runs that ended longer ago than so many days."""
    status: Statuses = ()
    """Only runs in one of these statuses, separated by commas."""


class RunPath(Parameters):
    """Which run."""

    run_id: str
    """The run's id."""


class RunQuery(Parameters):
    """How much of the run."""

    max_steps: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """How many attempts of steps to show."""
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] = 0
    """Wait up to so many seconds for the end of the run."""


class CancelQuery(Parameters):
    """Who cancels."""

    by: Literal["api", "cli"] = "api"
    """For the history: a program, or a person with `octospool`."""


class LogsQuery(Parameters):
    """Which part of the log."""

    after: Annotated[int, Field(ge=0)] = 0
    """Only lines after this cursor: `next_cursor` of the answer before."""
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """How many lines at most."""
    wait: Annotated[float, Field(ge=0, le=MAX_FOLLOW_SECONDS)] = 0
    """Wait up to so many seconds for a line if there is none yet."""


class Deleted(View):
    """What was deleted."""

    deleted: int
    """How many runs."""


@blueprint.get("", responses={200: RunPage, **error_answers()})
@handler
def runs(query: RunsQuery) -> Response:
    """List runs, newest first, page by page."""
    return answer(
        service().runs(
            flow=query.flow,
            status=query.status,
            trigger=query.trigger,
            since=query.since,
            until=query.until,
            limit=query.limit,
            cursor=query.cursor,
        )
    )


@blueprint.delete("", responses={200: Deleted, **error_answers()})
@handler
def delete_runs(query: OldRunsQuery) -> Response:
    """Delete ended runs from history, by age and status. Runs under way are never touched."""
    count = service().delete_runs(older_than_days=query.older_than_days, status=query.status)
    return answer(Deleted(deleted=count))


@blueprint.get("/<run_id>", responses={200: RunDetail, **error_answers(errors.RunNotFound)})
@handler
def run(path: RunPath, query: RunQuery) -> Response:
    """Show one run: times, error, every attempt of every step, and its data."""
    if query.wait:
        waiting_room().wait(
            query.wait,
            lambda seconds: service().wait_for_run(path.run_id, seconds),
            until=lambda found: found.status.is_terminal,
        )
    return answer(service().run(path.run_id, max_steps=query.max_steps))


@blueprint.get("/<run_id>/logs", responses={200: LogPage, **error_answers(errors.RunNotFound)})
@handler
def logs(path: RunPath, query: LogsQuery) -> Response:
    """Show a run's log. To follow it, call again with `after=<next_cursor>&wait=30` until `complete`."""
    return answer(
        waiting_room().wait(
            query.wait,
            lambda seconds: service().run_logs(
                path.run_id, after=query.after, limit=query.limit, wait_seconds=seconds
            ),
            until=lambda page: bool(page.lines) or page.complete,
        )
    )


@blueprint.post(
    "/<run_id>/cancel",
    responses={202: RunSummary, **error_answers(errors.RunNotFound, errors.RunHasEnded)},
)
@handler
def cancel(path: RunPath, query: CancelQuery) -> Response:
    """Cancel a run. The step under way is stopped; the run ends as `cancelled`."""
    return answer(service().cancel_run(path.run_id, by=query.by), 202)


@blueprint.delete(
    "/<run_id>", responses={200: Deleted, **error_answers(errors.RunNotFound, errors.RunIsLive)}
)
@handler
def delete_run(path: RunPath) -> Response:
    """Delete one ended run from history."""
    service().delete_run(path.run_id)
    return answer(Deleted(deleted=1))
