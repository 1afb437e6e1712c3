"""Accepting runs: the lock, the row, the engine, in this order."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

from flow_processor.clock import Clock
from flow_processor.documents import did_you_mean
from flow_processor.engine.local import LocalEngine
from flow_processor.engine.losses import error_record
from flow_processor.engine.sizes import size_of
from flow_processor.errors import FlowRunning, InvalidRequest, ShuttingDown, SpecError, StoreUnavailable
from flow_processor.flow_files import Bundle, FlowLibrary
from flow_processor.flow_files.defaults import defaults_in
from flow_processor.journal import Event, JournalRow, WireRow, to_wire
from flow_processor.own_code.manifest import flow_texts, manifest_of
from flow_processor.run import RunStatus, Trigger, new_run_id
from flow_processor.service.acceptance import Acceptance, Acceptances
from flow_processor.service.cancels import Cancels
from flow_processor.service.cause import Cause
from flow_processor.service.live_runs import LiveRuns
from flow_processor.service.turns import Turns
from flow_processor.spec.flow import OnConflict
from flow_processor.spec.params import clean_params
from flow_processor.store import Connection, Store
from flow_processor.store.journal import insert_rows
from flow_processor.store.runs import RunRow, count_bytes, insert_flow_version, insert_run

logger = logging.getLogger("octospool.service")

LOOK_SECONDS = 0.02
"""Runs that nobody asks for one by one are launched as their flow file was so long ago at most: to look at it and its
surroundings for each of hundreds of items a second is a sixth of what an item costs."""


class Launcher:
    """Accepts runs. Thread safe."""

    def __init__(
        self,
        store: Store,
        library: FlowLibrary,
        engine: LocalEngine,
        *,
        turns: Turns,
        live: LiveRuns,
        cancels: Cancels,
        clock: Clock,
    ) -> None:
        self._store = store
        self._library = library
        self._engine = engine
        self._turns = turns
        self._live = live
        self._cancels = cancels
        self._clock = clock
        self._acceptances = Acceptances()
        self.known_versions: set[str] = set()
        """Hashes of flow texts that the store has, as far as this daemon has seen."""
        self.is_closed = False
        """True: nothing new is accepted."""

    def start(self) -> None:
        """Begin to finish what `launch_soon` begins."""
        self._acceptances.start()

    def stop(self) -> None:
        """Finish what `launch_soon` has begun. Close it before."""
        self._acceptances.stop()

    def check_open(self) -> None:
        """Raises ShuttingDown once nothing new is accepted."""
        if self.is_closed:
            raise ShuttingDown("the daemon is stopping and accepts nothing new; try again in a moment")

    def launch(
        self,
        path: str,
        *,
        payload: Any,
        params: dict[str, Any] | None,
        cause: Cause,
        until: str | None = None,
    ) -> RunRow | None:
        """Accept a run of the flow at `path`, which is to end after the step `until` (None: at its end); it is durable
        when this returns.

        None where `cause.claim` said that somebody else had it. Raises FlowNotFound, SpecError, FlowRunning,
        InvalidRequest (`params_invalid`: all that is wrong with `params`; `unknown_step`), ShuttingDown,
        StoreUnavailable.
        """
        return self._begin(path, payload=payload, params=params, cause=cause, until=until).finish()

    def launch_soon(
        self, path: str, *, payload: Any, params: dict[str, Any] | None, cause: Cause
    ) -> Future[RunRow | None]:
        """The same for who has many runs to launch: it does not wait for the commit, so that they share some.

        What `launch` raises is raised at once; only StoreUnavailable comes by the future. Callbacks of the future
        hold up the runs behind this one.
        """
        begun = self._begin(path, payload=payload, params=params, cause=cause, seconds_old=LOOK_SECONDS)
        return self._acceptances.add(begun)

    def _begin(
        self,
        path: str,
        *,
        payload: Any,
        params: dict[str, Any] | None,
        cause: Cause,
        until: str | None = None,
        seconds_old: float = 0.0,
    ) -> Acceptance:
        self.check_open()
        bundle = self.bundle_of(path, seconds_old=seconds_old)
        values = clean_params(bundle.spec.params, params or {})
        run = self._new_run(bundle, payload=payload, params=values, cause=cause)
        rows = [] if until is None else [bound(bundle, until, cause, at=run.created_at)]
        return self._begin_to_accept(run, bundle, cause, [to_wire(row) for row in rows])

    def bundle_of(self, path: str, *, seconds_old: float = 0.0) -> Bundle:
        """The flow at `path` as it would be launched now, or would have been so long ago. Raises FlowNotFound,
        SpecError."""
        bundle = self._library.launchable(path, seconds_old=seconds_old)
        self._check_expressions(bundle)
        return bundle

    def accept(
        self, run: RunRow, bundle: Bundle, cause: Cause, *, rows: Sequence[WireRow] = ()
    ) -> RunRow | None:
        """Record the run and hand it out, as the flow's `concurrency` says. None and errors: see `launch`.

        `rows` are the journal that it begins with.
        """
        return self._begin_to_accept(run, bundle, cause, rows).finish()

    def _begin_to_accept(
        self, run: RunRow, bundle: Bundle, cause: Cause, rows: Sequence[WireRow]
    ) -> Acceptance:
        rule = bundle.spec.concurrency
        self._turns.set_rule(run.flow, rule)
        lines_up = cause.waits_its_turn or rule.on_conflict in (OnConflict.QUEUE, OnConflict.REPLACE)
        if lines_up and rule.on_conflict is not OnConflict.PARALLEL:
            return self._begin_to_line_up(run, bundle, cause, rows)
        holder = self._turns.take_here(run.flow, run.id)
        if holder is None:
            return self._begin_to_start(run, bundle, cause, rows)
        return self._overlap(run, bundle, cause, holder)

    def _check_expressions(self, bundle: Bundle) -> None:
        """Refuse a flow whose jq expressions do not compile. A version that ran before is not looked at."""
        if bundle.hash in self.known_versions:
            return
        own, defaults = manifest_of(bundle.flows).names, defaults_in(bundle.flows)
        problems = [
            problem
            for file, text in flow_texts(bundle.flows).items()
            for problem in self._engine.expressions.problems(self._library.shown(file), text, own, defaults)
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
            item=None if cause.item is None else dict(cause.item),
            daemon=self._store.daemon,
        )

    def _record(
        self,
        run: RunRow,
        bundle: Bundle,
        cause: Cause,
        rows: Sequence[WireRow] = (),
        *,
        has_lock: bool = False,
    ) -> Future[bool]:
        """Make the run durable. False where `cause.claim` refused it; HeldElsewhere where it has the flow's lock here
        but another daemon's run has it too."""
        # Another daemon may have pruned the text meanwhile.
        is_new_version = bundle.hash not in self.known_versions or self._store.daemon is not None

        def record(connection: Connection) -> bool:
            if has_lock:
                self._turns.claim(connection, run)
            if cause.claim is not None and not cause.claim(connection, run):
                return False
            if is_new_version:
                insert_flow_version(connection, version=bundle.hash, path=bundle.path, flows=bundle.flows)
            insert_run(connection, run)
            if rows:
                insert_rows(connection, run.id, rows)
                count_bytes(connection, run.id, size_of(rows, ()))
            return True

        return self._store.writer.submit(record)

    def _begin_to_start(
        self, run: RunRow, bundle: Bundle, cause: Cause, rows: Sequence[WireRow]
    ) -> Acceptance:
        """The lock is taken (or not needed): record the run, then hand it over."""

        def go_on() -> None:
            self.known_versions.add(bundle.hash)
            # A journal to begin with is read from the store, and the texts with it.
            self._engine.submit(run, flows=None if rows else bundle.flows)
            self._live.has_arrived(run.id)

        def take_back() -> None:
            self._live.take_back(run)
            self._turns.give_back(run)

        self._live.begin(run)
        try:
            recorded = self._record(run, bundle, cause, rows, has_lock=True)
            return Acceptance(run, recorded, go_on, take_back, partial(self._overlap, run, bundle, cause))
        except StoreUnavailable:  # it is closed
            take_back()
            raise

    def _begin_to_line_up(
        self, run: RunRow, bundle: Bundle, cause: Cause, rows: Sequence[WireRow]
    ) -> Acceptance:
        """Record the run first; it starts when its turn comes."""

        def go_on() -> None:
            self.known_versions.add(bundle.hash)
            self._turns.line_up(run)
            self._live.has_arrived(run.id)
            # An item waits, whatever `on_conflict` says: each would end the one before it.
            if bundle.spec.concurrency.on_conflict is OnConflict.REPLACE and cause.item is None:
                self._cancels.replace_others(run)

        self._live.begin(run)
        recorded = self._record(run, bundle, cause, rows)
        return Acceptance(run, recorded, go_on, partial(self._live.take_back, run))

    def _overlap(self, run: RunRow, bundle: Bundle, cause: Cause, holder: str) -> Acceptance:
        """The flow is running: refuse the call, or record that this run was skipped."""
        if bundle.spec.concurrency.on_conflict is OnConflict.REJECT and cause.trigger is not Trigger.SCHEDULE:
            raise flow_is_running(run.flow, holder)
        message = f"flow '{run.flow}' is running (run {holder} holds its lock)"
        error = error_record("overlap", message)
        skipped = replace(run, status=RunStatus.SKIPPED, ended_at=run.created_at, error=error)

        def go_on() -> None:
            self.known_versions.add(bundle.hash)
            logger.warning("skipped: %s", message, extra={"run": run.id, "flow": run.flow})

        return Acceptance(skipped, self._record(skipped, bundle, cause), go_on)


def bound(bundle: Bundle, until: str, cause: Cause, *, at: float, seq: int = 0) -> JournalRow:
    """The row that says after which step a run is to end. Raises InvalidRequest for a step that there is not."""
    names = [step.name for step in bundle.spec.steps]
    if until not in names:
        near = did_you_mean(until, names) or f"there are: {', '.join(names)}"
        message = f"flow '{bundle.path}' has no step '{until}' to end after; {near}"
        raise InvalidRequest(message, code="unknown_step")
    return JournalRow(seq, "", 0, Event.BOUNDED, at, {"until": until, "by": cause.by})


def flow_is_running(flow: str, holder: str) -> FlowRunning:
    """The refusal of a run whose flow's lock another one holds."""
    hint = f"wait for it, cancel it (POST /api/runs/{holder}/cancel), or set 'concurrency' in the flow"
    message = f"flow '{flow}' is running (run {holder} holds its lock); {hint}"
    return FlowRunning(message, details={"run_id": holder, "flow": flow})
