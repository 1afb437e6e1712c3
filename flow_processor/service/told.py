"""Telling a run something from outside: signals, and answers to what an approval asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flow_processor.engine.local import LocalEngine
from flow_processor.errors import (
    AlreadyAnswered,
    InvalidRequest,
    NotWaiting,
    Problem,
    RunHasEnded,
    RunNotFound,
)
from flow_processor.flow_files import Bundle
from flow_processor.journal import from_wire
from flow_processor.run_state import RunState, StepRecord, fold
from flow_processor.service.cancels import wait_until_recorded
from flow_processor.service.launched_flows import LaunchedFlows, steps_of
from flow_processor.service.resumes import step_name
from flow_processor.service.run_guards import RunGuards
from flow_processor.spec.params import ParamSpec, read_values
from flow_processor.store import Store
from flow_processor.wait import Wait, WaitKind


class Told:
    """Sends signals and answers to runs. Thread safe."""

    def __init__(self, store: Store, flows: LaunchedFlows, engine: LocalEngine) -> None:
        self._store = store
        self._flows = flows
        self._engine = engine
        self._guards = RunGuards()
        """Of two answers at once the second must find the first."""

    def tell(self, run_id: str, *, name: str, data: Any, by: str) -> None:
        """Send a signal, or an answer if `name` is an approval; durable when this returns.

        Raises RunNotFound, RunHasEnded, NotWaiting, AlreadyAnswered, InvalidRequest (all that is wrong with an
        answer), StoreUnavailable.
        """
        with self._guards.of(run_id):
            found = self._store.runs.with_journal(run_id)
            if found is None:
                raise RunNotFound(f"there is no run '{run_id}' (any more)", details={"run_id": run_id})
            run, wires = found
            if run.status.is_terminal:
                raise _has_ended(run_id)
            state = fold(from_wire(wire) for wire in wires)
            signal, content = name, data
            if not _awaits_signal(state, name):
                approval = _open_approval(state, name)
                if approval is not None:
                    signal, content = approval.path, _answer(approval, data)
                elif step_name(name) in _approvals(self._flows.bundle(run.flow, run.flow_hash)):
                    raise _not_open(state, name)
            recorded = self._engine.signal(run_id, name=signal, data=content, by=by)
            if wait_until_recorded(recorded, run_id, "will get the signal") is None:
                raise _has_ended(run_id)


def open_waits(state: RunState) -> list[StepRecord]:
    """Attempts that wait for something, in the order in which they began."""
    return [record for record in state.under_way() if record.waiting is not None]


def _approvals_in(records: Sequence[StepRecord]) -> list[StepRecord]:
    return [record for record in records if (record.waiting or {}).get("kind") == WaitKind.APPROVAL]


def _awaits_signal(state: RunState, name: str) -> bool:
    """Does a step wait for just this signal? An approval's wait has one too, which its answer becomes."""
    waits = [record.waiting or {} for record in open_waits(state)]
    return any(wait.get("kind") == WaitKind.SIGNAL and wait.get("signal") == name for wait in waits)


def _open_approval(state: RunState, name: str) -> StepRecord | None:
    """The approval that `name` means: its path, or its step's name if only one such is open."""
    asked = _approvals_in(open_waits(state))
    found = [record for record in asked if record.path == name]
    found = found or [record for record in asked if step_name(record.path) == name]
    if len(found) > 1:
        paths = ", ".join(f"'{record.path}'" for record in found)
        raise InvalidRequest(f"several steps '{name}' wait for an answer; name one: {paths}")
    if not found:
        return None
    if any(signal.name == found[0].path for signal in state.open_signals()):
        raise _already_answered(state, found[0].path)
    return found[0]


def _approvals(bundle: Bundle) -> set[str]:
    """Names of the approvals in the flow and its sub-flows."""
    return {
        step.name
        for step in steps_of(bundle)
        if step.type == "wait" and getattr(step.options, "approval", None) is not None
    }


def _answer(approval: StepRecord, data: Any) -> dict[str, Any]:
    """The answer as the step takes it: `{"answer", "form"}`. Raises InvalidRequest with all that is wrong."""
    wait = Wait.from_record(approval.waiting or {})
    given = data if isinstance(data, dict) else {"answer": data}
    problems = [
        Problem("unknown_key", "data", None, None, key[:100], "is not known here", "its keys: answer, form")
        for key in given
        if key not in ("answer", "form")
    ]
    answer = given.get("answer")
    if answer not in wait.answers:
        said = "is missing" if answer is None else "is no answer to this question"
        hint = f"one of {', '.join(wait.answers)}"
        problems.append(Problem("invalid_value", "data", None, None, "answer", said, hint))
    form = given.get("form") or {}
    values: dict[str, Any] = {}
    if isinstance(form, dict):
        specs = {name: ParamSpec.model_validate(spec) for name, spec in wait.form.items()}
        values, wrong = read_values(specs, form, where="form")
        problems += wrong
    else:
        problems.append(Problem("invalid_value", "data", None, None, "form", "must be an object"))
    if problems:
        message = "; ".join(str(problem) for problem in problems)
        raise InvalidRequest(message, details={"problems": [asdict(problem) for problem in problems]})
    return {"answer": answer, "form": values}


def _not_open(state: RunState, name: str) -> AlreadyAnswered | NotWaiting:
    answered = [
        record
        for record in _approvals_in(state.steps)
        if name in (record.path, step_name(record.path)) and record.signal is not None
    ]
    if answered:
        return _already_answered(state, answered[-1].path)
    asked = ", ".join(f"'{record.path}'" for record in _approvals_in(open_waits(state)))
    waits = f"it waits for an answer to {asked}" if asked else "it waits for no answer now"
    return NotWaiting(f"the run does not wait for an answer to '{name}'; {waits}")


def _already_answered(state: RunState, path: str) -> AlreadyAnswered:
    signal = next(signal for signal in state.signals if signal.name == path)
    answer = signal.data.get("answer") if isinstance(signal.data, dict) else signal.data
    message = f"'{path}' has been answered by {signal.by}: {answer}; an answer cannot be changed"
    return AlreadyAnswered(message, details={"path": path, "by": signal.by, "answer": answer})


def _has_ended(run_id: str) -> RunHasEnded:
    return RunHasEnded(f"run {run_id} has ended, so no signal reaches it", details={"run_id": run_id})
