"""Steps of a run that failed without anybody knowing whether they took effect: no retry makes them again unasked.

Such an error says `outcome: unknown` in its details (a connection that broke in the middle of a commit, a mail, a
submission); or it is that of an element with a run of its own which had done a part, for that would be launched anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flow_processor.engine.outputs import to_send
from flow_processor.errors import InvalidRequest, RunInDoubt
from flow_processor.journal import Event, JournalRow
from flow_processor.run_state import RunState
from flow_processor.service.kept_rows import Kept
from flow_processor.service.resumes import ResumeMode, check_output, chosen_of


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person says of steps in doubt."""

    mode: ResumeMode
    """Make them again, go on without them, or take `value` as the result."""
    step: str | None = None
    """Path or name of the one that is meant; None: all of them. Others fail in the new run as they did in the old."""
    value: Any = None


def answer_of(mode: ResumeMode | None, step: str | None, value: Any, *, has_value: bool) -> Answer | None:
    """The answer as callers give it. Raises InvalidRequest."""
    if has_value != (mode is ResumeMode.VALUE):
        raise InvalidRequest("mode value and 'value' belong together: the one needs the other")
    if mode is None and step is not None:
        raise InvalidRequest("'step' needs 'mode': it names the step that is meant")
    return None if mode is None else Answer(mode, step, value)


Keep = Callable[[Sequence[JournalRow], Collection[int]], Kept]
"""What is kept of a journal, in which the failures with these seqs stay."""


def settled(
    run_id: str,
    journal: Sequence[JournalRow],
    answer: Answer | None,
    *,
    keep: Keep,
    handlers: Collection[str],
) -> Kept:
    """What is kept of the run, by what a person has said. Raises RunInDoubt where nobody has, and InvalidRequest."""
    kept = keep(journal, ())
    doubtful = _innermost(row for row in kept.left if _is_unclear(row))
    if answer is None:
        if doubtful:
            raise run_in_doubt(run_id, [row.path for row in doubtful])
        if kept.redone:
            raise _done_before(run_id, kept.redone)
        return kept
    if not doubtful:  # the flow went on behind them all the same
        doubtful = _innermost(row for row in journal if _is_unclear(row) and _top(row) not in handlers)
    chosen = chosen_of(doubtful, mode=answer.mode, step=answer.step)
    if answer.mode is ResumeMode.VALUE:
        check_output(chosen[0].path, chosen[0].data.get("output"), answer.value)
    kept = keep(_decided(journal, chosen, answer), [row.seq for row in doubtful if row not in chosen])
    if kept.redone and answer.mode is not ResumeMode.RERUN:
        raise _done_before(run_id, kept.redone)
    if answer.mode is ResumeMode.RERUN:
        return replace(kept, begun=[]) if answer.step is None else kept
    left = {row.seq for row in kept.left}
    lost = [row.path for row in chosen if row.seq in left]
    if lost:
        raise InvalidRequest(
            f"'from' begins before '{lost[0]}', so that is made again: leave 'from' or 'mode' out"
        )
    return kept


def check_not_interrupted(run_id: str, flow: str, state: RunState) -> None:
    """Raises RunInDoubt where a step was cut off by the death of its worker: the same run goes on."""
    doubtful = [record.path for record in state.in_doubt()]
    if doubtful:
        named = ", ".join(f"'{path}'" for path in doubtful)
        message = (
            f"run {run_id} is interrupted, in doubt: {named}; say what came of that, and the same run goes on: "
            f"octospool runs resume {run_id} --mode rerun|skip|value (POST /api/runs/{run_id}/resume). "
            f"To do everything anew launch {flow}"
        )
        raise RunInDoubt(message, details={"run_id": run_id, "steps": doubtful})


def run_in_doubt(run_id: str, paths: Sequence[str]) -> RunInDoubt:
    """The refusal of a retry that would make these steps again without a word."""
    named = ", ".join(f"'{path}'" for path in paths)
    message = (
        f"run {run_id} failed, in doubt: {named}; nobody knows whether that took effect. Look, then say so: "
        f"octospool runs retry {run_id} --mode rerun (again), skip (without it) or value (take --value as "
        f"its result) (POST /api/runs/{run_id}/retry)"
    )
    return RunInDoubt(message, details={"run_id": run_id, "steps": list(paths)})


def _done_before(run_id: str, paths: Sequence[str]) -> RunInDoubt:
    """The refusal of a retry that would do once more what was done."""
    named = ", ".join(f"'{path}'" for path in paths)
    message = (
        f"run {run_id} had done {named}, and a retry begins before that, so it does it again. If that is meant: "
        f"octospool runs retry {run_id} --mode rerun (POST /api/runs/{run_id}/retry)"
    )
    return RunInDoubt(message, details={"run_id": run_id, "steps": list(paths)})


def child_in_doubt(parent: str, run_id: str, error: dict[str, Any] | None) -> RunInDoubt:
    """The refusal of a retry of `parent` that would launch this element of it anew without a word."""
    what = (
        "nobody knows what came of it" if is_unclear_error(error, of_own_run=False) else "it had done a part"
    )
    why = (error or {}).get("message", "it is being ended")
    message = (
        f"run {run_id}, an element of run {parent}, failed, and {what}: {why}. A retry "
        f"launches it anew: octospool runs retry {parent} --mode rerun; or see to that element by itself"
    )
    return RunInDoubt(message, details={"run_id": run_id, "steps": []})


def is_unclear_error(error: dict[str, Any] | None, *, of_own_run: bool) -> bool:
    """May what failed so have taken effect? An element with a run of its own is launched anew, so a part counts too."""
    outcome = ((error or {}).get("details") or {}).get("outcome")
    return outcome == "unknown" or (of_own_run and outcome == "partial")


def _is_unclear(row: JournalRow) -> bool:
    error = row.data.get("error")
    if row.event is not Event.FAILED or error is None:
        return False
    return is_unclear_error(error, of_own_run="run_id" in error["details"])


def _innermost(rows: Iterable[JournalRow]) -> list[JournalRow]:
    """Those that have no other one inside: the error of a step is also that of the steps around it."""
    found = list(rows)
    return [row for row in found if not any(_is_inside(other, row) for other in found)]


def _is_inside(row: JournalRow, around: JournalRow) -> bool:
    return row.path.startswith((around.path + "/", around.path + "["))


def _top(row: JournalRow) -> str:
    return row.path.partition("/")[0].partition("#")[0]


def _decided(journal: Sequence[JournalRow], chosen: Sequence[JournalRow], answer: Answer) -> list[JournalRow]:
    """The journal as if it had come to what was said. Steps around those have failed, even if the flow went on."""
    seqs = {row.seq for row in chosen}
    rows = []
    for row in journal:
        if row.seq in seqs:
            rows.append(_said_of(row, answer))
        elif _is_unclear(row) and any(_is_inside(one, row) for one in chosen):
            rows.append(replace(row, data={**row.data, "then": "fail"}))
        else:
            rows.append(row)
    return rows


def _said_of(row: JournalRow, answer: Answer) -> JournalRow:
    if answer.mode is ResumeMode.RERUN:
        return replace(row, data={**row.data, "then": "fail"})
    data = {"started_at": row.data.get("started_at")}
    if answer.mode is ResumeMode.SKIP:
        return replace(row, event=Event.SKIPPED, data=data)
    if "key" in row.data:
        data["key"] = row.data["key"]
    data = {**to_send(row.data.get("output"), answer.value), **data, "result": answer.value}
    return replace(row, event=Event.SUCCEEDED, data=data)
