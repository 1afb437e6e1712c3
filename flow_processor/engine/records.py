"""What the engine writes into the store, and what follows once that is durable."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol

from flow_processor.clock import Clock
from flow_processor.engine.assignment import Assignment
from flow_processor.engine.losses import error_record
from flow_processor.engine.roster import Roster
from flow_processor.engine.step_log import where
from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.journal import DISPATCH_SPAN, Event, JournalRow, WireLog, WireRow, to_wire
from flow_processor.run import RunStatus
from flow_processor.store import Connection, Store
from flow_processor.store.daemon_rows import end_run
from flow_processor.store.journal import history_rows
from flow_processor.store.runs import RunRow, count_bytes, move_run

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

    def append(self, run_id: str, rows: list[WireRow], lines: Sequence[WireLog] = ()) -> Future[None]:
        """Rows and log lines of the daemon's own."""
        return self._store.writer.submit(None, rows=history_rows(run_id, rows, lines), keep=True)

    def dispatched(self, worker: WorkerProcess, assignment: Assignment) -> None:
        """The run is in a worker's hands. Nobody waits for this row: its loss with the daemon changes nothing."""
        now, run_id = assignment.began_at, assignment.run.id
        seq = assignment.dispatch * DISPATCH_SPAN
        row = to_wire(JournalRow(seq, "", 0, Event.DISPATCHED, now, {"worker": worker.id, "pid": worker.pid}))

        def record(connection: Connection) -> None:
            move_run(connection, run_id, RunStatus.RUNNING, at=now)

        self._store.writer.submit(record, rows=history_rows(run_id, [row]), lazy=True, keep=True)
        if assignment.seen is not None:
            assignment.seen.append(row)

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
        self._store.outbox.follow(written, values)
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
                    assignment.killed_at = self.now()
                    worker.end()

    def ended(self, assignment: Assignment, ended: dict[str, Any], *, at: float) -> Future[Any]:
        """The worker's last rows and the run's terminal status; the engine's lock is held."""
        run_id, size = assignment.run.id, assignment.take_size()

        def record(connection: Connection) -> None:
            status = RunStatus(ended["status"])
            move_run(connection, run_id, status, at=at, error=ended["error"], more_bytes=size)

        return self.write_unsent(assignment, record, lazy=False)

    def parked(self, assignment: Assignment, wake_at: float | None) -> Future[float | None]:
        """The worker's last rows, and that the run waits: all or nothing. When it goes on by itself.

        The engine's lock is held, so that what was said until now comes before this in the store, and what is said
        from now on after it.
        """
        run_id, size = assignment.run.id, assignment.take_size()
        said = self._roster.unheard.pop(run_id, set())
        moment = self.now() if None in said or said & set(assignment.waits.values()) else wake_at

        def record(connection: Connection) -> float | None:
            move_run(connection, run_id, RunStatus.WAITING, at=moment, more_bytes=size)
            return moment

        return self.write_unsent(assignment, record, lazy=False)

    def lost(self, assignment: Assignment, rows: list[WireRow]) -> Future[None]:
        """The worker is gone: what it said before, and the daemon's rows about that; the engine's lock is held."""
        assignment.unsent_rows += assignment.overdue(math.inf)
        self.write_unsent(assignment)
        run_id, size = assignment.run.id, assignment.take_size()
        return self._store.writer.submit(
            lambda connection: count_bytes(connection, run_id, size),
            rows=history_rows(run_id, rows),
            keep=True,
        )

    def stopped(self, assignment: Assignment) -> None:
        """The daemon leaves while the run is under way; the engine's lock is held."""
        now = self.now()
        row = assignment.daemon_row("", 0, Event.DAEMON_STOPPED, now, {})
        line = assignment.daemon_line("warning", now, "the daemon stopped; the run goes on at the next start")
        self.lost(assignment, [])
        self.append(assignment.run.id, [row], [line])

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

    def found_ended(self, run: RunRow) -> None:
        """The store says that the run has ended; the engine's lock is held."""
        self._roster.unheard.pop(run.id, None)
        self._on_ended(run, None)

    def has_ended(self, run: RunRow, journal: list[WireRow] | None, done: Future[Any]) -> None:
        """The end that was being committed is durable, or was refused; `ending` has counted it."""
        failure = done.exception()
        if failure is None:
            self._on_ended(run, journal)
        with self._roster.lock:
            self._roster.unheard.pop(run.id, None)
            self._roster.ending -= 1
            if failure is not None and not self._roster.is_closed:
                self.end(run, RunStatus.INTERRUPTED, refused_error(str(failure)))
            self._roster.changed.notify_all()


def refused_error(why: str) -> dict[str, Any]:
    """The error of a run whose rows no store takes."""
    message = f"what the run did could not be recorded, so it cannot go on: {why}"
    return error_record("rows_refused", message)
