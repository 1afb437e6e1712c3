"""A person lets an interrupted run go on, and says what is to become of the steps that were in doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, TypeVar

from flow_processor.clock import Clock
from flow_processor.engine.local import LocalEngine
from flow_processor.engine.outputs import to_send
from flow_processor.errors import InvalidRequest, RunNotFound, RunNotInterrupted, StepError, StoreUnavailable
from flow_processor.journal import JournalRow, from_wire
from flow_processor.run import RunStatus
from flow_processor.run_state import StepRecord, fold
from flow_processor.service.cancels import RECORD_SECONDS
from flow_processor.service.launched_flows import LaunchedFlows
from flow_processor.service.launcher import Launcher, flow_is_running
from flow_processor.service.live_runs import LiveRuns
from flow_processor.service.run_guards import RunGuards
from flow_processor.service.turns import Turns
from flow_processor.store import Store
from flow_processor.store.daemon_rows import reopen_run
from flow_processor.store.runs import RunRow

Placed = TypeVar("Placed", StepRecord, JournalRow)
"""What has the path of a step."""


class ResumeMode(StrEnum):
    """What is to become of a step of which nobody knows whether it took effect."""

    RERUN = "rerun"
    SKIP = "skip"
    VALUE = "value"


class Resumes:
    """Lets interrupted runs go on. Thread safe."""

    def __init__(
        self,
        store: Store,
        flows: LaunchedFlows,
        engine: LocalEngine,
        *,
        launcher: Launcher,
        turns: Turns,
        live: LiveRuns,
        clock: Clock,
    ) -> None:
        self._store = store
        self._flows = flows
        self._engine = engine
        self._launcher = launcher
        self._turns = turns
        self._live = live
        self._clock = clock
        self._guards = RunGuards()
        """Of two resumes of one run the second must not take the first one's lock for its own."""

    def resume(self, run_id: str, *, mode: ResumeMode | None, step: str | None, value: Any, by: str) -> None:
        """The run is queued again when this returns, and that is durable.

        Raises RunNotFound, RunNotInterrupted, InvalidRequest, FlowLost, FlowRunning, ShuttingDown, StoreUnavailable.
        """
        self._launcher.check_open()
        with self._guards.of(run_id):
            self._resume(run_id, mode=mode, step=step, value=value, by=by)

    def _resume(self, run_id: str, *, mode: ResumeMode | None, step: str | None, value: Any, by: str) -> None:
        found = self._store.runs.with_journal(run_id)
        if found is None:
            raise RunNotFound(f"there is no run '{run_id}' (any more)", details={"run_id": run_id})
        run, wires = found
        if run.status is not RunStatus.INTERRUPTED:
            raise _not_interrupted(run_id, run.status)
        bundle = self._flows.bundle(run.flow, run.flow_hash)
        doubtful = fold(from_wire(wire) for wire in wires).in_doubt()
        chosen = chosen_of(doubtful, mode=mode, step=step)
        if mode is ResumeMode.VALUE:
            check_output(chosen[0].path, chosen[0].output, value)
        if not self._live.is_freed(run_id, RECORD_SECONDS):
            raise StoreUnavailable(f"run {run_id} has only just ended; try again in a moment")
        self._turns.set_rule(run.flow, bundle.spec.concurrency)
        holder = self._turns.take(run.flow, run.id)
        if holder is not None:
            raise flow_is_running(run.flow, holder)
        is_reopened = False
        try:
            is_reopened = self._reopen(run, chosen, mode=mode, value=value, by=by)
        finally:
            if not is_reopened:
                self._turns.give_back(run)
        if not is_reopened:
            raise _not_interrupted(run_id, None)
        # Made, not read: nothing may fail between the commit and the engine.
        queued = replace(run, status=RunStatus.QUEUED, ended_at=None, error=None)
        self._live.add(queued)
        self._engine.submit(queued)

    def _reopen(
        self, run: RunRow, chosen: Sequence[StepRecord], *, mode: ResumeMode | None, value: Any, by: str
    ) -> bool:
        at = self._clock.now().timestamp()
        steps = [(record.path, record.attempt) for record in chosen]
        how = None if mode is None else mode.value
        return self._store.writer.run(
            lambda connection: reopen_run(
                connection, run.id, by=by, steps=steps, mode=how, value=value, at=at
            )
        )


def chosen_of(doubtful: Sequence[Placed], *, mode: ResumeMode | None, step: str | None) -> list[Placed]:
    """Those of the doubtful steps that the mode is for. Raises InvalidRequest."""
    named = ", ".join(f"'{record.path}'" for record in doubtful)
    if mode is None and doubtful:
        message = (
            f"in doubt: {named}; it is not known whether that took effect. Look at what it was to do, then say "
            "mode: rerun (do it again), skip (leave it out) or value (take 'value' as its result)"
        )
        raise InvalidRequest(message, details={"steps": [record.path for record in doubtful]})
    if step is None:
        chosen = list(doubtful)
    else:
        chosen = [record for record in doubtful if record.path == step]
        chosen = chosen or [record for record in doubtful if step_name(record.path) == step]
        if not chosen:
            raise InvalidRequest(f"step '{step}' is not in doubt; in doubt: {named or 'none'}")
    if mode in (ResumeMode.SKIP, ResumeMode.VALUE) and not chosen:
        raise InvalidRequest(f"no step is in doubt, so there is none to {mode.value}; leave 'mode' out")
    if mode is ResumeMode.VALUE and len(chosen) > 1:
        raise InvalidRequest(f"mode value is for one step: say 'step', one of {named}")
    return chosen


def check_output(path: str, output: Mapping[str, Any] | None, value: Any) -> None:
    """Raises InvalidRequest for a result that a step could not send where its `output` says."""
    try:
        to_send(output, value)
    except StepError as error:
        raise InvalidRequest(f"'value' cannot be the result of '{path}': {error.message}") from error


def step_name(path: str) -> str:
    """The name of the step that a path visits: `tickets[7]/render#2` → `render`."""
    return path.rpartition("/")[2].partition("#")[0]


def _not_interrupted(run_id: str, status: RunStatus | None) -> RunNotInterrupted:
    """`status`: as it is now; None: no longer interrupted."""
    state = "not interrupted any more" if status is None else status.value
    hint = ""
    if status in (RunStatus.FAILED, RunStatus.CANCELLED):
        hint = f"; to run again what is left of it: POST /api/runs/{run_id}/retry (octospool runs retry)"
    message = f"run {run_id} is {state}, and only an interrupted run can be resumed{hint}"
    return RunNotInterrupted(message, details={"run_id": run_id, "status": state})
