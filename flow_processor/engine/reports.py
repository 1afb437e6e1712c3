"""What workers say: rows of their runs, ends of runs, questions for secrets."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.assignment import Assignment
from flow_processor.engine.dispatch import Dispatcher
from flow_processor.engine.frames import Frame
from flow_processor.engine.pool import WorkerPool
from flow_processor.engine.records import Recorder
from flow_processor.engine.roster import Roster
from flow_processor.engine.step_log import log_steps
from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.errors import OctospoolError
from flow_processor.run import RunStatus
from flow_processor.step import Secret
from flow_processor.store import Connection
from flow_processor.store.runs import RunRow, move_run

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
        *,
        clock: Clock,
        get_secret: Callable[[str], Secret],
    ) -> None:
        self._pool = pool
        self._roster = roster
        self._recorder = recorder
        self._dispatcher = dispatcher
        self._clock = clock
        self._get_secret = get_secret

    def take_rows(self, worker: WorkerProcess, frame: Frame) -> None:
        """Rows and log lines, and perhaps the run's end."""
        ended = frame.get("ended")
        with self._roster.lock:
            assignment = self._roster.assignments.get(worker)
            if assignment is None or self._roster.is_closed:
                return  # nobody confirms these rows, so the worker hands them over
            run, now = assignment.run, self._clock.monotonic()
            assignment.observe(frame["rows"], frame["logs"], now)
            assignment.has_ended = ended is not None
            self._roster.ending += ended is not None
            written = None
            if frame["ack"] or now - assignment.unsent_since > TOGETHER_SECONDS:
                end = None if ended is None else _end_of(run, ended, at=frame["rows"][-1][4])
                written = self._recorder.write_unsent(assignment, end, lazy=not frame["ack"])
            last = assignment.last_seq
            if frame.get("closing"):
                assignment.begin_closing(now)
        log_steps(run, frame["rows"])
        if written is None:
            return
        if frame["ack"]:
            # All that the worker has used so far: the rows it waits for may have come in an earlier frame.
            written.add_done_callback(lambda done: _acknowledge(worker, run, last, done))
        if ended is not None:
            self._end(worker, assignment, frame, written)

    def _end(self, worker: WorkerProcess, assignment: Assignment, frame: Frame, written: Future[Any]) -> None:
        run, journal = assignment.run, assignment.seen
        final = replace(
            run,
            status=RunStatus(frame["ended"]["status"]),
            error=frame["ended"]["error"],
            started_at=run.started_at or assignment.began_at,
            ended_at=frame["rows"][-1][4],
        )
        written.add_done_callback(lambda done: self._recorder.has_ended(final, journal, done))
        with self._roster.lock:
            self._roster.assignments.pop(worker, None)
            self._pool.give_back(worker)
            self._dispatcher.hand_out()
            self._roster.changed.notify_all()

    def answer_secret(self, worker: WorkerProcess, name: str) -> None:
        """A step asks for a secret; its run gets only those that its flows name."""
        worker.send(self._secret_answer(worker, name))

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


def _acknowledge(worker: WorkerProcess, run: RunRow, seq: int, done: Future[Any]) -> None:
    if done.exception() is None:
        worker.send({"committed": seq, "run_id": run.id})


def _end_of(run: RunRow, ended: dict[str, Any], *, at: float) -> Callable[[Connection], bool]:
    def record(connection: Connection) -> bool:
        return move_run(connection, run.id, RunStatus(ended["status"]), at=at, error=ended["error"])

    return record
