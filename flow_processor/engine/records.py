"""What the engine writes into the store, and what follows once that is durable."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol

from flow_processor.clock import Clock
from flow_processor.engine.assignment import Assignment
from flow_processor.engine.losses import error_record
from flow_processor.engine.roster import Roster
from flow_processor.engine.step_log import where
from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.journal import DISPATCH_SPAN, Event, JournalRow, WireRow, to_wire
from flow_processor.run import RunStatus
from flow_processor.store import Connection, Store
from flow_processor.store.journal import history_rows
from flow_processor.store.runs import RunRow, end_run, move_run

logger = logging.getLogger("octospool.engine")


class EndedListener(Protocol):
    """Who is told that a run has its terminal status (after the commit)."""

    def __call__(self, run: RunRow, journal: list[WireRow] | None) -> None:
        """The run has ended as `run` says; `journal` is all of it, where that is at hand."""


class Recorder:
    """Everything goes to the store's one writer, in the order in which it is said. Thread safe."""

    def __init__(self, store: Store, roster: Roster, *, clock: Clock, on_ended: EndedListener) -> None:
        self._store = store
        self._roster = roster
        self._clock = clock
        self._on_ended = on_ended

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.now().timestamp()

    def append(self, run_id: str, rows: list[WireRow]) -> Future[None]:
        """Rows of the daemon's own."""
        return self._store.writer.submit(None, rows=history_rows(run_id, rows), keep=True)

    def dispatched(self, worker: WorkerProcess, assignment: Assignment) -> None:
        """The run is in a worker's hands. Nobody waits for this row: its loss with the daemon changes nothing."""
        now, run_id = self.now(), assignment.run.id
        seq = assignment.dispatch * DISPATCH_SPAN
        row = to_wire(JournalRow(seq, "", 0, Event.DISPATCHED, now, {"worker": worker.id, "pid": worker.pid}))

        def record(connection: Connection) -> None:
            move_run(connection, run_id, RunStatus.RUNNING, at=now)

        self._store.writer.submit(record, rows=history_rows(run_id, [row]), lazy=True, keep=True)
        assignment.began_at = now
        if assignment.dispatch == 1:
            assignment.seen = [row]

    def write_unsent(
        self,
        assignment: Assignment,
        operation: Callable[[Connection], Any] | None = None,
        *,
        lazy: bool = True,
    ) -> Future[Any]:
        """Hand what has gathered to the store's writer, in one piece; the engine's lock is held."""
        rows, logs = assignment.take_unsent()
        values = history_rows(assignment.run.id, rows, logs)
        written = self._store.writer.submit(operation, rows=values, lazy=lazy, keep=True)
        written.add_done_callback(lambda done: self._check_written(assignment, done))
        return written

    def _check_written(self, assignment: Assignment, done: Future[Any]) -> None:
        """Rows that cannot be stored must not be thought durable: the run ends, and says why."""
        failure = done.exception()
        if failure is None or self._roster.is_closed:
            return
        logger.error("rows of the run cannot be stored: %s", failure, extra=where(assignment.run))
        with self._roster.lock:
            assignment.refused = str(failure)
            for worker, other in self._roster.assignments.items():
                if other is assignment:
                    assignment.is_killed = True
                    worker.kill()

    def end(self, run: RunRow, status: RunStatus, error: dict[str, Any]) -> Future[Any]:
        """End a run that no worker has; the engine's lock is held."""
        now = self.now()

        def record(connection: Connection) -> None:
            end_run(connection, run.id, status, at=now, error=error)

        self._roster.ending += 1
        written = self._store.writer.submit(record, keep=True)
        final = replace(run, status=status, error=error, ended_at=now)
        written.add_done_callback(lambda done: self.has_ended(final, None, done))
        return written

    def has_ended(self, run: RunRow, journal: list[WireRow] | None, done: Future[Any]) -> None:
        """The end that was being committed is durable, or was refused; `ending` has counted it."""
        failure = done.exception()
        if failure is None:
            self._on_ended(run, journal)
        with self._roster.lock:
            self._roster.ending -= 1
            if failure is not None and not self._roster.is_closed:
                self.end(run, RunStatus.INTERRUPTED, refused_error(str(failure)))
            self._roster.changed.notify_all()


def refused_error(why: str) -> dict[str, Any]:
    """The error of a run whose rows no store takes."""
    message = f"what the run did could not be recorded, so it cannot go on: {why}"
    return error_record("rows_refused", message)
