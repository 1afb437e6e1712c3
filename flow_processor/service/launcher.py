"""Accepting runs: the lock, the row, the engine, in this order; and what follows when a run has ended."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.local import LocalEngine
from flow_processor.engine.losses import error_record
from flow_processor.errors import FlowRunning, OctospoolError, RunHasEnded, ShuttingDown, SpecError
from flow_processor.flow_files import Bundle, FlowLibrary
from flow_processor.journal import WireRow
from flow_processor.locks import FlowLocks
from flow_processor.run import RunStatus, Trigger, new_run_id
from flow_processor.spec.flow import ConcurrencySpec, OnConflict
from flow_processor.store import Connection, Store
from flow_processor.store.runs import RunRow, end_run, insert_flow_version, insert_run, request_cancel

logger = logging.getLogger("octospool.service")


LOCK_RETRY_SECONDS = 5.0
"""Pause before a lock is tried again that could not even be looked at (something else stands in its place)."""


@dataclass(slots=True)
class _Live:
    """A run that has not ended, for those who wait for that."""

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
        self._limits: dict[str, ConcurrencySpec] = {}
        self._known_versions: set[str] = set()
        self.is_closed = False
        """True: nothing new is accepted."""

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
        self._live[run.id] = _Live()
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
        self._live[run.id] = _Live()
        self._start_or_hold(run)

    def cancel(self, run_id: str, *, by: str) -> None:
        """Make the run end; durable when this returns. Raises RunHasEnded."""
        with self._guard:
            held = next((run for runs in self._held.values() for run in runs if run.id == run_id), None)
            if held is not None:
                self._held[held.flow].remove(held)
        if held is not None:
            self._end_held(held, f"the run was cancelled by {by}")
            return
        recorded = self._request_cancel(run_id, by)
        if recorded is None:
            raise RunHasEnded(f"run {run_id} has ended already", details={"run_id": run_id})
        recorded.result()

    def cancel_asked_at(self, run_id: str) -> float | None:
        """When a run that the last daemon's worker still has was cancelled."""
        return self._asked_to_end.get(run_id)

    def _request_cancel(self, run_id: str, by: str) -> Future[Any] | None:
        if run_id not in self._expected:
            return self.engine.cancel(run_id, by=by)
        # It ends when its worker has left; until then nobody can reach it.
        now, reason = self._clock.now().timestamp(), f"the run was cancelled by {by}"
        self._asked_to_end.setdefault(run_id, now)
        return self._store.writer.submit(
            lambda connection: request_cancel(connection, run_id, reason=reason, at=now)
        )

    def has_ended(self, run: RunRow, journal: list[WireRow] | None = None) -> None:
        """The run has ended as it says, and that is durable. Must not wait for the store."""
        level = logging.INFO if run.status in (RunStatus.SUCCEEDED, RunStatus.EXITED) else logging.WARNING
        reason = f": {run.error['message']}" if run.error else ""
        logger.log(level, "%s%s", run.status.value, reason, extra={"run": run.id, "flow": run.flow})
        with self._guard:
            self._locks.release(run.flow, run.id)
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
        """Does a run of this flow hold its lock?"""
        return any(lock.flow == flow for lock in self._locks.held())

    def lock_was_removed(self, flow: str) -> None:
        """Somebody took the lock away: who waits for it may go on."""
        with self._guard:
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
        self._live[run.id] = _Live()
        self.engine.submit(run, flows=bundle.flows)
        return run

    def _accept_and_line_up(self, run: RunRow, bundle: Bundle, cause: Cause) -> RunRow | None:
        """Record the run first; it starts when its turn comes."""
        if not self._accept(run, bundle, cause):
            return None
        self._live[run.id] = _Live()
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

    def _end_held(self, run: RunRow, why: str) -> None:
        error = error_record("cancelled", why)
        now = self._clock.now().timestamp()
        self._store.writer.run(
            lambda connection: end_run(connection, run.id, RunStatus.CANCELLED, at=now, error=error)
        )
        self.has_ended(replace(run, status=RunStatus.CANCELLED, error=error, ended_at=now))

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
                again = threading.Timer(LOCK_RETRY_SECONDS, self.lock_was_removed, [flow])
                again.daemon = True
                again.start()
                return
            waiting.popleft()
            self.engine.submit(run)
