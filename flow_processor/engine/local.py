"""The local engine: hands runs to worker processes of this machine and watches over them.

Its parts share a `Roster` (where each run is) under one lock: `Dispatcher` hands runs out, `Reports` takes what
workers say, `ParkedRuns` those that wait without a worker, `Watch` enforces limits, `Departures` sees to runs whose
worker is gone, `Recorder` writes it all down.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.departures import Departures
from flow_processor.engine.dispatch import Dispatcher
from flow_processor.engine.expression_check import ExpressionChecker
from flow_processor.engine.frames import Frame
from flow_processor.engine.handover import Handovers
from flow_processor.engine.losses import error_record
from flow_processor.engine.parked import ParkedRuns
from flow_processor.engine.pool import WorkerPool
from flow_processor.engine.preparation import Preparation
from flow_processor.engine.records import EndedListener, Recorder
from flow_processor.engine.reports import ChildrenListener, Reports
from flow_processor.engine.roster import Roster
from flow_processor.engine.step_log import where
from flow_processor.engine.watch import Watch
from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.step import Secret
from flow_processor.store import Store
from flow_processor.store.daemon_rows import record_signal, request_cancel
from flow_processor.store.runs import RunRow

logger = logging.getLogger("octospool.engine")


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
        handovers: Handovers,
        on_ended: EndedListener,
        on_children: ChildrenListener,
        on_worker_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_worker_lost` is told that a worker has died or was killed; it must not wait for anything."""
        self._store = store
        self._on_worker_lost = on_worker_lost
        self._pool = pool
        self._roster = Roster()
        self._recorder = Recorder(store, self._roster, clock=clock, on_ended=on_ended)
        preparation = Preparation(
            store,
            self._recorder,
            clock=clock,
            default_timeout_seconds=default_timeout_seconds,
            first_data_of=first_data_of,
        )
        self._dispatcher = Dispatcher(store, pool, self._roster, self._recorder, preparation, clock=clock)
        self._parked = ParkedRuns(self._roster, clock=clock, hand_out=self._dispatcher.add_parked)
        self._watch = Watch(self._roster, self._recorder, clock=clock)
        self._reports = Reports(
            pool,
            self._roster,
            self._recorder,
            self._dispatcher,
            self._parked,
            clock=clock,
            get_secret=get_secret,
            on_children=on_children,
        )
        self._departures = Departures(self._roster, self._recorder, self._dispatcher, handovers)
        self.expressions = ExpressionChecker(pool, clock=clock, on_free=self._dispatcher.feed)
        """Compiles jq expressions in workers of this engine."""

    def start(self) -> None:
        """Start the first workers and the watch."""
        self._pool.start(on_ready=self._dispatcher.feed, on_frame=self._take_frame, on_exit=self._worker_left)
        self._watch.start()
        self._parked.start()

    def submit(self, run: RunRow, *, flows: dict[str, str] | None = None) -> None:
        """Hand a committed run to the next free worker. `flows` are its texts, if the caller has them."""
        self._dispatcher.add(run, flows=flows)

    def park(self, run_id: str, wake_at: float | None) -> None:
        """A waiting run of the last daemon: it goes on at that moment (seconds since 1970) or when it is told."""
        with self._roster.lock:
            self._parked.add(run_id, wake_at)
            if self._roster.unheard.pop(run_id, None):
                self._parked.wake(run_id)

    def wake(self, run_id: str) -> None:
        """The run goes on now, if it is parked."""
        self._parked.wake(run_id)

    def cancel(self, run_id: str, *, by: str) -> Future[Any] | None:
        """End a run that was submitted; the future is done when the wish is durable. None: no such run here."""
        reason = error_record("cancelled", f"the run was cancelled by {by}")
        with self._roster.lock:
            waiting = self._dispatcher.find(run_id)
            if waiting is not None and waiting.run is not None and not waiting.has_begun:
                self._dispatcher.take_out(waiting)
                return self._recorder.end(waiting.run, RunStatus.CANCELLED, reason)
            found = self._roster.find(run_id)
            if found is not None:
                return self._watch.abort(*found, Event.CANCEL_REQUESTED, reason, by=by)
            is_known = waiting is not None or run_id in self._roster.between or run_id in self._parked
            if not is_known:
                return None
            # It has begun, so its finally steps are due: the next worker runs them, and nothing else.
            now = self._recorder.now()
            self._roster.unheard[run_id].add(None)
            recorded = self._store.writer.submit(
                lambda connection: request_cancel(
                    connection, run_id, reason=reason["message"], by=by, at=now
                ),
                keep=True,
            )
        recorded.add_done_callback(lambda done: self.deliver(run_id, reason))
        return recorded

    def deliver(self, run_id: str, reason: dict[str, Any]) -> None:
        """The wish to end a run is recorded: tell the worker that got it meanwhile, or let a parked one go on."""
        with self._roster.lock:
            found = self._roster.find(run_id)
            if found is None:
                self._roster.unheard[run_id].add(None)
                self._parked.wake(run_id)
            elif not found[1].is_closing:
                self._watch.ask_to_end(*found, reason)

    def signal(self, run_id: str, *, name: str, data: Any, by: str) -> Future[int | None]:
        """Tell a run something; the future is done when that is durable: the row's seq, None if the run has ended.

        Whoever has the run by then hears of it: a worker at once, a parked run goes on, and one that waits for a
        worker or its lock finds it in its journal.
        """
        at = self._recorder.now()
        with self._roster.lock:
            self._roster.unheard[run_id].add(name)
            self._dispatcher.read_again(run_id)
            wakes = self._parked.awaits(run_id, name)
            recorded = self._store.writer.submit(
                lambda connection: record_signal(
                    connection, run_id, name=name, data=data, by=by, at=at, wakes=wakes
                )
            )
        told = {"name": name, "data": data, "by": by, "at": at}
        recorded.add_done_callback(lambda done: self._deliver_signal(run_id, told, done))
        return recorded

    def _deliver_signal(self, run_id: str, told: Frame, done: Future[int | None]) -> None:
        seq = None if done.exception() is not None else done.result()
        with self._roster.lock:
            if seq is None:
                self._roster.forget(run_id, told["name"])
                return
            found = self._roster.find(run_id)
            if found is not None:
                found[0].send({"signal": {"seq": seq, **told}, "run_id": run_id})
            elif self._parked.awaits(run_id, told["name"]):
                self._parked.wake(run_id)

    def stop(self, grace_seconds: float) -> None:
        """Start nothing more; wait for runs under way, then let their workers go: they hand over."""
        roster = self._roster
        with roster.lock:
            roster.is_stopping = True
            roster.changed.wait_for(lambda: not roster.assignments and not roster.ending, grace_seconds)
            for assignment in roster.assignments.values():
                logger.warning("still under way; goes on at the next start", extra=where(assignment.run))
                self._recorder.stopped(assignment)
            roster.is_closed = True
            roster.begun.notify()
        self._parked.stop()
        self._pool.stop()
        self._watch.join()

    def counts(self) -> tuple[int, int]:
        """How many runs are in workers' hands, and how many wait for one."""
        with self._roster.lock:
            return len(self._roster.assignments), len(self._dispatcher)

    def is_at_work(self, worker_id: str, run_id: str) -> bool:
        """Has this worker the run now?"""
        with self._roster.lock:
            found = self._roster.find(run_id)
            return found is not None and found[0].id == worker_id

    def has(self, run_id: str) -> bool:
        """Is the run in a worker's hands, on its way to or from one, waiting for one, or parked?"""
        roster = self._roster
        with roster.lock:
            is_assigned = any(assignment.run.id == run_id for assignment in roster.assignments.values())
            waits = self._dispatcher.find(run_id) is not None or run_id in self._parked
            return is_assigned or waits or run_id in roster.between

    def parked_count(self) -> int:
        """How many runs wait without a worker."""
        with self._roster.lock:
            return len(self._parked)

    def _take_frame(self, worker: WorkerProcess, frame: Frame) -> None:
        if "rows" in frame:
            self._reports.take_rows(worker, frame)
        elif "secret" in frame:
            self._reports.answer_secret(worker, frame["secret"])
        elif "children" in frame:
            self._reports.answer_children(worker, frame["children"])
        elif "checked" in frame:
            self.expressions.take_frame(worker, frame)

    def _worker_left(self, worker: WorkerProcess, exit_code: int) -> None:
        if exit_code:
            self._on_worker_lost()
        self.expressions.worker_left(worker)
        self._departures.worker_left(worker, exit_code)
