"""What workers say: rows of their runs, ends of runs, questions for secrets."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.assignment import Assignment
from flow_processor.engine.dispatch import Dispatcher
from flow_processor.engine.frames import Frame
from flow_processor.engine.parked import ParkedRuns
from flow_processor.engine.pool import WorkerPool
from flow_processor.engine.records import Recorder, refused_error
from flow_processor.engine.roster import Roster
from flow_processor.engine.step_log import log_steps, where
from flow_processor.engine.worker_claims import check_last_word
from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.errors import OctospoolError, StoreUnavailable
from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.step import Secret
from flow_processor.store.runs import RunRow

logger = logging.getLogger("octospool.engine")

ChildrenListener = Callable[[RunRow, Frame], Frame]
"""Does what a run's step asks about runs that are part of it, and says what came of it. Raises OctospoolError."""

TOGETHER_SECONDS = 0.02
"""Rows that nobody waits for may gather for so long: one hand-over to the writer instead of one a step."""


class Reports:
    """Takes frames, in the threads that read from the workers."""

    def __init__(
        self,
        pool: WorkerPool,
        roster: Roster,
        recorder: Recorder,
        dispatcher: Dispatcher,
        parked: ParkedRuns,
        *,
        clock: Clock,
        get_secret: Callable[[str], Secret],
        on_children: ChildrenListener,
    ) -> None:
        self._pool = pool
        self._roster = roster
        self._recorder = recorder
        self._dispatcher = dispatcher
        self._parked = parked
        self._clock = clock
        self._get_secret = get_secret
        self._on_children = on_children

    def take_rows(self, worker: WorkerProcess, frame: Frame) -> None:
        """Rows and log lines, and perhaps that the run has ended or is to be parked."""
        with self._roster.lock:
            assignment = self._roster.assignments.get(worker)
            if assignment is None or self._roster.is_closed:
                return  # nobody confirms these rows, so the worker hands them over
            rows = frame["rows"]
            if assignment.expired:
                rows = assignment.before_the_kill(rows)
            now = self._clock.monotonic()
            assignment.observe(rows, frame["logs"], now)
            if frame.get("closing"):
                assignment.begin_closing(now)
            if len(rows) == len(frame["rows"]):
                self._write(worker, assignment, frame, now)
        log_steps(assignment.run, rows)

    def _write(self, worker: WorkerProcess, assignment: Assignment, frame: Frame, now: float) -> None:
        """Hand to the store what is due; the engine's lock is held."""
        if "ended" in frame:
            written = self._end(assignment, frame)
        elif "parked" in frame:
            written = self._park(assignment, frame)
        elif frame["ack"] or now - assignment.unsent_since > TOGETHER_SECONDS:
            written = self._recorder.write_unsent(assignment, lazy=not frame["ack"])
        else:
            return
        if frame["ack"]:
            # All that the worker has used so far: the rows it waits for may have come in an earlier frame.
            run_id, last = assignment.run.id, assignment.last_seq
            written.add_done_callback(lambda done: _acknowledge(worker, run_id, last, done))
        if assignment.is_over:
            self._let_go(worker, assignment, written)

    def _end(self, assignment: Assignment, frame: Frame) -> Future[Any]:
        run, rows = assignment.run, frame["rows"]
        ended, at = check_last_word(rows, Event.ENDED), rows[-1][4]
        final = replace(
            run,
            status=RunStatus(ended["status"]),
            error=ended["error"],
            started_at=run.started_at or assignment.began_at,
            ended_at=at,
        )
        assignment.is_over = True
        # What was said to the run from outside is in no frame.
        journal = None if run.id in self._roster.unheard else assignment.seen
        self._roster.ending += 1
        written = self._recorder.ended(assignment, ended, at=at)
        written.add_done_callback(lambda done: self._recorder.has_ended(final, journal, done))
        return written

    def _park(self, assignment: Assignment, frame: Frame) -> Future[Any]:
        wake_at = check_last_word(frame["rows"], Event.PARKED)["wake_at"]
        assignment.is_over = True
        assignment.unsent_rows += assignment.overdue(math.inf)
        self._roster.ending += 1
        self._roster.between.add(assignment.run.id)
        written = self._recorder.parked(assignment, wake_at)
        awaited = frozenset(assignment.waits.values())
        written.add_done_callback(lambda done: self._has_parked(assignment.run, awaited, done))
        return written

    def _has_parked(self, run: RunRow, awaited: frozenset[str], done: Future[float | None]) -> None:
        failure = done.exception()
        with self._roster.lock:
            self._roster.ending -= 1
            self._roster.between.discard(run.id)
            if failure is None:
                self._parked.add(run.id, done.result(), awaited)
                logger.info("waits, and has no worker meanwhile", extra=where(run))
            elif not self._roster.is_closed:
                self._recorder.end(run, RunStatus.INTERRUPTED, refused_error(str(failure)))
            self._roster.changed.notify_all()

    def _let_go(self, worker: WorkerProcess, assignment: Assignment, written: Future[Any]) -> None:
        """The worker is free for another run; the engine's lock is held."""
        self._roster.assignments.pop(worker, None)
        self._roster.changed.notify_all()
        if assignment.stop_code is not None and not assignment.is_killed and worker.has_children():
            logger.warning(
                "worker %s is ended: it has left processes", worker.id, extra=where(assignment.run)
            )
            written.add_done_callback(lambda done: worker.end())
        elif not assignment.is_killed:
            self._pool.give_back(worker)
            self._dispatcher.hand_out()

    def answer_secret(self, worker: WorkerProcess, name: str) -> None:
        """A step asks for a secret; its run gets only those that its flows name."""
        worker.send(self._secret_answer(worker, name))

    def answer_children(self, worker: WorkerProcess, request: Frame) -> None:
        """A step asks about the runs that are part of its own; in the worker's own thread, which may wait."""
        with self._roster.lock:
            assignment = self._roster.assignments.get(worker)
            if assignment is None or self._roster.is_closed:
                return
        try:
            answer = self._on_children(assignment.run, request)
        except StoreUnavailable:
            answer = {"later": True}
        except OctospoolError as error:
            answer = {"error": {"code": error.code, "message": error.message}}
        except (KeyError, TypeError, ValueError) as error:
            logger.error("asks what cannot be understood: %r", error, extra=where(assignment.run))
            answer = {"error": {"code": "worker_error", "message": f"not understood: {error!r}"}}
        worker.send({"children": {**answer, "id": request["id"]}})

    def _secret_answer(self, worker: WorkerProcess, name: str) -> Frame:
        with self._roster.lock:
            assignment = self._roster.assignments.get(worker)
        if assignment is None or name not in assignment.secrets:
            message = f"secret '{name}' is named by no flow of this run"
            return {"secret": name, "error": {"code": "secret_not_granted", "message": message}}
        try:
            secret = self._get_secret(name)
        except OctospoolError as error:
            return {"secret": name, "error": {"code": error.code, "message": error.message}}
        except OSError as error:
            message = f"secret '{name}' cannot be read: {error.strerror or error}"
            return {"secret": name, "error": {"code": "secret_unavailable", "message": message}}
        return {"secret": name, "type": secret.type, "values": dict(secret.values)}


def _acknowledge(worker: WorkerProcess, run_id: str, seq: int, done: Future[Any]) -> None:
    if done.exception() is None:
        worker.send({"committed": seq, "run_id": run_id})
