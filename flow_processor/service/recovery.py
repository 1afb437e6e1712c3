"""What a starting daemon does with the runs that the one before it left behind."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.handover import Handovers
from flow_processor.engine.local import LocalEngine
from flow_processor.engine.losses import (
    CRASHES_BEFORE_REST,
    MAX_REST_SECONDS,
    error_record,
    rests_until,
    row_of_crash,
)
from flow_processor.errors import FlowLost, OctospoolError, StoreUnavailable
from flow_processor.locks import LockFile
from flow_processor.run import RunStatus
from flow_processor.service.child_runs import ChildRuns
from flow_processor.service.launched_flows import LaunchedFlows
from flow_processor.service.left_workers import LeftWorkers, end_overdue, forget_left
from flow_processor.service.live_runs import LiveRuns
from flow_processor.service.turns import Turns
from flow_processor.store import Store
from flow_processor.store.daemon_rows import end_run
from flow_processor.store.journal import history_rows
from flow_processor.store.runs import ParkedRun, RunRow

logger = logging.getLogger("octospool.service")

STORE_RETRY_SECONDS = 1.0
"""Pause before the store is asked again that could not be read or written."""

TELL_AGAIN_SECONDS = 60.0
"""So often it is said that it still cannot."""

ORPHAN_POLL_SECONDS = 0.05
"""How often it is asked whether a worker of the daemon before has left."""


_DAMAGED = ValueError, KeyError, TypeError
"""What a row of a journal raises that cannot be read."""


class Recovery:
    """Goes on with every run that has not ended, as soon as nobody else has it."""

    def __init__(
        self,
        store: Store,
        engine: LocalEngine,
        *,
        handovers: Handovers,
        flows: LaunchedFlows,
        turns: Turns,
        live: LiveRuns,
        children: ChildRuns,
        workers_path: Path,
        clock: Clock,
    ) -> None:
        self._store = store
        self._engine = engine
        self._handovers = handovers
        self._flows = flows
        self._turns = turns
        self._live = live
        self._children = children
        self._workers_path = workers_path
        self._clock = clock
        self._is_stopping = threading.Event()
        self._waiting: list[threading.Thread] = []

    def start(self) -> None:
        """Take over; runs that a worker of the old daemon still has are waited for in the background."""
        left = LeftWorkers(self._workers_path)
        self._handovers.take_in_all()
        # By version: each is parsed once, however many there are.
        found = sorted(self._store.runs.parked(), key=lambda run: run.flow_hash)
        parked = [run for run in found if self._is_known(run)]
        runs = [run for run in self._store.runs.under_way() if self._is_known(run)]
        # All of them before any parent goes on and asks for them.
        for waiting in parked:
            self._children.expect(waiting, has_begun=True)
        for run in runs:
            if run.parent is not None:
                self._children.expect(run, has_begun=not self._is_new(left, run))
        for waiting in parked:
            self._park(left, waiting)
        self._record_crashes(left, runs)
        orphans = {run.id: self._orphans(left, run) for run in runs}
        left.forget_dead()
        resting = self._resting()
        for run in sorted(runs, key=lambda run: (run.started_at is None, run.id)):
            if orphans[run.id]:
                self._expect(orphans[run.id], run)
            elif run.id in resting:
                self._rest(run, resting[run.id])
            else:
                self._go_on(run)
        self._children.end_lost()
        # Whether all have ended that they wait for, they ask themselves.
        for parent in self._store.children.waiting_parents():
            self._engine.wake(parent)

    def take_over(self, run_id: str) -> None:
        """Go on with a queued run that another daemon accepted. Raises StoreUnavailable."""
        run = self._store.runs.get(run_id)
        if run is not None and run.status is RunStatus.QUEUED and self._is_known(run):
            logger.info("taken over from another daemon", extra=_where(run))
            self._live.add(run)
            self._turns.line_up(run)

    def stop(self) -> None:
        """Wait for no more orphans."""
        self._is_stopping.set()
        for thread in self._waiting:
            thread.join()

    def _record_crashes(self, left: LeftWorkers, runs: list[RunRow]) -> None:
        """Workers that nobody saw die: what was under way in them may be what killed them."""
        now = self._clock.now().timestamp()
        recorded: list[Future[None]] = []
        for run in runs:
            dead = left.dead.get(run.id)
            if not dead or run.status is not RunStatus.RUNNING:
                continue
            try:
                row = row_of_crash(self._store.journal.rows(run.id), dead=dead, at=now)
            except _DAMAGED:
                # A damaged row: whoever hands the run out ends it with that reason; the others go on.
                logger.exception("the journal cannot be read", extra=_where(run))
                continue
            if row is not None:
                recorded.append(self._store.writer.submit(None, rows=history_rows(run.id, [row])))
        for one in recorded:
            # Before the run is handed out again: its next worker is given what is in the store.
            one.result()

    def _orphans(self, left: LeftWorkers, run: RunRow | ParkedRun) -> list[LockFile]:
        """Workers of the last daemon that may have the run."""
        if not left.living:
            return []
        return left.having(run.id, dispatched_to=self._store.journal.last_dispatched_to(run.id))

    def _park(self, left: LeftWorkers, run: ParkedRun) -> None:
        """A waiting run goes on waiting: it has its flow's lock, and no worker."""
        # It may have gone on, and the store did not get to hear of it before the daemon died.
        if orphans := left.having(run.id, dispatched_to=None):
            self._expect(orphans, run)
            return
        self._take_lock(run)
        self._live.add(run)
        self._engine.park(run.id, run.wake_at)

    def _resting(self) -> dict[str, float]:
        """Runs that do not go on at once, because everything died too often while they did; until when, in seconds
        since 1970."""
        now = self._clock.now().timestamp()
        found: dict[str, float] = {}
        for run_id in self._store.journal.often_lost(CRASHES_BEFORE_REST):
            try:
                at = rests_until(self._store.journal.rows(run_id))
            except _DAMAGED:
                continue  # as with `_record_crashes`
            if at is not None and at > now:
                found[run_id] = min(at, now + MAX_REST_SECONDS)  # the clock may have been set back since
        return found

    def _rest(self, run: RunRow, until: float) -> None:
        """The run has its flow's lock, and no worker for a while."""
        seconds = until - self._clock.now().timestamp()
        message = "everything died too often while a step of it was under way; it goes on in %.0f s"
        logger.warning(message, seconds, extra=_where(run))
        self._take_lock(run)
        self._live.add(run)
        self._engine.park(run.id, until)

    def _expect(self, orphans: list[LockFile], run: RunRow | ParkedRun) -> None:
        """A worker of the last daemon still has this run: it is live and holds its flow's lock."""
        logger.info("a worker of the last daemon still has the run", extra=_where(run))
        self._take_lock(run)
        self._live.add(run, left_behind=True)
        thread = threading.Thread(target=self._wait_for, args=(orphans, run), name="orphan", daemon=True)
        self._waiting.append(thread)
        thread.start()

    def _is_new(self, left: LeftWorkers, run: RunRow) -> bool:
        """Has no worker had the run?"""
        is_queued = run.status is RunStatus.QUEUED and run.started_at is None
        return is_queued and not self._orphans(left, run)

    def _take_lock(self, run: RunRow | ParkedRun) -> None:
        if run.parent is not None:
            return
        try:
            self._turns.take(run.flow, run.id)
        except OctospoolError as error:
            logger.error("cannot take the lock: %s", error, extra=_where(run))

    def _wait_for(self, orphans: list[LockFile], run: RunRow | ParkedRun) -> None:
        found = self._found_after(orphans, run)
        if found is None:
            return
        if found.status.is_terminal:
            self._live.has_ended(found)
        elif found.status is RunStatus.WAITING:
            self._live.take_over(run.id)
            self._engine.park(found.id, found.wake_at)
            if found.id in self._store.children.waiting_parents():
                self._engine.wake(found.id)
        else:
            self._go_on(found)

    def _found_after(self, orphans: list[LockFile], run: RunRow | ParkedRun) -> RunRow | None:
        """The run as its old workers left it; None if it is gone, or the daemon stops."""
        told, told_at = "", 0.0
        while True:
            try:
                if not self._see_them_leave(orphans, run):
                    return None
                self._handovers.take_in_all()
                return self._store.runs.get(run.id)
            except (StoreUnavailable, OSError) as error:
                # No file handle is free, say. Nobody else goes on with the run, and it holds its flow's lock.
                now = self._clock.monotonic()
                if str(error) != told or now - told_at > TELL_AGAIN_SECONDS:
                    logger.error("cannot go on yet: %s", error, extra=_where(run))
                    told, told_at = str(error), now
                if self._clock.wait(self._is_stopping, STORE_RETRY_SECONDS):
                    return None

    def _see_them_leave(self, orphans: list[LockFile], run: RunRow | ParkedRun) -> bool:
        """Wait until the workers have left; False if the daemon stops before. Raises OSError."""
        for orphan in orphans:
            while orphan.is_taken():
                if self._clock.wait(self._is_stopping, ORPHAN_POLL_SECONDS):
                    return False
                asked_at = self._live.asked_to_end_at(run.id)
                end_overdue(orphan, run, asked_at=asked_at, now=self._clock.now().timestamp())
            forget_left(orphan)
        return True

    def _is_known(self, run: RunRow | ParkedRun) -> bool:
        """Note how many runs of its flow there may be; False where the run cannot go on, and was ended."""
        try:
            self._turns.set_rule(run.flow, self._flows.bundle(run.flow, run.flow_hash).spec.concurrency)
        except FlowLost as lost:
            self._end(run, RunStatus.INTERRUPTED, error_record("flow_lost", lost.message))
            return False
        return True

    def _go_on(self, run: RunRow) -> None:
        if run.parent is not None and run.started_at is None and not self._live.take_over(run.id):
            return  # it waits until its parent lets it begin
        logger.info("goes on after a restart", extra=_where(run))
        if run.parent is not None or self._live.take_over(run.id):
            # It has its flow's lock already; those in line for it must not stand before it.
            self._engine.submit(run)
            return
        self._live.add(run)
        self._turns.line_up(run)

    def _end(self, run: RunRow | ParkedRun, status: RunStatus, error: dict[str, Any]) -> None:
        now = self._clock.now().timestamp()
        self._store.writer.run(lambda connection: end_run(connection, run.id, status, at=now, error=error))
        logger.error("%s: %s", status.value, error["message"], extra=_where(run))


def _where(run: RunRow | ParkedRun) -> dict[str, str]:
    return {"run": run.id, "flow": run.flow}
