"""Calls about runs: find them, look into one, follow its log; tell it something, cancel, resume, retry or delete it."""

from __future__ import annotations

from flask import Response

from flow_processor import errors
from flow_processor.api.errors import InvalidJson, error_answers
from flow_processor.api.handlers import answer, handler, service
from flow_processor.api.nouns import Noun
from flow_processor.api.permissions import Permission, caller, check_run
from flow_processor.api.run_filters import RunsQuery
from flow_processor.api.run_queries import (
    CancelQuery,
    LogsQuery,
    OldRunsQuery,
    ResumeBody,
    RetryBody,
    RunPath,
    RunQuery,
    SignalBody,
)
from flow_processor.api.waiting import waiting_room
from flow_processor.run import Trigger
from flow_processor.service.retries import RetryWish
from flow_processor.service.retry_doubts import answer_of
from flow_processor.service.views import LogPage, RunDetail, RunPage, RunSummary, View

noun = Noun("runs", "/api/runs", "The history of runs, and the runs under way.")


class Deleted(View):
    """What was deleted."""

    deleted: int
    """How many runs."""


@noun.get("", needs=Permission.READ, responses={200: RunPage, **error_answers()})
@handler
def runs(query: RunsQuery) -> Response:
    """List runs, newest first unless asked otherwise, page by page."""
    page = service().runs(query.wanted, limit=query.limit, cursor=query.cursor, count=query.total)
    return answer(page)


@noun.delete("", needs=Permission.OPERATE, responses={200: Deleted, **error_answers()})
@handler
def delete_runs(query: OldRunsQuery) -> Response:
    """Delete ended runs from history, by age and status. Runs under way are never touched."""
    count = service().delete_runs(older_than_days=query.older_than_days, status=query.status)
    return answer(Deleted(deleted=count))


@noun.get("/<run_id>", needs=Permission.READ, responses={200: RunDetail, **error_answers(errors.RunNotFound)})
@handler
def run(path: RunPath, query: RunQuery) -> Response:
    """Show one run: times, error, every attempt of every step, and its data."""
    if query.wait:
        waiting_room().wait(
            query.wait,
            lambda seconds: service().wait_for_run(path.run_id, seconds),
            until=lambda found: found.status.is_terminal,
        )
    return answer(
        service().run(
            path.run_id,
            max_steps=query.max_steps,
            steps_after=query.steps_after,
            path=query.path,
            step_status=query.step_status,
            results=query.results,
        )
    )


@noun.get(
    "/<run_id>/logs",
    needs=Permission.READ,
    responses={200: LogPage, **error_answers(errors.RunNotFound)},
)
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


@noun.post(
    "/<run_id>/cancel",
    needs=Permission.RUN,
    responses={202: RunSummary, **error_answers(errors.RunNotFound, errors.RunElsewhere, errors.RunHasEnded)},
)
@handler
def cancel(path: RunPath, query: CancelQuery) -> Response:
    """Cancel a run. The step under way is stopped; the run ends as `cancelled`."""
    check_run(path.run_id)
    return answer(service().cancel_run(path.run_id, by=caller().by(query.by)), 202)


@noun.post(
    "/<run_id>/signal",
    needs=Permission.RUN,
    responses={
        202: RunSummary,
        **error_answers(
            InvalidJson,
            errors.RunNotFound,
            errors.RunElsewhere,
            errors.RunHasEnded,
            errors.NotWaiting,
            errors.AlreadyAnswered,
            errors.StoreUnavailable,
        ),
    },
)
@handler
def signal(path: RunPath, body: SignalBody) -> Response:
    """Send a run a signal, or answer what an approval asks. Durable when this answers; kept for a wait to come."""
    check_run(path.run_id)
    return answer(service().signal_run(path.run_id, body.name, data=body.data, by=caller().by(body.by)), 202)


@noun.post(
    "/<run_id>/resume",
    needs=Permission.RUN,
    responses={
        202: RunSummary,
        **error_answers(
            InvalidJson,
            errors.RunNotFound,
            errors.RunElsewhere,
            errors.RunNotInterrupted,
            errors.FlowRunning,
            errors.FlowLost,
            errors.ShuttingDown,
            errors.StoreUnavailable,
        ),
    },
)
@handler
def resume(path: RunPath, body: ResumeBody) -> Response:
    """Let an interrupted run go on, and say what is to become of the steps that were in doubt."""
    check_run(path.run_id)
    summary = service().resume_run(
        path.run_id,
        mode=body.mode,
        step=body.step,
        value=body.value,
        has_value="value" in body.model_fields_set,
        by=caller().by(body.by),
    )
    return answer(summary, 202)


@noun.post(
    "/<run_id>/retry",
    needs=Permission.RUN,
    responses={
        202: RunSummary,
        **error_answers(
            InvalidJson,
            errors.RunNotFound,
            errors.FlowNotFound,
            errors.RunIsLive,
            errors.RunWasSkipped,
            errors.RunInDoubt,
            errors.NothingFailed,
            errors.FlowRunning,
            errors.FlowLost,
            errors.SpecError,
            errors.ShuttingDown,
            errors.StoreUnavailable,
        ),
    },
)
@handler
def retry(path: RunPath, body: RetryBody) -> Response:
    """Try a run again from where it failed: a new run, which keeps what succeeded."""
    check_run(path.run_id)
    wish = RetryWish(
        from_step=body.from_step,
        use_current_flow=body.use_current_flow,
        has_data="data" in body.model_fields_set,
        data=body.data,
        params=body.params,
        until=body.until,
        answer=answer_of(body.mode, body.step, body.value, has_value="value" in body.model_fields_set),
    )
    run = service().retry_run(path.run_id, wish, trigger=Trigger(body.trigger), by=caller().by(body.by))
    return answer(run, 202, headers={"Location": f"/api/runs/{run.run_id}"})


@noun.delete(
    "/<run_id>",
    needs=Permission.OPERATE,
    responses={200: Deleted, **error_answers(errors.RunNotFound, errors.RunIsLive, errors.ResultsUnsent)},
)
@handler
def delete_run(path: RunPath) -> Response:
    """Delete one ended run from history."""
    service().delete_run(path.run_id)
    return answer(Deleted(deleted=1))
