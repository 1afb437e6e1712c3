"""The local engine: hands runs to worker processes of this machine and watches over them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Protocol

from flow_processor.clock import Clock
from flow_processor.engine.assignment import ABORT_GRACE_SECONDS, Assignment
from flow_processor.engine.expression_check import ExpressionChecker
from flow_processor.engine.frames import Frame
from flow_processor.engine.grants import Grants
from flow_processor.engine.losses import MAX_LOSSES_OF_RUN, error_record, rows_of_loss, rows_of_poison
from flow_processor.engine.order import CLOSING_SECONDS, RunOrder
from flow_processor.engine.pool import WorkerPool
from flow_processor.engine.step_log import log_steps, where
from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.errors import OctospoolError, StoreUnavailable
from flow_processor.journal import (
    DISPATCH_SPAN,
    Event,
    JournalRow,
    RunState,
    WireRow,
    fold,
    from_wire,
    to_wire,
)
from flow_processor.run import RunStatus
from flow_processor.step import Secret
from flow_processor.store import Connection, Store
from flow_processor.store.journal import history_rows
from flow_processor.store.runs import RunRow, end_run, move_run, request_cancel

logger = logging.getLogger("octospool.engine")

STORE_RETRY_SECONDS = 1.0
"""Pause before a run is handed out again that could not be read from the store."""

TOGETHER_SECONDS = 0.02
"""Rows that nobody waits for may gather for so long: one hand-over to the writer instead of one a step."""

TICK_SECONDS = 0.1
"""How often time limits are looked at while runs are under way."""


class EndedListener(Protocol):
    """Who is told that a run has its terminal status (after the commit)."""

    def __call__(self, run: RunRow, journal: list[WireRow] | None) -> None:
        """The run has ended as `run` says; `journal` is all of it, where that is at hand."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    run: RunRow
    flows: dict[str, str] | None
    """None: to be read from the store."""
    since: float
    """In monotonic seconds."""
    has_begun: bool
    """Did a worker have it before?"""


class LocalEngine:
    """Runs are handed out in the order in which they were submitted. Thread safe."""

    def __init__(
        self,
        store: Store,
        pool: WorkerPool,
        *,
        clock: Clock,
        get_secret: Callable[[str], Secret],
        default_timeout_seconds: float,
        first_data_of: Callable[[RunRow], dict[str, Any]],
        on_ended: EndedListener,
    ) -> None:
        self._store = store
        self._pool = pool
        self._clock = clock
        self._get_secret = get_secret
        self._default_timeout = default_timeout_seconds
        self._first_data_of = first_data_of
        self._on_ended = on_ended
        self.expressions = ExpressionChecker(pool, clock=clock, on_free=self._feed)
        """Compiles jq expressions in workers of this engine."""
        self._lock = threading.RLock()
        self._wake = threading.Condition(self._lock)
        self._waiting: deque[_Waiting] = deque()
        self._assignments: dict[WorkerProcess, Assignment] = {}
        self._is_stopping = False
        """True: no run is handed out any more."""
        self._is_closed = False
        """True: nothing that workers say is taken any more."""
        self._grants = Grants()
        self._between: set[str] = set()
        """Runs whose worker is gone and whose next one is not chosen yet."""
        self._ending = 0
        """How many ends of runs are being committed."""
        self._watcher = threading.Thread(target=self._watch, name="engine", daemon=True)

    def start(self) -> None:
        """Start the first workers and the watch."""
        self._pool.start(on_ready=self._feed, on_frame=self._take_frame, on_exit=self._worker_left)
        self._watcher.start()

    def submit(self, run: RunRow, *, flows: dict[str, str] | None = None) -> None:
        """Hand a committed run to the next free worker. `flows` are its texts, if the caller has them."""
        with self._lock:
            has_begun = run.started_at is not None
            self._waiting.append(_Waiting(run, flows, self._clock.monotonic(), has_begun))
            self._hand_out()

    def cancel(self, run_id: str, *, by: str) -> Future[Any] | None:
        """End a run that was submitted; the future is done when the wish is durable. None: no such run here."""
        reason = error_record("cancelled", f"the run was cancelled by {by}")
        with self._lock:
            waiting = next((entry for entry in self._waiting if entry.run.id == run_id), None)
            if waiting is not None and not waiting.has_begun:
                self._waiting.remove(waiting)
                self._hand_out()
                return self._end(waiting.run, RunStatus.CANCELLED, reason)
            found = self._find(run_id)
            if found is not None:
                return self._abort(*found, Event.CANCEL_REQUESTED, reason)
            if waiting is None and run_id not in self._between:
                return None
            # It has begun, so its finally steps are due: the next worker runs them, and nothing else.
            recorded = self._store.writer.submit(
                lambda connection: request_cancel(
                    connection, run_id, reason=reason["message"], at=self._now()
                ),
                keep=True,
            )
        recorded.add_done_callback(lambda done: self.deliver(run_id, reason))
        return recorded

    def _find(self, run_id: str) -> tuple[WorkerProcess, Assignment] | None:
        for worker, assignment in self._assignments.items():
            if assignment.run.id == run_id and not assignment.has_ended:
                return worker, assignment
        return None

    def deliver(self, run_id: str, reason: dict[str, Any]) -> None:
        """Tell the worker that got the run while the wish to end it was being recorded."""
        with self._lock:
            found = self._find(run_id)
            if found is not None and not found[1].is_closing:
                self._ask_to_end(*found, reason)

    def stop(self, grace_seconds: float) -> None:
        """Start nothing more; wait for runs under way, then let their workers go: they hand over."""
        with self._lock:
            self._is_stopping = True
            self._wake.wait_for(lambda: not self._assignments and not self._ending, grace_seconds)
            for assignment in self._assignments.values():
                logger.warning("still under way; goes on at the next start", extra=where(assignment.run))
            self._is_closed = True
            self._wake.notify_all()
        self._pool.stop()
        if self._watcher.is_alive():
            self._watcher.join()

    def counts(self) -> tuple[int, int]:
        """How many runs are in workers' hands, and how many wait for one."""
        with self._lock:
            return len(self._assignments), len(self._waiting)

    # Handing out.

    def _feed(self) -> None:
        with self._lock:
            self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and not self._is_stopping:
            worker = self._pool.take(waiting_since=self._waiting[0].since)
            if worker is None:
                return
            waiting = self._waiting.popleft()
            try:
                is_taken = self._assign(worker, waiting)
            except (StoreUnavailable, OSError) as trouble:
                logger.error("cannot be handed to a worker yet: %s", trouble, extra=where(waiting.run))
                self._waiting.appendleft(waiting)
                self._pool.give_back(worker)
                again = threading.Timer(STORE_RETRY_SECONDS, self._feed)
                again.daemon = True
                again.start()
                return
            except Exception as defect:
                logger.exception("cannot be handed to a worker", extra=where(waiting.run))
                message = f"the run could not be handed to a worker: {type(defect).__name__}: {defect}"
                self._end(waiting.run, RunStatus.INTERRUPTED, error_record("dispatch_failed", message))
                is_taken = False
            if not is_taken:
                self._pool.give_back(worker)
        if not self._waiting:
            self._pool.nobody_waits()

    def _assign(self, worker: WorkerProcess, waiting: _Waiting) -> bool:
        """Hand the run to the worker; False where the run was ended instead."""
        prepared = self._prepare(waiting)
        if prepared is None:
            return False
        order, assignment = prepared
        # If the worker is gone by now, its end is reported and the run goes on in another one.
        worker.send({"run": order.as_frame()})
        self._assignments[worker] = assignment
        self._record_dispatch(worker, assignment)
        self._wake.notify_all()
        return True

    def _prepare(self, waiting: _Waiting) -> tuple[RunOrder, Assignment] | None:
        run = waiting.run
        rows: list[WireRow] = []
        flows = waiting.flows
        state = RunState()
        if flows is None:
            flows = self._store.runs.flow_texts(run.flow_hash)
            rows = self._store.journal.rows(run.id)
            state = fold(from_wire(row) for row in rows)
        dispatch = max(state.last_seq // DISPATCH_SPAN, state.dispatches) + 1
        is_closing = state.cancel_requested or state.flow_timed_out
        limit = run.timeout_seconds or self._default_timeout
        left = CLOSING_SECONDS if is_closing else max(1.0, limit - state.worked_seconds)
        secrets = self._grants.of(run.flow_hash, flows)
        assignment = Assignment(run, dispatch, self._clock.monotonic() + left, limit, secrets, is_closing)
        if state.losses[""] > MAX_LOSSES_OF_RUN:
            self._end(
                run, RunStatus.FAILED, error_record("worker_lost", f"{state.losses['']} workers were lost")
            )
            return None
        poison = rows_of_poison(state, at=self._now())
        if poison:
            self._append(run.id, poison)
        order = RunOrder(
            run_id=run.id,
            flow=run.flow,
            flow_hash=run.flow_hash,
            flows=flows,
            data=self._first_data_of(run),
            dispatch=dispatch,
            timeout_seconds=left,
            rows=rows + poison,
        )
        return order, assignment

    def _record_dispatch(self, worker: WorkerProcess, assignment: Assignment) -> None:
        now = self._now()
        seq = assignment.dispatch * DISPATCH_SPAN
        row = to_wire(JournalRow(seq, "", 0, Event.DISPATCHED, now, {"worker": worker.id, "pid": worker.pid}))
        run_id = assignment.run.id

        def record(connection: Connection) -> None:
            move_run(connection, run_id, RunStatus.RUNNING, at=now)

        self._store.writer.submit(record, rows=history_rows(run_id, [row]), lazy=True, keep=True)
        assignment.began_at = now
        if assignment.dispatch == 1:
            assignment.seen = [row]
        logger.info("started", extra=where(assignment.run))

    # What workers say.

    def _take_frame(self, worker: WorkerProcess, frame: Frame) -> None:
        if "rows" in frame:
            self._take_rows(worker, frame)
        elif "secret" in frame:
            worker.send(self._secret_answer(worker, frame["secret"]))
        elif "checked" in frame:
            self.expressions.take_frame(worker, frame)

    def _take_rows(self, worker: WorkerProcess, frame: Frame) -> None:
        ended = frame.get("ended")
        with self._lock:
            assignment = self._assignments.get(worker)
            if assignment is None or self._is_closed:
                return  # nobody confirms these rows, so the worker hands them over
            run, now = assignment.run, self._clock.monotonic()
            assignment.observe(frame["rows"], frame["logs"], now)
            assignment.has_ended = ended is not None
            self._ending += ended is not None
            written = None
            if frame["ack"] or now - assignment.unsent_since > TOGETHER_SECONDS:
                end = None if ended is None else _end_of(run, ended, at=frame["rows"][-1][4])
                written = self._write_unsent(assignment, end, lazy=not frame["ack"])
            last = assignment.last_seq
            if frame.get("closing"):
                assignment.begin_closing(now)
        log_steps(run, frame["rows"])
        if written is None:
            return
        if frame["ack"]:
            # All that the worker has used so far: the rows it waits for may have come in an earlier frame.
            written.add_done_callback(lambda done: self._acknowledge(worker, run, last, done))
        if ended is not None:
            final = replace(
                run,
                status=RunStatus(ended["status"]),
                error=ended["error"],
                started_at=run.started_at or assignment.began_at,
                ended_at=frame["rows"][-1][4],
            )
            journal = assignment.seen
            written.add_done_callback(lambda done: self._ended(final, journal, done))
            with self._lock:
                self._assignments.pop(worker, None)
                self._pool.give_back(worker)
                self._hand_out()
                self._wake.notify_all()

    def _acknowledge(self, worker: WorkerProcess, run: RunRow, seq: int, done: Future[Any]) -> None:
        if done.exception() is None:
            worker.send({"committed": seq, "run_id": run.id})

    def _ended(self, run: RunRow, journal: list[WireRow] | None, done: Future[Any]) -> None:
        failure = done.exception()
        if failure is None:
            self._on_ended(run, journal)
        with self._lock:
            self._ending -= 1
            if failure is not None and not self._is_closed:
                self._end(run, RunStatus.INTERRUPTED, _refused(str(failure)))
            self._wake.notify_all()

    def _secret_answer(self, worker: WorkerProcess, name: str) -> Frame:
        with self._lock:
            assignment = self._assignments.get(worker)
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

    # Time limits, cancel, lost workers.

    def _watch(self) -> None:
        with self._lock:
            while not self._is_closed:
                self._wake.wait(TICK_SECONDS if self._assignments else None)
                now = self._clock.monotonic()
                for worker, assignment in list(self._assignments.items()):
                    try:
                        self._check_limits(worker, assignment, now)
                    except Exception:  # around one run: the watch over the others must go on
                        logger.exception("worker %s is killed", worker.id, extra=where(assignment.run))
                        worker.kill()

    def _check_limits(self, worker: WorkerProcess, assignment: Assignment, now: float) -> None:
        if assignment.is_killed or assignment.has_ended:
            return
        assignment.unsent_rows += assignment.overdue(now - TICK_SECONDS)
        if assignment.unsent_rows or assignment.unsent_logs:
            self._write_unsent(assignment, None, lazy=True)
        if assignment.abort_deadline is not None and now > assignment.abort_deadline:
            self._kill(worker, assignment, "it did not end when it was asked to")
        elif assignment.expire(now):
            self._kill(
                worker, assignment, f"time limit of {', '.join(path for path, _, _ in assignment.expired)}"
            )
        elif assignment.deadline is not None and now > assignment.deadline:
            if assignment.is_closing:
                self._kill(worker, assignment, "finally steps took too long")
            elif assignment.abort_deadline is None:
                message = (
                    f"the run was longer under way than its time limit of {assignment.limit:g} s "
                    "(the flow's timeout_seconds, or FLOW_TIMEOUT_SECONDS)"
                )
                error = error_record("flow_timeout", message)
                self._abort(worker, assignment, Event.FLOW_TIMED_OUT, error)

    def _kill(self, worker: WorkerProcess, assignment: Assignment, why: str) -> None:
        assignment.is_killed = True
        logger.warning("worker %s is killed: %s", worker.id, why, extra=where(assignment.run))
        worker.kill()

    def _abort(
        self, worker: WorkerProcess, assignment: Assignment, event: Event, reason: dict[str, Any]
    ) -> Future[None]:
        """Record why the run must end, and ask its worker to end it."""
        row = assignment.daemon_row("", 0, event, self._now(), {"reason": reason["message"]})
        recorded = self._append(assignment.run.id, [row])
        self._ask_to_end(worker, assignment, reason)
        return recorded

    def _ask_to_end(self, worker: WorkerProcess, assignment: Assignment, reason: dict[str, Any]) -> None:
        if assignment.abort_deadline is None:
            assignment.abort_deadline = self._clock.monotonic() + ABORT_GRACE_SECONDS
        worker.send({"abort": reason, "run_id": assignment.run.id})

    def _worker_left(self, worker: WorkerProcess, exit_code: int) -> None:
        """Called when a worker process has ended, whatever made it end."""
        self.expressions.worker_left(worker)
        with self._lock:
            assignment = self._assignments.pop(worker, None)
            if assignment is None or self._is_stopping:
                self._wake.notify_all()
                return
            run = assignment.run
            if assignment.refused is not None:
                self._end(run, RunStatus.INTERRUPTED, _refused(assignment.refused))
                return
            if assignment.is_closing and assignment.is_killed and not assignment.expired:
                self._end_closing(assignment)
                return
            assignment.unsent_rows += assignment.overdue(self._clock.monotonic())
            self._write_unsent(assignment, None, lazy=True)
            rows = rows_of_loss(assignment, worker_id=worker.id, exit_code=exit_code, at=self._now())
            self._between.add(run.id)
        if not assignment.is_killed:
            logger.error("worker %s died with exit code %d", worker.id, exit_code, extra=where(run))
        # Committed before the run is handed out again: the next worker reads what is in the store.
        self._append(run.id, rows).result()
        with self._lock:
            self._between.discard(run.id)
            self._waiting.appendleft(_Waiting(run, None, self._clock.monotonic(), has_begun=True))
            self._hand_out()

    def _end_closing(self, assignment: Assignment) -> None:
        """Finally steps were given their time; the run ends without them."""
        state = fold(from_wire(row) for row in self._store.journal.rows(assignment.run.id))
        if state.cancel_requested:
            error = error_record("cancelled", "the run was cancelled; its finally steps took too long")
            self._end(assignment.run, RunStatus.CANCELLED, error)
        else:
            error = error_record(
                "flow_timeout", "the run's time limit is over; its finally steps took too long"
            )
            self._end(assignment.run, RunStatus.FAILED, error)

    def _write_unsent(
        self, assignment: Assignment, operation: Callable[[Connection], bool] | None, *, lazy: bool
    ) -> Future[bool]:
        """Hand what has gathered to the store's writer, in one piece; the engine's lock is held."""
        rows, logs = assignment.take_unsent()
        values = history_rows(assignment.run.id, rows, logs)
        written = self._store.writer.submit(operation, rows=values, lazy=lazy, keep=True)
        written.add_done_callback(lambda done: self._check_written(assignment, done))
        return written

    def _check_written(self, assignment: Assignment, done: Future[bool]) -> None:
        """Rows that cannot be stored must not be thought durable: the run ends, and says why."""
        failure = done.exception()
        if failure is None or self._is_closed:
            return
        logger.error("rows of the run cannot be stored: %s", failure, extra=where(assignment.run))
        with self._lock:
            assignment.refused = str(failure)
            for worker, other in self._assignments.items():
                if other is assignment:
                    self._kill(worker, assignment, "its rows cannot be stored")

    def _append(self, run_id: str, rows: list[WireRow], *, lazy: bool = False) -> Future[None]:
        return self._store.writer.submit(None, rows=history_rows(run_id, rows), lazy=lazy, keep=True)

    def _end(self, run: RunRow, status: RunStatus, error: dict[str, Any]) -> Future[Any]:
        """End a run that no worker has."""
        now = self._now()

        def record(connection: Connection) -> None:
            end_run(connection, run.id, status, at=now, error=error)

        self._ending += 1
        written = self._store.writer.submit(record, keep=True)
        final = replace(run, status=status, error=error, ended_at=now)
        written.add_done_callback(lambda done: self._ended(final, None, done))
        return written

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _refused(why: str) -> dict[str, Any]:
    message = f"what the run did could not be recorded, so it cannot go on: {why}"
    return error_record("rows_refused", message)


def _end_of(run: RunRow, ended: dict[str, Any], *, at: float) -> Callable[[Connection], bool]:
    def record(connection: Connection) -> bool:
        return move_run(connection, run.id, RunStatus(ended["status"]), at=at, error=ended["error"])

    return record
