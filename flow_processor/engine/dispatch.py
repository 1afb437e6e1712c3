"""Runs that wait for a worker, and handing them out."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, replace

from flow_processor.clock import Clock
from flow_processor.engine.losses import error_record
from flow_processor.engine.pool import WorkerPool
from flow_processor.engine.preparation import Preparation
from flow_processor.engine.records import Recorder
from flow_processor.engine.roster import Roster
from flow_processor.engine.step_log import where
from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.errors import StoreUnavailable
from flow_processor.run import RunStatus
from flow_processor.store import Store
from flow_processor.store.runs import RunRow

logger = logging.getLogger("octospool.engine")

STORE_RETRY_SECONDS = 1.0
"""Pause before a run is handed out again that could not be read from the store."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits for a worker."""

    run_id: str
    run: RunRow | None
    """None: to be read from the store."""
    flows: dict[str, str] | None
    """Its texts; None: they are to be read from the store, and so is its journal."""
    since: float
    """In monotonic seconds."""
    has_begun: bool
    """Did a worker have it before?"""


class Dispatcher:
    """Runs are handed out in the order in which they came. The engine's lock guards it."""

    def __init__(
        self,
        store: Store,
        pool: WorkerPool,
        roster: Roster,
        recorder: Recorder,
        preparation: Preparation,
        *,
        clock: Clock,
    ) -> None:
        self._store = store
        self._pool = pool
        self._roster = roster
        self._recorder = recorder
        self._preparation = preparation
        self._clock = clock
        self._waiting: deque[Waiting] = deque()
        self._tries_later = False
        """The store could not be read; it is tried again in a while."""

    def __len__(self) -> int:
        """How many runs wait for a worker."""
        return len(self._waiting)

    def add(self, run: RunRow, *, flows: dict[str, str] | None = None) -> None:
        """A run for the next free worker. `flows` are its texts, if the caller has them."""
        with self._roster.lock:
            has_begun = run.started_at is not None
            if run.id in self._roster.unheard:
                flows = None
            self._waiting.append(Waiting(run.id, run, flows, self._clock.monotonic(), has_begun))
            self.hand_out()

    def add_again(self, run_id: str) -> None:
        """A run that has lost its worker: it comes before those that have not begun."""
        with self._roster.lock:
            self._waiting.appendleft(Waiting(run_id, None, None, self._clock.monotonic(), has_begun=True))
            self.hand_out()

    def add_parked(self, run_id: str) -> None:
        """A run that was parked and goes on: it takes its turn."""
        with self._roster.lock:
            self._waiting.append(Waiting(run_id, None, None, self._clock.monotonic(), has_begun=True))
            self.hand_out()

    def find(self, run_id: str) -> Waiting | None:
        """The run, if it waits here."""
        return next((entry for entry in self._waiting if entry.run_id == run_id), None)

    def take_out(self, waiting: Waiting) -> None:
        """The run is not to be handed out after all."""
        self._waiting.remove(waiting)
        self.hand_out()

    def read_again(self, run_id: str) -> None:
        """Something was written into the journal of a run that may wait here: it is to be read."""
        for position, entry in enumerate(self._waiting):
            if entry.run_id == run_id:
                self._waiting[position] = replace(entry, flows=None)

    def feed(self) -> None:
        """There may be a free worker."""
        with self._roster.lock:
            self.hand_out()

    def hand_out(self) -> None:
        """Give free workers what waits; the engine's lock is held."""
        while self._waiting and not self._roster.is_stopping:
            worker = self._pool.take(waiting_since=self._waiting[0].since)
            if worker is None:
                return
            waiting = self._waiting.popleft()
            try:
                is_taken = self._assign(worker, waiting)
            except (StoreUnavailable, OSError) as trouble:
                logger.error("cannot be handed to a worker yet: %s", trouble, extra={"run": waiting.run_id})
                self._waiting.appendleft(waiting)
                self._pool.give_back(worker)
                self._try_later()
                return
            except Exception:  # around one run: those behind it must go on
                logger.exception("cannot be read; the next start tries again", extra={"run": waiting.run_id})
                is_taken = False
            if not is_taken:
                self._pool.give_back(worker)
        if not self._waiting:
            self._pool.nobody_waits()

    def _try_later(self) -> None:
        if self._tries_later:
            return
        self._tries_later = True
        again = threading.Timer(STORE_RETRY_SECONDS, self._try_again)
        again.daemon = True
        again.start()

    def _try_again(self) -> None:
        with self._roster.lock:
            self._tries_later = False
            self.hand_out()

    def _assign(self, worker: WorkerProcess, waiting: Waiting) -> bool:
        """Hand the run to the worker; False where it has ended, or was ended instead."""
        run = waiting.run or self._store.runs.get(waiting.run_id)
        if run is None or run.status.is_terminal:
            logger.info("has ended meanwhile", extra={"run": waiting.run_id})
            if run is not None:
                self._recorder.found_ended(run)
            return False
        try:
            prepared = self._preparation.prepare(run, waiting.flows)
        except (StoreUnavailable, OSError):
            raise
        except Exception as defect:
            logger.exception("cannot be handed to a worker", extra=where(run))
            message = f"the run could not be handed to a worker: {type(defect).__name__}: {defect}"
            self._recorder.end(run, RunStatus.INTERRUPTED, error_record("dispatch_failed", message))
            return False
        if prepared is None:
            return False
        order, assignment = prepared
        # If the worker is gone by now, its end is reported and the run goes on in another one.
        worker.send({"run": order.as_frame()})
        self._roster.assignments[worker] = assignment
        self._recorder.dispatched(worker, assignment)
        logger.info("started", extra=where(run))
        if not self._roster.is_watched:
            self._roster.begun.notify()
        return True
