"""Workers that have left while they had a run, killed or dead: the run goes on in another one, or ends."""

from __future__ import annotations

import logging

from flow_processor.clock import Clock
from flow_processor.engine.assignment import Assignment
from flow_processor.engine.dispatch import Dispatcher
from flow_processor.engine.losses import error_record, rows_of_loss
from flow_processor.engine.records import Recorder, refused_error
from flow_processor.engine.roster import Roster
from flow_processor.engine.step_log import where
from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.journal import fold, from_wire
from flow_processor.run import RunStatus
from flow_processor.store import Store

logger = logging.getLogger("octospool.engine")


class Departures:
    """Called in the thread that read from the worker."""

    def __init__(
        self, store: Store, roster: Roster, recorder: Recorder, dispatcher: Dispatcher, *, clock: Clock
    ) -> None:
        self._store = store
        self._roster = roster
        self._recorder = recorder
        self._dispatcher = dispatcher
        self._clock = clock

    def worker_left(self, worker: WorkerProcess, exit_code: int) -> None:
        """A worker process has ended, whatever made it end."""
        with self._roster.lock:
            assignment = self._roster.assignments.pop(worker, None)
            if assignment is None or self._roster.is_stopping:
                self._roster.changed.notify_all()
                return
            run = assignment.run
            if assignment.refused is not None:
                self._recorder.end(run, RunStatus.INTERRUPTED, refused_error(assignment.refused))
                return
            if assignment.is_closing and assignment.is_killed and not assignment.expired:
                self._end_closing(assignment)
                return
            assignment.unsent_rows += assignment.overdue(self._clock.monotonic())
            self._recorder.write_unsent(assignment)
            now = self._recorder.now()
            rows = rows_of_loss(assignment, worker_id=worker.id, exit_code=exit_code, at=now)
            self._roster.between.add(run.id)
        if not assignment.is_killed:
            logger.error("worker %s died with exit code %d", worker.id, exit_code, extra=where(run))
        # Committed before the run is handed out again: the next worker reads what is in the store.
        self._recorder.append(run.id, rows).result()
        with self._roster.lock:
            self._roster.between.discard(run.id)
            self._dispatcher.add_again(run)

    def _end_closing(self, assignment: Assignment) -> None:
        """Finally steps were given their time; the run ends without them."""
        state = fold(from_wire(row) for row in self._store.journal.rows(assignment.run.id))
        if state.cancel_requested:
            error = error_record("cancelled", "the run was cancelled; its finally steps took too long")
            self._recorder.end(assignment.run, RunStatus.CANCELLED, error)
        else:
            message = "the run's time limit is over; its finally steps took too long"
            self._recorder.end(assignment.run, RunStatus.FAILED, error_record("flow_timeout", message))
