"""Workers that have left while they had a run, killed or dead: the run goes on in another one, or ends."""

from __future__ import annotations

import logging
from concurrent.futures import wait

from flow_processor.engine.assignment import Assignment
from flow_processor.engine.dispatch import Dispatcher
from flow_processor.engine.handover import Handovers
from flow_processor.engine.losses import error_record, rows_of_loss
from flow_processor.engine.records import Recorder, refused_error
from flow_processor.engine.roster import Roster
from flow_processor.engine.step_log import where
from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.errors import StoreUnavailable
from flow_processor.journal import WireRow
from flow_processor.run import RunStatus
from flow_processor.store.writer import EntryRefused

logger = logging.getLogger("octospool.engine")


class Departures:
    """Called in the thread that read from the worker."""

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        dispatcher: Dispatcher,
        handovers: Handovers,
    ) -> None:
        self._roster = roster
        self._recorder = recorder
        self._dispatcher = dispatcher
        self._handovers = handovers

    def worker_left(self, worker: WorkerProcess, exit_code: int) -> None:
        """A worker process has ended, whatever made it end."""
        with self._roster.lock:
            assignment = self._roster.assignments.pop(worker, None)
            self._roster.changed.notify_all()
            if self._roster.is_closed:
                return  # the next daemon sees to it
            if assignment is None:
                pass
            elif assignment.refused is not None:
                error = refused_error(assignment.refused)
                self._recorder.end(assignment.run, RunStatus.INTERRUPTED, error)
                return
            elif assignment.is_closing and assignment.is_killed and not assignment.expired:
                self._end_closing(assignment)
                return
            else:
                self._roster.between.add(assignment.run.id)
        try:
            has_left_word = self._take_in(worker)
            if assignment is not None:
                self._go_on(worker, assignment, None if has_left_word else exit_code)
        except StoreUnavailable as error:  # closed; the next daemon sees to it
            logger.warning("worker %s has left; the next start goes on: %s", worker.id, error)

    def _take_in(self, worker: WorkerProcess) -> bool:
        """A worker that took its daemon for gone has written down what it did: then nothing is lost."""
        try:
            return self._handovers.take_in(worker.id)
        except OSError as error:
            logger.error("what worker %s has left cannot be taken in now: %s", worker.id, error)
            return False

    def _go_on(self, worker: WorkerProcess, assignment: Assignment, exit_code: int | None) -> None:
        """Hand the run to another worker; `exit_code` is that of a worker that died."""
        run = assignment.run
        with self._roster.lock:
            rows: list[WireRow] = []
            if exit_code is not None:
                assignment.keep_expired()
                now = self._recorder.now()
                rows = rows_of_loss(assignment, worker_id=worker.id, exit_code=exit_code, at=now)
            written = self._recorder.lost(assignment, rows)
        if exit_code is None:
            logger.warning("worker %s has left and handed the run over", worker.id, extra=where(run))
        elif not assignment.is_killed:
            logger.error("worker %s died with exit code %d", worker.id, exit_code, extra=where(run))
        # Committed before the run is handed out again: the next worker reads what is in the store.
        wait([written])
        failure = written.exception()
        if isinstance(failure, StoreUnavailable) and not isinstance(failure, EntryRefused):
            raise failure
        with self._roster.lock:
            self._roster.between.discard(run.id)
            refused = assignment.refused or (None if failure is None else str(failure))
            if refused is None:
                self._dispatcher.add_again(run.id)
            else:
                self._recorder.end(run, RunStatus.INTERRUPTED, refused_error(refused))

    def _end_closing(self, assignment: Assignment) -> None:
        """Finally steps were given their time; the run ends without them."""
        if assignment.stop_code == "cancelled":
            error = error_record("cancelled", "the run was cancelled; its finally steps took too long")
            self._recorder.end(assignment.run, RunStatus.CANCELLED, error)
        else:
            message = "the run's time limit is over; its finally steps took too long"
            self._recorder.end(assignment.run, RunStatus.FAILED, error_record("flow_timeout", message))
