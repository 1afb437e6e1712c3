"""What a starting daemon does with the runs that the one before it left behind."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.assignment import ABORT_GRACE_SECONDS
from flow_processor.engine.local import LocalEngine
from flow_processor.engine.losses import error_record
from flow_processor.engine.worker_process import kill_process
from flow_processor.errors import OctospoolError, SpecError, StoreUnavailable
from flow_processor.flow_files import parse_flow
from flow_processor.journal import Event
from flow_processor.locks import LockFile
from flow_processor.run import RunStatus
from flow_processor.service.live_runs import LiveRuns
from flow_processor.service.turns import Turns
from flow_processor.spec.flow import ConcurrencySpec
from flow_processor.store import Connection, Store
from flow_processor.store.journal import history_rows
from flow_processor.store.runs import RunRow, end_run, move_run

logger = logging.getLogger("octospool.service")

STORE_RETRY_SECONDS = 1.0
"""Pause before the store is asked again that could not be read or written."""

ORPHAN_POLL_SECONDS = 0.05
"""How often it is asked whether a worker of the daemon before has left."""


class Recovery:
    """Goes on with every run that has not ended, as soon as nobody else has it."""

    def __init__(
        self,
        store: Store,
        engine: LocalEngine,
        *,
        turns: Turns,
        live: LiveRuns,
        workers_path: Path,
        handover_path: Path,
        clock: Clock,
    ) -> None:
        self._store = store
        self._engine = engine
        self._turns = turns
        self._live = live
        self._workers_path = workers_path
        self._handover_path = handover_path
        self._clock = clock
        self._is_stopping = threading.Event()
        self._waiting: list[threading.Thread] = []

    def start(self) -> None:
        """Take over; runs that a worker of the old daemon still has are waited for in the background."""
        orphans = self._orphans()
        self._fold_handovers()
        for run in sorted(self._store.runs.live(), key=lambda run: (run.started_at is None, run.id)):
            rule = self._rule_of(run)
            if rule is None:
                continue
            orphan = orphans.get(run.id)
            if orphan is None:
                self._go_on(run, rule)
                continue
            logger.info("a worker of the last daemon still has the run", extra=_where(run))
            self._expect(run, rule)
            args = (orphan, run, rule)
            thread = threading.Thread(target=self._wait_for, args=args, name="orphan", daemon=True)
            self._waiting.append(thread)
            thread.start()

    def stop(self) -> None:
        """Wait for no more orphans."""
        self._is_stopping.set()
        for thread in self._waiting:
            thread.join()

    def _orphans(self) -> dict[str, LockFile]:
        """Workers of the last daemon that still live, by the run they have; traces of dead ones are removed."""
        orphans = {}
        for path in sorted(self._workers_path.glob("*.lock")):
            lock = LockFile(path)
            if lock.is_taken():
                orphans[str(lock.content().get("run_id", ""))] = lock
            else:
                path.unlink(missing_ok=True)
        return orphans

    def _wait_for(self, orphan: LockFile, run: RunRow, rule: ConcurrencySpec) -> None:
        while orphan.is_taken():
            if self._clock.wait(self._is_stopping, ORPHAN_POLL_SECONDS):
                return
            self._end_overdue(orphan, run)
        found = self._found_after_handover(run)
        if found is None:
            return
        if found.status.is_terminal:
            self._live.has_ended(found)
        else:
            self._go_on(found, rule)

    def _found_after_handover(self, run: RunRow) -> RunRow | None:
        """The run as its old worker left it; None if it is gone, or the daemon stops."""
        while True:
            try:
                self._fold_handovers()
                return self._store.runs.get(run.id)
            except StoreUnavailable as error:
                logger.error("cannot go on yet: %s", error, extra=_where(run))
                if self._clock.wait(self._is_stopping, STORE_RETRY_SECONDS):
                    return None

    def _end_overdue(self, orphan: LockFile, run: RunRow) -> None:
        """Kill a worker whose run's time is over, or was cancelled a while ago: nobody else watches it."""
        content = orphan.content()
        now = self._clock.now().timestamp()
        asked_at = self._live.asked_to_end_at(run.id)
        is_overdue = now > content.get("must_end_by", now)
        if (
            is_overdue or (asked_at is not None and now > asked_at + ABORT_GRACE_SECONDS)
        ) and orphan.is_taken():
            logger.warning("the last daemon's worker is killed: its time is over", extra=_where(run))
            kill_process(int(content["pid"]))

    def _rule_of(self, run: RunRow) -> ConcurrencySpec | None:
        """How many runs of its flow there may be at once; None where the run cannot go on, and was ended."""
        texts = self._store.runs.flow_texts(run.flow_hash)
        try:
            return parse_flow(texts[run.flow], run.flow, checked=True).concurrency
        except (KeyError, SpecError) as error:
            message = f"the flow as it was at launch cannot be read any more: {error}"
            self._end(run, RunStatus.INTERRUPTED, error_record("flow_lost", message))
            return None

    def _go_on(self, run: RunRow, rule: ConcurrencySpec) -> None:
        logger.info("goes on after a restart", extra=_where(run))
        if self._live.take_over(run.id):
            # It has its flow's lock already; those in line for it must not stand before it.
            self._engine.submit(run)
            return
        self._turns.set_rule(run.flow, rule)
        self._live.add(run)
        self._turns.line_up(run)

    def _expect(self, run: RunRow, rule: ConcurrencySpec) -> None:
        """A worker of the last daemon still has this run: it is live and holds its flow's lock."""
        self._turns.set_rule(run.flow, rule)
        self._live.add(run, left_behind=True)
        try:
            self._turns.take(run.flow, run.id)
        except OctospoolError as error:
            logger.error("cannot take the lock: %s", error, extra=_where(run))

    def _end(self, run: RunRow, status: RunStatus, error: dict[str, Any]) -> None:
        now = self._clock.now().timestamp()
        self._store.writer.run(lambda connection: end_run(connection, run.id, status, at=now, error=error))
        logger.error("%s: %s", status.value, error["message"], extra=_where(run))

    def _fold_handovers(self) -> None:
        """Take in what workers wrote down for whoever comes next."""
        for path in sorted(self._handover_path.glob("*.json")):
            try:
                handed = json.loads(path.read_bytes())
                rows = history_rows(handed["run_id"], handed["rows"], handed["logs"])
                record = _recorder(handed["run_id"], handed["rows"])
            except (OSError, ValueError, KeyError) as error:
                logger.error("handover file %s cannot be read and is left alone: %s", path.name, error)
                continue
            try:
                self._store.writer.submit(record, rows=rows).result()
            except StoreUnavailable as error:
                if self._store.writer.problem is not None:
                    raise
                # Not the store refuses but this file's rows: the run goes on from what the store has.
                logger.error("handover file %s cannot be taken and is set aside: %s", path.name, error)
                path.rename(path.with_suffix(".rejected"))
                continue
            path.unlink(missing_ok=True)


def _recorder(run_id: str, rows: Sequence[Sequence[Any]]) -> Callable[[Connection], None]:
    def record(connection: Connection) -> None:
        for _seq, path, _attempt, event, at, data in rows:
            if not path and event == Event.ENDED:
                ended = json.loads(data)
                # A run that was never recorded as begun must pass through `running`.
                move_run(connection, run_id, RunStatus.RUNNING, at=at)
                move_run(connection, run_id, RunStatus(ended["status"]), at=at, error=ended["error"])

    return record


def _where(run: RunRow) -> dict[str, str]:
    return {"run": run.id, "flow": run.flow}
