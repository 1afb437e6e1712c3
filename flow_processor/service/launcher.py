"""Accepting runs: the lock, the row, the engine, in this order; and what follows when a run has ended."""

from __future__ import annotations

import logging
import queue
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field, replace
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.local import LocalEngine
from flow_processor.engine.losses import error_record
from flow_processor.errors import (
    FlowRunning,
    OctospoolError,
    RunHasEnded,
    ShuttingDown,
    SpecError,
    StoreUnavailable,
)
from flow_processor.flow_files import Bundle, FlowLibrary
from flow_processor.journal import WireRow
from flow_processor.locks import FlowLocks
from flow_processor.run import RunStatus, Trigger, new_run_id
from flow_processor.spec.flow import ConcurrencySpec, OnConflict
from flow_processor.store import Connection, Store
from flow_processor.store.runs import RunRow, end_run, insert_flow_version, insert_run, request_cancel

logger = logging.getLogger("octospool.service")


CANCEL_SECONDS = 10.0
"""How long a cancel waits until it is recorded; it takes effect all the same."""

LOCK_RETRY_SECONDS = 5.0
"""Pause before a lock is tried again that could not even be looked at (something else stands in its place)."""


@dataclass(slots=True)
class _Live:
    """A run that has not ended, for those who wait for that."""

    flow: str
    ended: threading.Event = field(default_factory=threading.Event)
    outcome: tuple[RunRow, list[WireRow]] | None = None
    """Once it has ended: the run and its journal, where the engine had all of it at hand."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a run is to start."""

    trigger: Trigger
    by: str
    """Who or what, for people: `api`, a user's name, a schedule's id."""
    timeout_seconds: float | None = None
    """Overrides the flow's own time limit."""
    schedule_id: str | None = None
    slot: float | None = None
    """The schedule's moment, in seconds since 1970."""
    claim: Callable[[Connection, RunRow], bool] | None = None
    """Done in the transaction that inserts the run; False means that somebody else had it: nothing starts."""
    waits_its_turn: bool = False
    """Where the flow is running: wait for the lock, whatever its `on_conflict` (a missed slot that is made up)."""


class Launcher:
    """Accepts runs and frees what they held. Thread safe."""

    def __init__(self, store: Store, locks: FlowLocks, library: FlowLibrary, *, clock: Clock) -> None:
        self._store = store
        self._locks = locks
        self._library = library
        self._clock = clock
        self.engine: LocalEngine
        """Set once by the service; engine and launcher know each other."""
        self._guard = threading.Lock()
        self._held: defaultdict[str, deque[RunRow]] = defaultdict(deque)
        """Accepted runs that wait for their flow's lock, by flow."""
        self._expected: dict[str, RunRow] = {}
        """Runs that a worker of the last daemon still has, by id."""
        self._asked_to_end: dict[str, float] = {}
        """Those of them that were cancelled, with the moment in seconds since 1970."""
        self._live: dict[str, _Live] = {}
        """Runs that have not ended, each with what those wait on who want to know."""
        self._retrying: set[str] = set()
        """Flows whose lock is to be tried again in a while."""
        self._endings: queue.SimpleQueue[tuple[RunRow, list[WireRow] | None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work_off, name="endings", daemon=True)
        self._limits: dict[str, ConcurrencySpec] = {}
        self._known_versions: set[str] = set()
        self.is_closed = False
        """True: nothing new is accepted."""

    def start(self) -> None:
        """Start the engine, and the thread that frees what ended runs held."""
        self._thread.start()
        self.engine.start()

    def stop(self, grace_seconds: float) -> None:
        """Accept nothing more, let runs end for so long, then let them be."""
        self.is_closed = True
        self.engine.stop(grace_seconds)
        self._endings.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def launch(
        self, path: str, *, payload: Any, params: dict[str, Any] | None, cause: Cause
    ) -> RunRow | None:
        """Accept a run of the flow at `path`; it is durable when this returns.

        None where `cause.claim` said that somebody else had it. Raises FlowNotFound, SpecError, FlowRunning,
        ShuttingDown, StoreUnavailable.
        """
        if self.is_closed:
            raise ShuttingDown("the daemon is stopping and accepts nothing new; try again in a moment")
        bundle = self._library.launchable(path)
        self._check_expressions(bundle)
        run = self._new_run(bundle, payload=payload, params=params, cause=cause)
        rule = bundle.spec.concurrency
        self._limits[run.flow] = rule
        if rule.on_conflict is OnConflict.PARALLEL:
            return self._accept_and_start(run, bundle, cause)
        if cause.waits_its_turn or rule.on_conflict in (OnConflict.QUEUE, OnConflict.REPLACE):
            return self._accept_and_line_up(run, bundle, cause)
        holder = self._locks.acquire(run.flow, run.id, rule.limit)
        if holder is None:
            return self._accept_and_start(run, bundle, cause)
        return self._overlap(run, bundle, cause, holder)

    def expect(self, run: RunRow, rule: ConcurrencySpec) -> None:
        """A worker of the last daemon still has this run: it is live and holds its flow's lock."""
        self._limits[run.flow] = rule
        self._live[run.id] = _Live(run.flow)
        self._expected[run.id] = run
        try:
            if rule.on_conflict is not OnConflict.PARALLEL:
                self._locks.acquire(run.flow, run.id, rule.limit)
        except OctospoolError as error:
            logger.error("cannot take the lock: %s", error, extra={"run": run.id, "flow": run.flow})

    def resume(self, run: RunRow, rule: ConcurrencySpec) -> None:
        """Go on with a run that an earlier daemon accepted."""
        self._asked_to_end.pop(run.id, None)
        if self._expected.pop(run.id, None) is not None:
            # It has its flow's lock already; those in line for it must not stand before it.
            self.engine.submit(run)
            return
        self._limits[run.flow] = rule
        self._live[run.id] = _Live(run.flow)
        self._start_or_hold(run)

    def cancel(self, run_id: str, *, by: str) -> None:
        """Make the run end; durable when this returns. Raises RunHasEnded."""
        with self._guard:
            held = next((run for runs in self._held.values() for run in runs if run.id == run_id), None)
            if held is not None:
                self._held[held.flow].remove(held)
        why = f"the run was cancelled by {by}"
        recorded = self._request_cancel(run_id, by) if held is None else self._end_held(held, why)
        if recorded is None:
            raise RunHasEnded(f"run {run_id} has ended already", details={"run_id": run_id})
        try:
            recorded.result(CANCEL_SECONDS)
        except FutureTimeoutError as error:
            message = f"run {run_id} will end as soon as the store can be written again"
            raise StoreUnavailable(message, details={"run_id": run_id}) from error

    def cancel_asked_at(self, run_id: str) -> float | None:
        """When a run that the last daemon's worker still has was cancelled."""
        return self._asked_to_end.get(run_id)

    def _request_cancel(self, run_id: str, by: str) -> Future[Any] | None:
        if run_id not in self._expected:
            return self.engine.cancel(run_id, by=by)
        # It ends when its worker has left; until then nobody can reach it.
        now, reason = self._clock.now().timestamp(), f"the run was cancelled by {by}"
        self._asked_to_end.setdefault(run_id, now)
        recorded = self._store.writer.submit(
            lambda connection: request_cancel(connection, run_id, reason=reason, at=now), keep=True
        )
        # Its worker may have left meanwhile, and the next one been chosen before this was recorded.
        recorded.add_done_callback(
            lambda done: self.engine.deliver(run_id, error_record("cancelled", reason))
        )
        return recorded

    def has_ended(self, run: RunRow, journal: list[WireRow] | None = None) -> None:
        """The run has ended as it says, and that is durable.

        Only noted here: it is said by the store's writer and under the engine's lock, where nothing may be
        waited for.
        """
        self._endings.put((run, journal))

    def _work_off(self) -> None:
        while (ending := self._endings.get()) is not None:
            self._free(*ending)

    def _free(self, run: RunRow, journal: list[WireRow] | None) -> None:
        level = logging.INFO if run.status in (RunStatus.SUCCEEDED, RunStatus.EXITED) else logging.WARNING
        reason = f": {run.error['message']}" if run.error else ""
        where = {"run": run.id, "flow": run.flow}
        logger.log(level, "%s%s", run.status.value, reason, extra=where)
        with self._guard:
            try:
                self._locks.release(run.flow, run.id)
            except OSError as error:
                logger.error("cannot remove the lock file: %s", error, extra=where)
            self._start_next(run.flow)
        self._expected.pop(run.id, None)
        self._asked_to_end.pop(run.id, None)
        live = self._live.pop(run.id, None)
        if live is not None:
            live.outcome = None if journal is None else (run, journal)
            live.ended.set()

    def wait(self, run_id: str, seconds: float) -> tuple[RunRow, list[WireRow]] | None:
        """Wait for a run's end; the run and its journal if it ended meanwhile and they are at hand."""
        live = self._live.get(run_id)
        if live is None or not self._clock.wait(live.ended, seconds):
            return None
        return live.outcome

    def is_live(self, flow: str) -> bool:
        """Is a run of this flow live?"""
        return any(live.flow == flow for live in list(self._live.values()))

    def try_next(self, flow: str) -> None:
        """The flow's lock may be free: who waits for it may go on."""
        with self._guard:
            self._retrying.discard(flow)
            self._start_next(flow)

    def _check_expressions(self, bundle: Bundle) -> None:
        """Refuse a flow whose jq expressions do not compile. A version that ran before is not looked at."""
        if bundle.hash in self._known_versions:
            return
        problems = [
            problem
            for file, text in bundle.flows.items()
            for problem in self.engine.expressions.problems(self._library.shown(file), text)
        ]
        if problems:
            raise SpecError(problems)

    def _new_run(
        self, bundle: Bundle, *, payload: Any, params: dict[str, Any] | None, cause: Cause
    ) -> RunRow:
        now = self._clock.now()
        return RunRow(
            id=new_run_id(now),
            flow=bundle.path,
            flow_hash=bundle.hash,
            trigger=cause.trigger,
            trigger_by=cause.by,
            status=RunStatus.QUEUED,
            input=payload,
            params=params,
            timeout_seconds=cause.timeout_seconds or bundle.spec.timeout_seconds,
            created_at=now.timestamp(),
            schedule_id=cause.schedule_id,
            slot=cause.slot,
        )

    def _accept(self, run: RunRow, bundle: Bundle, cause: Cause) -> bool:
        """Make the run durable. False where `cause.claim` refused it."""
        is_new_version = bundle.hash not in self._known_versions

        def record(connection: Connection) -> bool:
            if cause.claim is not None and not cause.claim(connection, run):
                return False
            if is_new_version:
                insert_flow_version(connection, version=bundle.hash, path=bundle.path, flows=bundle.flows)
            insert_run(connection, run)
            return True

        accepted = self._store.writer.run(record)
        if accepted:
            self._known_versions.add(bundle.hash)
        return accepted

    def _accept_and_start(self, run: RunRow, bundle: Bundle, cause: Cause) -> RunRow | None:
        """The lock is taken (or not needed): record the run and hand it over."""
        accepted = False
        try:
            accepted = self._accept(run, bundle, cause)
        finally:
            if not accepted:
                with self._guard:
                    self._locks.release(run.flow, run.id)
                    self._start_next(run.flow)
        if not accepted:
            return None
        self._live[run.id] = _Live(run.flow)
        self.engine.submit(run, flows=bundle.flows)
        return run

    def _accept_and_line_up(self, run: RunRow, bundle: Bundle, cause: Cause) -> RunRow | None:
        """Record the run first; it starts when its turn comes."""
        if not self._accept(run, bundle, cause):
            return None
        self._live[run.id] = _Live(run.flow)
        self._start_or_hold(run)
        if bundle.spec.concurrency.on_conflict is OnConflict.REPLACE:
            self._replace_others(run)
        return run

    def _overlap(self, run: RunRow, bundle: Bundle, cause: Cause, holder: str) -> RunRow | None:
        """The flow is running: refuse the call, or record that this run was skipped."""
        message = f"flow '{run.flow}' is running (run {holder} holds its lock)"
        if bundle.spec.concurrency.on_conflict is OnConflict.REJECT and cause.trigger is not Trigger.SCHEDULE:
            hint = (
                f"wait for it, cancel it (POST /api/runs/{holder}/cancel), or set 'concurrency' in the flow"
            )
            raise FlowRunning(f"{message}; {hint}", details={"run_id": holder, "flow": run.flow})
        error = error_record("overlap", message)
        skipped = replace(run, status=RunStatus.SKIPPED, ended_at=run.created_at, error=error)
        if not self._accept(skipped, bundle, cause):
            return None
        logger.warning("skipped: %s", message, extra={"run": run.id, "flow": run.flow})
        return skipped

    def _replace_others(self, run: RunRow) -> None:
        """End what runs and waits of this flow in favour of `run`."""
        with self._guard:
            older = [held for held in self._held[run.flow] if held.id != run.id]
            for held in older:
                self._held[run.flow].remove(held)
            holders = [lock.run_id for lock in self._locks.held() if lock.flow == run.flow]
        for held in older:
            self._end_held(held, f"replaced by run {run.id}")
        for holder in holders:
            if holder != run.id:
                self._request_cancel(holder, f"run {run.id}, which replaces it")

    def _end_held(self, run: RunRow, why: str) -> Future[Any]:
        error = error_record("cancelled", why)
        now = self._clock.now().timestamp()

        def record(connection: Connection) -> bool:
            return end_run(connection, run.id, RunStatus.CANCELLED, at=now, error=error)

        final = replace(run, status=RunStatus.CANCELLED, error=error, ended_at=now)
        recorded = self._store.writer.submit(record, keep=True)
        recorded.add_done_callback(lambda done: self.has_ended(final))
        return recorded

    def _start_or_hold(self, run: RunRow) -> None:
        with self._guard:
            self._held[run.flow].append(run)
            self._start_next(run.flow)

    def _start_next(self, flow: str) -> None:
        """Hand out held runs of the flow, as many as its lock admits. The guard is held."""
        waiting = self._held.get(flow)
        while waiting:
            rule = self._limits[flow]
            run = waiting[0]
            is_free = rule.on_conflict is OnConflict.PARALLEL
            try:
                if not is_free and self._locks.acquire(flow, run.id, rule.limit) is not None:
                    return
            except OctospoolError as error:
                logger.error("cannot take the lock: %s", error, extra={"run": run.id, "flow": flow})
                self._try_later(flow)
                return
            waiting.popleft()
            self.engine.submit(run)

    def _try_later(self, flow: str) -> None:
        if flow not in self._retrying:
            self._retrying.add(flow)
            again = threading.Timer(LOCK_RETRY_SECONDS, self.try_next, [flow])
            again.daemon = True
            again.start()
