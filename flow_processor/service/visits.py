"""What a journal says of each visit of each step, with what happened inside it: what a retry looks at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from flow_processor.journal import Event, JournalRow

OUTCOMES = frozenset({Event.SUCCEEDED, Event.FAILED, Event.SKIPPED, Event.KILLED})
_ANEW = frozenset({"until_exhausted"})
"""Codes of failures after which what happened inside the step is of no use: going on from there fails again."""

_OUTER = re.compile(r"(?P<visit>[^\[]*)(\[attempt (?P<attempt>\d+)\])?(?P<item>\[[^\]]+\])?")
"""What stands before a `/` in a path: a visit of a step, which attempt of it, which block in it (item of a loop, round,
branch, case)."""


@dataclass(slots=True, eq=False)
class Visit:
    """One visit of one step, with all that happened inside it."""

    path: str
    began_at: float
    has_rows: bool = False
    """Else it is known from what happened inside it: a handler, or a step that nothing was written of."""
    last_attempt: int = 1
    outcomes: dict[int, JournalRow] = field(default_factory=dict)
    """The last outcome of each attempt."""
    once: dict[int, bool] = field(default_factory=dict)
    """Of each attempt that began: may it have touched the world?"""
    killed: set[int] = field(default_factory=set)
    """Attempts whose worker was killed at their time limit."""
    frames: dict[tuple[int, str], list[Visit]] = field(default_factory=dict)
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
    def was_cut_off(self) -> bool:
        """May it have done its work, though it never came to say so?"""
        last = self.last_attempt
        return self.once.get(last, False) and (last in self.killed or last not in self.outcomes)

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

    def last_outcomes(self) -> Iterator[JournalRow]:
        """The outcome of its last attempt, and of the last attempts of all that happened inside that."""
        if self.last_attempt in self.outcomes:
            yield self.outcomes[self.last_attempt]
        for (attempt, _item), visits in self.frames.items():
            for visit in visits if attempt == self.last_attempt else ():
                yield from visit.last_outcomes()


def visits_of(rows: Iterable[JournalRow]) -> list[Visit]:
    """Visits of steps of the flow itself, with those inside them."""
    top: list[Visit] = []
    known: dict[str, Visit] = {}
    for row in rows:
        if not row.path or row.event is Event.NOT_STARTED:
            continue
        visit = _visit_of(row.path, row, known, top)
        visit.has_rows = True
        visit.last_attempt = max(visit.last_attempt, row.attempt)
        visit.began_at = min(visit.began_at, row.data.get("started_at", row.at))
        if row.event is Event.STARTED:
            visit.once[row.attempt] = bool(row.data.get("once"))
        elif row.event is Event.KILLED:
            visit.killed.add(row.attempt)
        if row.event in OUTCOMES:
            visit.outcomes[row.attempt] = row
    return top


def _visit_of(path: str, row: JournalRow, known: dict[str, Visit], top: list[Visit]) -> Visit:
    """The visit with that path; made, with the visits around it, where `row` is the first to tell of it."""
    if (found := known.get(path)) is not None:
        return found
    made = known[path] = Visit(path, row.at)
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
