"""What a run that tries another one again keeps of that one's journal.

In each flow of the old run (the flow itself, sub-flows, each item of a loop) the steps before the first one that is
not done stay done. That one is gone into: what was done inside it stays done likewise. All else is run again. Where
steps run by what they need, those beside one that is not done stay done too. Handlers are run again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flow_processor.errors import InvalidRequest
from flow_processor.journal import Event, JournalRow
from flow_processor.run_state import fold
from flow_processor.service.visits import OUTCOMES, Visit, visits_of

Before = Mapping[str, Collection[str]]
"""For each step of a flow those that must have ended before it begins."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The journal with which the new run begins."""

    rows: list[JournalRow]
    """Outcomes of steps, numbered from 1."""
    restart: str | None
    """The visit of a step of the flow at which the new run goes on; None: nothing was left undone."""
    begun: list[str] = field(default_factory=list)
    """Paths in the new run of steps that it makes again, though the old one was cut off in the middle of them."""
    left: list[JournalRow] = field(default_factory=list)
    """Outcomes of last attempts that the new run does not have: it may come to these steps again."""
    redone: list[str] = field(default_factory=list)
    """Paths of those among them that have changed something, though nobody has said where to begin."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """What holds in each flow of the run."""

    is_closing: Callable[[Visit], bool]
    """Did it only run because the run was stopped or had ended?"""
    finally_steps: Collection[str]
    failed_items: bool
    stays: Collection[int]
    """seqs of failures that stay as they are."""
    begun: list[str] = field(default_factory=list)
    """See `Kept`; filled on the way."""

    def is_kept(self, visit: Visit) -> bool:
        """Does it stay as it is?"""
        outcome = visit.outcomes.get(visit.last_attempt)
        if outcome is not None and outcome.seq in self.stays:
            return True
        return visit.is_done and not (self.failed_items and visit.has_failed_items)


def kept_rows(
    rows: Iterable[JournalRow],
    *,
    from_step: str | None = None,
    finally_steps: Collection[str] = (),
    handlers: Collection[str] = (),
    before: Before | None = None,
    known_steps: Collection[str] | None = None,
    order: Sequence[str] = (),
    failed_items: bool = False,
    stays: Collection[int] = (),
) -> Kept:
    """What is kept of a journal.

    `stays` are seqs of failures that the new run has too: it fails there as the old one did.
    With `failed_items` loops that went on after failed elements are not done: those elements are run again.
    With `from_step` the flow goes on at the last visit of that step, and nothing inside it is kept. Steps named in
    `finally_steps` are run again if they were only run because the run was stopped or had failed. `handlers` are the
    names of the handlers in the run's flows. With `before` the steps of the flow run by what they need. Of steps that
    are not among `known_steps` (None: all) nothing is kept. With `order`, the names of the flow's steps as it is now,
    `from_step` may also be one that was never reached, if what stands before it is done.

    Raises InvalidRequest if `from_step` was never reached, or stands behind a step that is not done.
    """
    ordered = sorted(rows, key=lambda row: row.seq)
    stopped_at = _stopped_at(ordered)

    def is_closing(visit: Visit) -> bool:
        if visit.name in handlers and not visit.has_rows:
            return True
        return visit.name in finally_steps and stopped_at is not None and visit.began_at >= stopped_at

    rules = _Rules(is_closing, finally_steps, failed_items, stays)
    visits = [visit for visit in visits_of(ordered) if not is_closing(visit)]
    if from_step is None:
        restart = _first_undone(visits, failed_items=failed_items)
        begun = visits if restart is None or before is not None else visits[: visits.index(restart) + 1]
    else:
        restart, begun = _from(from_step, visits, before, order)
    if known_steps is not None:
        begun = [visit for visit in begun if visit.name in known_steps]
    if from_step is not None:
        rules.begun.extend(_cut_off([visit for visit in visits if visit not in begun], "", ""))
    kept = sorted(_keep(begun, "", "", rules, before), key=lambda row: row.seq)
    left = _left(visits, {row.seq for row in kept}, known_steps)
    return Kept(
        rows=[_bare(row, number) for number, row in enumerate(kept, 1)],
        restart=restart.path if restart else None,
        begun=rules.begun,
        left=left,
        redone=[row.path for row in left if row.data.get("final")] if from_step is None else [],
    )


def _from(
    name: str, visits: list[Visit], before: Before | None, order: Sequence[str]
) -> tuple[Visit | None, list[Visit]]:
    """The visit at which the run goes on if it begins at step `name`, and those that it need not make again."""
    if name in order and all(visit.name != name for visit in visits):
        _check_done(name, visits, before, order)
        return None, visits
    restart = _last_visit(visits, name)
    return restart, _done_before(restart, visits, before)


def _cut_off(visits: Iterable[Visit], old: str, new: str) -> Iterator[str]:
    """Paths in the new run of those that were cut off, though nothing of them is kept; `old` and `new`: see `_keep`."""
    for visit in visits:
        below = new + visit.path.removeprefix(old)
        if visit.was_cut_off:
            yield below
        number = visit.last_attempt
        below_old = visit.path if number == 1 else f"{visit.path}[attempt {number}]"
        for (attempt, item), inner in visit.frames.items():
            if attempt == number:
                yield from _cut_off(inner, f"{below_old}{item}/", f"{below}{item}/")


def _left(
    visits: Iterable[Visit], kept: Collection[int], known_steps: Collection[str] | None
) -> list[JournalRow]:
    mine = [visit for visit in visits if known_steps is None or visit.name in known_steps]
    return [row for visit in mine for row in visit.last_outcomes() if row.seq not in kept]


def _done_before(restart: Visit, visits: list[Visit], before: Before | None) -> list[Visit]:
    """What need not be run again if the flow goes on at `restart`. Raises InvalidRequest if it cannot."""
    if before is None:
        begun = earlier = visits[: visits.index(restart)]
    else:
        name = restart.name
        begun = [visit for visit in visits if visit.name != name and name not in before.get(visit.name, ())]
        earlier = [visit for visit in begun if visit.name in before.get(name, ())]
    if (undone := _first_undone(earlier)) is not None:
        message = f"step '{undone.name}' is not done, and '{restart.name}' came after it"
        raise InvalidRequest(f"{message}; begin at '{undone.name}' or before it")
    return begun


def _check_done(name: str, visits: list[Visit], before: Before | None, order: Sequence[str]) -> None:
    """Raises InvalidRequest unless all is done that stands before a step which was never reached."""
    done = {visit.name for visit in visits if visit.is_done}
    needed = order[: order.index(name)] if before is None else [one for one in order if one in before[name]]
    undone = next((one for one in needed if one not in done), None)
    if undone is not None:
        message = f"step '{undone}' is not done, and '{name}' comes after it"
        raise InvalidRequest(f"{message}; begin at '{undone}' or before it")


def _stopped_at(rows: Sequence[JournalRow]) -> float | None:
    """When a cancel, the time limit, or the end asked for stopped the run; what began then is a finally_step."""
    until: str | None = None
    cut_at: float | None = None
    for row in rows:
        if row.event is Event.BOUNDED:
            until = row.data["until"]
        elif row.event in OUTCOMES and row.path.partition("#")[0] == until:
            cut_at = row.at
    stopped_at = fold(rows).stopped_at
    return cut_at if stopped_at is None else stopped_at


def _first_undone(visits: list[Visit], *, failed_items: bool = False) -> Visit | None:
    undone = next((visit for visit in visits if not visit.is_done), None)
    if undone is None and failed_items:
        return next((visit for visit in visits if visit.has_failed_items), None)
    return undone


def _last_visit(visits: list[Visit], name: str) -> Visit:
    found = next((visit for visit in reversed(visits) if visit.name == name), None)
    if found is None:
        if any(mark in name for mark in "/[#"):
            message = (
                f"'{name}' is no step of the flow itself; what succeeded inside such a step is kept anyway"
            )
            raise InvalidRequest(
                f"{message}. Say the step's name alone: {name.partition('/')[0].partition('[')[0]}"
            )
        reached = ", ".join(dict.fromkeys(visit.name for visit in visits)) or "none"
        raise InvalidRequest(f"the run never came to a step '{name}'; steps that it came to: {reached}")
    return found


def _keep(
    visits: list[Visit], old: str, new: str, rules: _Rules, before: Before | None
) -> Iterator[JournalRow]:
    """Rows of one flow's visits; their paths begin with `old`, and with `new` in the new run."""
    redone: set[str] = set()
    for visit in visits:
        if rules.is_closing(visit) or (
            before is not None and not redone.isdisjoint(before.get(visit.name, ()))
        ):
            continue
        if rules.is_kept(visit):
            # Behind a step that is not done a finally step ran for that reason; others ran beside it.
            if not redone or visit.name not in rules.finally_steps:
                for row in visit.all_outcomes():
                    yield replace(row, path=new + row.path.removeprefix(old))
            continue
        redone.add(visit.name)
        if visit.was_cut_off:
            rules.begun.append(new + visit.path.removeprefix(old))
        # Each attempt of a step begins anew inside; the new run's first one goes on with the last one's work.
        number = visit.last_attempt
        below_old = visit.path if number == 1 else f"{visit.path}[attempt {number}]"
        below_new = new + visit.path.removeprefix(old)
        for (attempt, item), inner in visit.frames.items():
            if attempt == number and not visit.begins_anew:
                yield from _keep(inner, f"{below_old}{item}/", f"{below_new}{item}/", rules, None)
        if visit.is_done and before is None:
            return  # elements of it failed: what came behind it has seen the result without them


def _bare(row: JournalRow, seq: int) -> JournalRow:
    """The row in the new run, which has none of the old one's signals."""
    return replace(row, seq=seq, data={key: value for key, value in row.data.items() if key != "signal"})
