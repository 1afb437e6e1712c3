"""Trying a run again from where it failed: a new run that begins with what is kept of the old one's journal."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flow_processor.clock import Clock
from flow_processor.errors import Conflict, NothingFailed, RunIsLive, RunNotFound, RunWasSkipped
from flow_processor.flow_files import Bundle, ancestors
from flow_processor.journal import Event, JournalRow, WireRow, from_wire, to_wire
from flow_processor.result_files import ResultFiles, ResultLost
from flow_processor.run import RunStatus, new_run_id
from flow_processor.run_state import RunState, fold
from flow_processor.service.cancels import RECORD_SECONDS
from flow_processor.service.cause import Cause
from flow_processor.service.done_parts import has_done_a_part
from flow_processor.service.kept_rows import Kept, kept_rows
from flow_processor.service.launched_flows import LaunchedFlows, flows_of
from flow_processor.service.launcher import Launcher, bound
from flow_processor.service.live_runs import LiveRuns
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retry_doubts import (
    Answer,
    check_not_interrupted,
    child_in_doubt,
    is_unclear_error,
    settled,
)
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.params import clean_params
from flow_processor.spec.step import is_graph
from flow_processor.store import Store
from flow_processor.store.runs import RunRow, has_ended

_WENT_WELL = (RunStatus.SUCCEEDED, RunStatus.EXITED)


@dataclass(frozen=True, slots=True)
class RetryWish:
    """How a run is to be tried again."""

    from_step: str | None = None
    """Begin at this step of the flow; None: at the first that is not done."""
    use_current_flow: bool = False
    """Take the flow file as it is now, not as it was at launch."""
    has_data: bool = False
    data: Any = None
    """With `has_data`: the new run's `__input__`; else the old run's."""
    params: dict[str, Any] | None = None
    """All values of the new run's parameters; None: those of the old run."""
    until: str | None = None
    """The step of the flow to end after; None: at its end."""
    answer: Answer | None = None
    """What came of steps that failed in doubt."""


class Retries:
    """Tries runs again. Thread safe."""

    def __init__(
        self,
        store: Store,
        flows: LaunchedFlows,
        results: ResultFiles,
        *,
        launcher: Launcher,
        live: LiveRuns,
        clock: Clock,
    ) -> None:
        self._store = store
        self._flows = flows
        self._results = results
        self._launcher = launcher
        self._live = live
        self._clock = clock

    def retry(self, run_id: str, wish: RetryWish, cause: Cause) -> RunRow:
        """Accept a run that tries another one again; durable when this returns.

        Raises RunNotFound, RunIsLive, RunWasSkipped, RunInDoubt, NothingFailed, InvalidRequest (`from` was never
        reached, wrong `params`, `until` is no step), FlowLost, FlowNotFound, SpecError, FlowRunning, ShuttingDown,
        StoreUnavailable, Conflict `result_lost`.
        """
        self._launcher.check_open()
        found = self._store.runs.with_journal(run_id)
        if found is None:
            raise _not_found(run_id)
        old, wires = found
        _check(old)
        # Else the old run's lock may stand in the new one's way for a moment.
        self._live.is_freed(old.id, RECORD_SECONDS)
        launched = self._flows.bundle(old.flow, old.flow_hash)
        bundle = self._launcher.bundle_of(old.flow) if wish.use_current_flow else launched
        journal = [_sent(from_wire(wire)) for wire in wires]
        state = fold(journal)
        check_not_interrupted(old.id, old.flow, state)
        self._check_children(old, wish)
        kept = _kept(old, launched, bundle, wish, journal)
        was_cut_short = any(row.event is Event.BOUNDED for row in journal)
        if kept.restart is None and old.status in _WENT_WELL and not was_cut_short:
            message = (
                f"run {old.id} has {old.status.value}, nothing in it failed; say 'from', the step to begin at"
            )
            raise NothingFailed(message, details={"run_id": old.id})
        run = self._new_run(old, bundle, wish, cause)
        rows = self._first_rows(
            old, bundle, replace(kept, begun=_begun(kept, journal, state, wish)), wish, cause
        )
        try:
            self._adopt(run, old, kept.rows)
            # An interrupted run may be resumed just now: then there is nothing to try again.
            safe = replace(cause, claim=lambda connection, _run: has_ended(connection, old.id))
            accepted = self._launcher.accept(run, bundle, safe, rows=rows)
            if accepted is None:
                is_gone = self._store.runs.get(old.id) is None
                raise _not_found(old.id) if is_gone else _is_live(old)
        except BaseException:
            self._results.delete(run.id)
            raise
        if accepted.status is RunStatus.SKIPPED:
            self._results.delete(run.id)
        return accepted

    def _check_children(self, old: RunRow, wish: RetryWish) -> None:
        """The same for runs that are part of it: those that have not gone well are launched anew."""
        for run_id, status, error in self._store.children.undone(old.id):
            if status is not RunStatus.INTERRUPTED:
                if wish.answer is None and (
                    is_unclear_error(error, of_own_run=True)
                    or (status is not RunStatus.FAILED and has_done_a_part(self._store, [run_id]))
                ):
                    raise child_in_doubt(old.id, run_id, error)
                continue
            found = self._store.runs.with_journal(run_id)
            if found is not None:
                child, wires = found
                check_not_interrupted(child.id, child.flow, fold(from_wire(wire) for wire in wires))

    def _new_run(self, old: RunRow, bundle: Bundle, wish: RetryWish, cause: Cause) -> RunRow:
        now = self._clock.now()
        limit = bundle.spec.timeout_seconds if wish.use_current_flow else old.timeout_seconds
        return RunRow(
            id=new_run_id(now),
            flow=old.flow,
            flow_hash=bundle.hash,
            trigger=cause.trigger,
            trigger_by=cause.by,
            status=RunStatus.QUEUED,
            input=wish.data if wish.has_data else old.input,
            params=_params(old, bundle, wish),
            timeout_seconds=limit,
            created_at=now.timestamp(),
            retry_of=old.id,
            attempt=old.attempt + 1,
            daemon=self._store.daemon,
        )

    def _first_rows(
        self, old: RunRow, bundle: Bundle, kept: Kept, wish: RetryWish, cause: Cause
    ) -> list[WireRow]:
        data: dict[str, Any] = {"of": old.id, "from": wish.from_step or kept.restart, "by": cause.by}
        if kept.begun:
            data["begun"] = kept.begun
        if wish.answer is not None:
            data["mode"] = wish.answer.mode.value
        now = self._clock.now().timestamp()
        rows = [JournalRow(0, "", 0, Event.RETRIED, now, data), *kept.rows]
        if wish.until is not None:
            rows.append(bound(bundle, wish.until, cause, at=now, seq=len(rows)))
        return [to_wire(row) for row in rows]

    def _adopt(self, run: RunRow, old: RunRow, rows: Sequence[JournalRow]) -> None:
        for row in rows:
            name = row.data.get("result_file")
            if name is None:
                continue
            try:
                self._results.adopt(run.id, name, source=old.id)
            except ResultLost as lost:
                step = row.path.partition("/")[0].partition("[")[0].partition("#")[0]
                message = f"the result of step '{row.path}' is lost ({lost.message}); retry from: {step}"
                raise Conflict(message, code="result_lost", details={"step": row.path}) from lost


def _sent(row: JournalRow) -> JournalRow:
    """The row as a run has it that keeps it: its result was put on its queue by the run that made it."""
    if row.event is not Event.SUCCEEDED or "output" not in row.data:
        return row
    return replace(
        row, data={key: value for key, value in row.data.items() if key not in ("output", "items")}
    )


def _check(old: RunRow) -> None:
    """Can the run be tried again at all?"""
    if not old.status.is_terminal:
        raise _is_live(old)
    if old.status is RunStatus.SKIPPED:
        message = f"run {old.id} was skipped, so it never began; launch its flow again ({old.flow})"
        raise RunWasSkipped(message, details={"run_id": old.id})


def _kept(
    old: RunRow, launched: Bundle, bundle: Bundle, wish: RetryWish, journal: Sequence[JournalRow]
) -> Kept:
    """What is kept of the old run. Raises RunInDoubt and InvalidRequest."""
    handlers = _handlers(launched)

    def keep(rows: Sequence[JournalRow], stays: Collection[int]) -> Kept:
        return kept_rows(
            rows,
            from_step=wish.from_step,
            finally_steps=_finally_steps(launched),
            handlers=handlers,
            before=_before(bundle.spec),
            order=[step.name for step in bundle.spec.steps] if wish.use_current_flow else (),
            known_steps={step.name for step in bundle.spec.steps} if wish.use_current_flow else None,
            failed_items=old.status in _WENT_WELL,
            stays=stays,
        )

    return settled(old.id, journal, wish.answer, keep=keep, handlers=handlers)


def _begun(kept: Kept, journal: Sequence[JournalRow], state: RunState, wish: RetryWish) -> list[str]:
    """Paths of steps that may have been done in the old run, or in those before it which it tried again."""
    if wish.answer is not None and wish.answer.mode is ResumeMode.RERUN:
        return kept.begun
    seen = {row.path for row in journal}
    return [*kept.begun, *sorted(state.begun - seen)]


def _params(old: RunRow, bundle: Bundle, wish: RetryWish) -> dict[str, Any] | None:
    """The values of the new run. Of kept ones those go that a flow as it is now has no parameter for."""
    specs = bundle.spec.params
    if wish.params is not None:
        return clean_params(specs, wish.params)
    if not wish.use_current_flow:
        return old.params
    return clean_params(specs, {name: value for name, value in (old.params or {}).items() if name in specs})


def _not_found(run_id: str) -> RunNotFound:
    return RunNotFound(f"there is no run '{run_id}' (any more)", details={"run_id": run_id})


def _is_live(old: RunRow) -> RunIsLive:
    message = f"run {old.id} has not ended; cancel it first (POST /api/runs/{old.id}/cancel)"
    return RunIsLive(message, details={"run_id": old.id})


def _finally_steps(bundle: Bundle) -> set[str]:
    """Names of the finally steps of the flow and its sub-flows."""
    return {spec.finally_step for spec in flows_of(bundle) if spec.finally_step is not None}


def _handlers(bundle: Bundle) -> set[str]:
    """Names of the handlers that the flow and its sub-flows have."""
    return {name for spec in flows_of(bundle) for name, steps in spec.handlers.items() if steps}


def _before(spec: FlowSpec) -> dict[str, frozenset[str]] | None:
    """What comes before each step, where the steps run by what they need."""
    if not is_graph(spec.steps):
        return None
    return ancestors({step.name: step.needs or () for step in spec.steps})
