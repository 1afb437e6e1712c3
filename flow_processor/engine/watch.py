"""Ends of runs that do not end by themselves: time limits and cancels, asked for and then enforced."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.assignment import ABORT_GRACE_SECONDS, Assignment
from flow_processor.engine.losses import error_record
from flow_processor.engine.records import Recorder
from flow_processor.engine.roster import Roster
from flow_processor.engine.step_log import where
from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.journal import Event

logger = logging.getLogger("octospool.engine")

TICK_SECONDS = 0.1
"""How often time limits are looked at while runs are under way."""


class Watch:
    """A thread that looks at every run in a worker's hands."""

    def __init__(self, roster: Roster, recorder: Recorder, *, clock: Clock) -> None:
        self._roster = roster
        self._recorder = recorder
        self._clock = clock
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread's end, which comes when the roster is closed."""
        if self._thread.is_alive():
            self._thread.join()

    def abort(
        self,
        worker: WorkerProcess,
        assignment: Assignment,
        event: Event,
        reason: dict[str, Any],
        *,
        by: str | None = None,
    ) -> Future[None]:
        """Record why the run must end, and ask its worker to end it; the engine's lock is held."""
        data = {"reason": reason["message"], **({} if by is None else {"by": by})}
        row = assignment.daemon_row("", 0, event, self._recorder.now(), data)
        self._roster.unheard[assignment.run.id].add(None)
        recorded = self._recorder.append(assignment.run.id, [row])
        self.ask_to_end(worker, assignment, reason)
        return recorded

    def ask_to_end(self, worker: WorkerProcess, assignment: Assignment, reason: dict[str, Any]) -> None:
        """Ask the worker to end its run; it is killed if it does not. The engine's lock is held."""
        assignment.stop_code = assignment.stop_code or reason["code"]
        if assignment.abort_deadline is None:
            assignment.abort_deadline = self._clock.monotonic() + ABORT_GRACE_SECONDS
        worker.send({"abort": reason, "run_id": assignment.run.id})

    def _work(self) -> None:
        roster = self._roster
        with roster.lock:
            while not roster.is_closed:
                roster.is_watched = bool(roster.assignments)
                roster.begun.wait(TICK_SECONDS if roster.is_watched else None)
                now = self._clock.monotonic()
                for worker, assignment in list(roster.assignments.items()):
                    try:
                        self._check(worker, assignment, now)
                    except Exception:  # around one run: the watch over the others must go on
                        logger.exception("worker %s is killed", worker.id, extra=where(assignment.run))
                        worker.end()

    def _check(self, worker: WorkerProcess, assignment: Assignment, now: float) -> None:
        worker.end_what_is_left()
        if assignment.is_killed or assignment.is_over:
            return
        assignment.unsent_rows += assignment.overdue(now - TICK_SECONDS)
        if assignment.unsent_rows or assignment.unsent_logs:
            self._recorder.write_unsent(assignment)
        if assignment.abort_deadline is not None and now > assignment.abort_deadline:
            self._kill(worker, assignment, "it did not end when it was asked to")
        elif assignment.expire(now):
            paths = ", ".join(path for path, _, _ in assignment.expired)
            self._kill(worker, assignment, f"time limit of {paths}")
        elif assignment.deadline is not None and now > assignment.deadline:
            if assignment.is_closing:
                self._kill(worker, assignment, "finally steps took too long")
            elif assignment.abort_deadline is None:
                message = (
                    f"the run was longer under way than its time limit of {assignment.limit:g} s "
                    "(the flow's timeout_seconds, or FLOW_TIMEOUT_SECONDS)"
                )
                error = error_record("flow_timeout", message)
                self.abort(worker, assignment, Event.FLOW_TIMED_OUT, error)

    def _kill(self, worker: WorkerProcess, assignment: Assignment, why: str) -> None:
        assignment.killed_at = self._recorder.now()
        logger.warning("worker %s is killed: %s", worker.id, why, extra=where(assignment.run))
        worker.end()
