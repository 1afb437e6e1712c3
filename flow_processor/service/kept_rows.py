"""What a run that tries another one again keeps of that one's journal.

In each flow of the old run (the flow itself, sub-flows, each item of a loop) the steps before the first one that is
not done stay done. That one is gone into: what was done inside it stays done likewise. All else is run again. Where
steps run by what they need, those beside one that is not done stay done too. Handlers are run again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flow_processor.errors import InvalidRequest
from flow_processor.journal import Event, JournalRow

_OUTCOMES = frozenset({Event.SUCCEEDED, Event.FAILED, Event.SKIPPED, Event.KILLED})
_ANEW = frozenset({"until_exhausted"})
"""Codes of failures after which what happened inside the step is of no use: going on from there fails again."""

Before = Mapping[str, Collection[str]]
"""For each step of a flow those that must have ended before it begins."""

_OUTER = re.compile(r"(?P<visit>[^\[]*)(\[attempt (?P<attempt>\d+)\])?(?P<item>\[[^\]]+\])?")
"""What stands before a `/` in a path: a visit of a step, which attempt of it, which block in it (item of a loop, round,
branch, case)."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The journal with which the new run begins."""

    rows: list[JournalRow]
    """Outcomes of steps, numbered from 1."""
    restart: str | None
    """The visit of a step of the flow at which the new run goes on; None: nothing was left undone."""


@dataclass(slots=True, eq=False)
class _Visit:
    """One visit of one step, with all that happened inside it."""

    path: str
    began_at: float
    has_rows: bool = False
    """Else it is known from what happened inside it: a handler, or a step that nothing was written of."""
    last_attempt: int = 1
    outcomes: dict[int, JournalRow] = field(default_factory=dict)
    """The last outcome of each attempt."""
    frames: dict[tuple[int, str], list[_Visit]] = field(default_factory=dict)
    """Visits inside it, by attempt and block (`[3]`; '' where there are none), in the order in which they began."""

    @property
    def name(self) -> str:
        """The step's name."""
        return self.path.rpartition("/")[2].partition("#")[0]

    @property
    def is_done(self) -> bool:
        """Has the flow gone on after it?"""
        outcome = self.outcomes.get(self.last_attempt)
        if outcome is None:
            return False
        went_on = outcome.data.get("then") in ("ignore", "goto")
        return outcome.event in (Event.SUCCEEDED, Event.SKIPPED) or (
            outcome.event is Event.FAILED and went_on
        )

    @property
    def begins_anew(self) -> bool:
        """Did it fail in a way that makes what happened inside it useless?"""
        outcome = self.outcomes.get(self.last_attempt)
        error = (outcome.data.get("error") if outcome else None) or {}
        # With `step` the error is that of a step inside.
        return error.get("code") in _ANEW and "step" not in error["details"]

    @property
    def has_failed_items(self) -> bool:
        """Did elements of a loop in it fail, though the loop went on?"""
        outcome = self.outcomes.get(self.last_attempt)
        # With `run_id` they were runs of their own.
        if outcome is not None and any("run_id" in error for error in outcome.data.get("errors", ())):
            return True
        return any(
            (bool(item) and any(not visit.is_done for visit in inner))
            or any(visit.has_failed_items for visit in inner)
            for (attempt, item), inner in self.frames.items()
            if attempt == self.last_attempt
        )

    def all_outcomes(self) -> Iterator[JournalRow]:
        """Its outcomes, and those of all that happened inside it."""
        yield from self.outcomes.values()
        for visits in self.frames.values():
            for visit in visits:
                yield from visit.all_outcomes()


@dataclass(frozen=True, slots=True)
class _Rules:
    """What holds in each flow of the run."""

    is_closing: Callable[[_Visit], bool]
    """Did it only run because the run was stopped or had ended?"""
    finally_steps: Collection[str]
    failed_items: bool

    def is_kept(self, visit: _Visit) -> bool:
        """Does it stay done as it is?"""
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
) -> Kept:
    """What is kept of a journal.

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

    def is_closing(visit: _Visit) -> bool:
        if visit.name in handlers and not visit.has_rows:
            return True
        return visit.name in finally_steps and stopped_at is not None and visit.began_at >= stopped_at

    rules = _Rules(is_closing, finally_steps, failed_items)
    visits = [visit for visit in _visits(ordered) if not is_closing(visit)]
    restart: _Visit | None
    if from_step is not None and from_step in order and all(visit.name != from_step for visit in visits):
        restart, begun = None, visits
        _check_done(from_step, visits, before, order)
    elif from_step is not None:
        restart = _last_visit(visits, from_step)
        begun = _done_before(restart, visits, before)
    else:
        restart = _first_undone(visits, failed_items=failed_items)
        begun = visits if restart is None or before is not None else visits[: visits.index(restart) + 1]
    if known_steps is not None:
        begun = [visit for visit in begun if visit.name in known_steps]
    kept = sorted(_keep(begun, "", "", rules, before), key=lambda row: row.seq)
    return Kept([_bare(row, number) for number, row in enumerate(kept, 1)], restart.path if restart else None)


def _done_before(restart: _Visit, visits: list[_Visit], before: Before | None) -> list[_Visit]:
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


def _check_done(name: str, visits: list[_Visit], before: Before | None, order: Sequence[str]) -> None:
    """Raises InvalidRequest unless all is done that stands before a step which was never reached."""
    done = {visit.name for visit in visits if visit.is_done}
    needed = order[: order.index(name)] if before is None else [one for one in order if one in before[name]]
    undone = next((one for one in needed if one not in done), None)
    if undone is not None:
        message = f"step '{undone}' is not done, and '{name}' comes after it"
        raise InvalidRequest(f"{message}; begin at '{undone}' or before it")


def _visits(rows: Iterable[JournalRow]) -> list[_Visit]:
    """Visits of steps of the flow itself, with those inside them."""
    top: list[_Visit] = []
    known: dict[str, _Visit] = {}
    for row in rows:
        if not row.path or row.event is Event.NOT_STARTED:
            continue
        visit = _visit_of(row.path, row, known, top)
        visit.has_rows = True
        visit.last_attempt = max(visit.last_attempt, row.attempt)
        visit.began_at = min(visit.began_at, row.data.get("started_at", row.at))
        if row.event in _OUTCOMES:
            visit.outcomes[row.attempt] = row
    return top


def _visit_of(path: str, row: JournalRow, known: dict[str, _Visit], top: list[_Visit]) -> _Visit:
    """The visit with that path; made, with the visits around it, where `row` is the first to tell of it."""
    if (found := known.get(path)) is not None:
        return found
    made = known[path] = _Visit(path, row.at)
    outer, slash, _name = path.rpartition("/")
    if not slash:
        top.append(made)
        return made
    around, inner_slash, last = outer.rpartition("/")
    parts = _OUTER.fullmatch(last)
    if parts is None:
        raise ValueError(f"{path!r} is no path of a step")
    attempt = int(parts["attempt"] or 1)
    parent = _visit_of(f"{around}{inner_slash}{parts['visit']}", row, known, top)
    parent.last_attempt = max(parent.last_attempt, attempt)
    parent.frames.setdefault((attempt, parts["item"] or ""), []).append(made)
    return made


def _stopped_at(rows: Iterable[JournalRow]) -> float | None:
    """When a cancel, the time limit, or the end asked for stopped the run; what began then is a finally_step."""
    moment: float | None = None
    until: str | None = None
    cut_at: float | None = None
    for row in rows:
        if row.event is Event.BOUNDED:
            until = row.data["until"]
        elif row.event in _OUTCOMES and row.path.partition("#")[0] == until:
            cut_at = row.at
        if row.event in (Event.CANCEL_REQUESTED, Event.FLOW_TIMED_OUT) and moment is None:
            moment = row.at
        elif row.event is Event.RESUMED:
            moment = None
    return cut_at if moment is None else moment


def _first_undone(visits: list[_Visit], *, failed_items: bool = False) -> _Visit | None:
    undone = next((visit for visit in visits if not visit.is_done), None)
    if undone is None and failed_items:
        return next((visit for visit in visits if visit.has_failed_items), None)
    return undone


def _last_visit(visits: list[_Visit], name: str) -> _Visit:
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
    visits: list[_Visit], old: str, new: str, rules: _Rules, before: Before | None
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
