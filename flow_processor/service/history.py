"""Reading what happened: runs, their steps, their data, their logs; and deleting it."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flow_processor.clock import Clock, from_epoch
from flow_processor.errors import InvalidRequest, ResultsUnsent, RunIsLive, RunNotFound
from flow_processor.flow_data import fold_data
from flow_processor.journal import WireRow, from_wire
from flow_processor.result_files import ResultFiles, ResultLost
from flow_processor.run import RUN_ID_PATTERN, TERMINAL_STATUSES, RunFilter, RunStatus
from flow_processor.run_state import RunState, StepRecord, fold
from flow_processor.service.run_events import run_events
from flow_processor.service.step_views import StepsWanted, moment, show_steps
from flow_processor.service.told import open_waits
from flow_processor.service.views import (
    ErrorView,
    LogLine,
    LogPage,
    RunDetail,
    RunPage,
    RunSummary,
    WaitView,
)
from flow_processor.spec.flow import HANDLERS
from flow_processor.store import Store
from flow_processor.store.removals import DELETE_BATCH, delete_ended
from flow_processor.store.run_plans import bound_of
from flow_processor.store.runs import ListedRun, RunRow
from flow_processor.wait import Wait

LOG_POLL_SECONDS = 0.25
"""How often a waiting reader of a live run's log looks for new lines."""

SECONDS_PER_DAY = 86_400


class History:
    """The store's runs as answers."""

    def __init__(
        self,
        store: Store,
        results: ResultFiles,
        *,
        clock: Clock,
        first_data_of: Callable[[RunRow], dict[str, Any]],
    ) -> None:
        self._store = store
        self._results = results
        self._clock = clock
        self._first_data_of = first_data_of

    def row(self, run_id: str) -> RunRow:
        """The run's row. Raises RunNotFound."""
        row = self._store.runs.get(run_id)
        if row is None:
            raise _not_found(run_id)
        return row

    def run(self, run_id: str, steps: StepsWanted) -> RunDetail:
        """One run with its data and those of its steps that are wanted."""
        found = self._store.runs.with_journal(run_id)
        if found is None:
            raise _not_found(run_id)
        retries = self._store.runs.retries_of(run_id) if found[0].status.is_terminal else []
        return self.detail(*found, steps, retried_by=retries, children=self._store.children.counts(run_id))

    def detail(
        self,
        row: RunRow,
        wires: Sequence[WireRow],
        steps: StepsWanted,
        *,
        retried_by: Sequence[str] = (),
        children: Mapping[RunStatus, int] | None = None,
    ) -> RunDetail:
        """A run and its journal as an answer."""
        state = fold(from_wire(wire) for wire in wires)
        now = self._clock.now().timestamp()
        summary = self.summary(row)
        shown = show_steps(
            state.steps, steps, now=now, with_result=lambda record: self._with_result(row, record)
        )
        return RunDetail(
            **dict(summary),
            params=row.params,
            flow_hash=row.flow_hash,
            error=error_view(row.error),
            steps=shown.steps,
            steps_total=shown.total,
            steps_by_status=shown.by_status,
            waiting=[] if row.status.is_terminal else wait_views(state),
            events=run_events(wires),
            retried_by=list(retried_by),
            data=self.data_of(row, state),
            children=children or {},
        )

    def data_of(self, row: RunRow, state: RunState) -> dict[str, Any] | None:
        """The flow data of a run as far as it has come; None where it was skipped."""
        if row.status is RunStatus.SKIPPED:
            return None
        data = self._first_data_of(row)
        own = {record.path for record in state.steps if "/" not in record.path}
        for record in state.steps:
            around = record.path.rpartition("/")[0]
            if not around:
                fold_data(data, self._with_result(row, record))
            elif around in HANDLERS and around not in own:  # no step of that name, so a handler
                data["__errors__"].extend(record.errors)
        return data

    def _with_result(self, row: RunRow, record: StepRecord) -> StepRecord:
        """The record with its result, also where a file holds it; a lost one says so in its place."""
        if record.result_file is None:
            return record
        try:
            result = self._results.load(row.id, record.result_file)
        except (ResultLost, ValueError) as lost:  # the latter for what is no file's name
            result = {"__lost__": {"code": ResultLost.code, "error": str(lost)}}
        return replace(record, result=result)

    def page(self, wanted: RunFilter, *, limit: int, cursor: str | None, count: bool) -> RunPage:
        """A page of runs. Raises InvalidRequest for a cursor that is none."""
        if cursor is not None and RUN_ID_PATTERN.fullmatch(cursor) is None:
            raise InvalidRequest(f"'{cursor}' is not a cursor; use next_cursor of the page before")
        now = self._clock.now().timestamp()
        found = self._store.lists.page(wanted, limit=limit, after_id=cursor, now=now)
        total = self._store.lists.count(wanted) if count else None
        return RunPage(
            runs=[self.summary(row) for row in found.rows],
            next_cursor=found.next_id,
            total=None if total is None else total[0],
            total_is_exact=None if total is None else total[1],
        )

    def summary(self, row: ListedRun) -> RunSummary:
        """One run as lists show it."""
        end = row.ended_at or self._clock.now().timestamp()
        return RunSummary(
            run_id=row.id,
            flow=row.flow,
            status=row.status,
            trigger=row.trigger,
            by=row.trigger_by,
            created_at=from_epoch(row.created_at),
            started_at=moment(row.started_at),
            ended_at=moment(row.ended_at),
            duration_seconds=None if row.started_at is None else max(0.0, round(end - row.started_at, 6)),
            reason=None if row.error is None else row.error["message"],
            schedule_id=row.schedule_id,
            slot=moment(row.slot),
            wake_at=moment(row.wake_at) if row.status is RunStatus.WAITING else None,
            retry_of=row.retry_of,
            attempt=row.attempt,
            parent=row.parent,
            parent_path=row.parent_path,
            parent_index=row.parent_index,
        )

    def logs(self, run_id: str, *, after: int, limit: int, wait_seconds: float) -> LogPage:
        """Lines of a run's log; waits for some while the run is live."""
        never = threading.Event()
        give_up = self._clock.monotonic() + wait_seconds
        while True:
            # Asked before the lines are read: a run that had ended then has no more lines than those.
            has_ended = self.row(run_id).status.is_terminal
            lines = self._store.journal.log_lines(run_id, after=after, limit=limit)
            left = give_up - self._clock.monotonic()
            if lines or has_ended or left <= 0:
                break
            self._clock.wait(never, min(left, LOG_POLL_SECONDS))
        shown = [
            LogLine(cursor=seq, at=from_epoch(at), level=level, step=step, message=message)
            for seq, at, level, step, message in lines
        ]
        return LogPage(
            lines=shown,
            next_cursor=shown[-1].cursor if shown else after,
            complete=has_ended and len(shown) < limit,
        )

    def delete(self, run_id: str) -> None:
        """Delete one run that has ended. Raises RunNotFound, RunIsLive, ResultsUnsent."""
        row = self.row(run_id)
        if self._store.writer.run(lambda connection: delete_ended(connection, [run_id])) == 0:
            queues = self._store.outbox.of_run(run_id)
            if queues and row.status.is_terminal:
                message = f"results of run {run_id} are still to be put on a queue ({', '.join(queues)})"
                raise ResultsUnsent(message, details={"run_id": run_id, "queues": queues})
            parent = self._store.children.live_parent_of(run_id)
            if parent is not None and row.status.is_terminal:
                message = f"run {run_id} is part of run {parent}, which has not ended and needs its result"
                raise RunIsLive(message, details={"run_id": run_id, "parent": parent})
            item = self._store.items.of_run(run_id)
            if item is not None and not item.has_ended and row.status.is_terminal:
                message = (
                    f"run {run_id} has what the item {item.item} holds, which flow '{item.flow}' tries again"
                )
                raise RunIsLive(message, details={"run_id": run_id, "queue": item.queue, "item": item.item})
            raise RunIsLive(
                f"run {run_id} is {row.status.value}; cancel it first (POST /api/runs/{run_id}/cancel)",
                details={"run_id": run_id},
            )

    def delete_many(self, *, older_than_days: float | None, status: Sequence[RunStatus]) -> int:
        """Delete ended runs in small steps; how many went. Raises InvalidRequest where nothing is said."""
        if older_than_days is None and not status:
            raise InvalidRequest("say which runs: older_than_days, status, or both")
        live = [wanted.value for wanted in status if not wanted.is_terminal]
        if live:
            raise InvalidRequest(f"runs that are {' or '.join(live)} are live and cannot be deleted")
        before, up_to = math.inf, None
        if older_than_days is not None:
            before = self._clock.now().timestamp() - older_than_days * SECONDS_PER_DAY
            # A day more: a run may have ended before it began, by a clock that was put back.
            up_to = bound_of(before + SECONDS_PER_DAY)
        deleted = 0
        for page in self._store.removals.walk(None, up_to=up_to, status=status or TERMINAL_STATUSES):
            ids = [run.id for run in page if run.ended_at < before]
            for first in range(0, len(ids), DELETE_BATCH):
                deleted += self._delete_batch(ids[first : first + DELETE_BATCH])
        return deleted

    def _delete_batch(self, ids: Sequence[str]) -> int:
        return self._store.writer.run(lambda connection: delete_ended(connection, ids))


def _not_found(run_id: str) -> RunNotFound:
    return RunNotFound(f"there is no run '{run_id}' (any more)", details={"run_id": run_id})


def wait_views(state: RunState) -> list[WaitView]:
    """What a run waits for; without what cannot be read: a worker, which tells it, is not trusted that far."""
    views = []
    for record in open_waits(state):
        with contextlib.suppress(ValueError, TypeError):
            views.append(wait_view(record))
    return views


def wait_view(record: StepRecord) -> WaitView:
    """What a step waits for, as an answer."""
    wait = Wait.from_record(record.waiting or {})
    return WaitView(
        path=record.path,
        kind=wait.kind,
        since=moment(record.started_at),
        until=moment(wait.until),
        signal=wait.signal,
        prompt=wait.prompt,
        answers=wait.answers,
        form=dict(wait.form),
        default=wait.default,
    )


def error_view(error: dict[str, Any] | None) -> ErrorView | None:
    """A recorded error as an answer."""
    return None if error is None else ErrorView(**error)
