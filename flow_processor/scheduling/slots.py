"""Which slots of a schedule are due, and what becomes of those that were missed. No clock, no store: pure.

A tick looks at everything later than the last slot that was handled, up to now. The newest of these is the
present one; all before it were missed (the machine slept, the daemon was down, the clock was set forward):

| catchup | starts | is recorded as skipped |
|---|---|---|
| none | the newest, if it is at most ON_TIME_SECONDS ago | the others |
| latest | the newest | the others |
| all | the newest `catchup_max` | the others |

Skipped slots of one gap are told by one record with their count, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flow_processor.clock import to_text
from flow_processor.scheduling.moments import COUNT_LIMIT, SlotRule, first_slots
from flow_processor.spec.schedule import Catchup

ON_TIME_SECONDS = 30.0
"""With `catchup: none` a slot this long ago still starts: a quick restart is no downtime."""


@dataclass(frozen=True)
class Gap:
    """Missed slots that do not start."""

    last: datetime
    """The newest of them; the record of the gap is filed under it."""
    reason: str
    """For people: how many, from when to when, and why."""


@dataclass(frozen=True)
class DueSlots:
    """What a tick has to do for one schedule."""

    start: tuple[datetime, ...]
    """Slots to start, oldest first."""
    skipped: Gap | None
    """Slots before these that are only recorded."""


NOTHING_DUE = DueSlots((), None)


def due_slots(
    rule: SlotRule, *, after: datetime, until: datetime, catchup: Catchup, catchup_max: int
) -> DueSlots:
    """What to do about the slots in (after, until]; see the table above."""
    wanted = catchup_max if catchup is Catchup.ALL else 1
    newest = newest_slots(rule, after=after, until=until, number=wanted + 1)
    if not newest:
        return NOTHING_DUE
    start = newest[-wanted:]
    if catchup is Catchup.NONE and (until - start[0]).total_seconds() > ON_TIME_SECONDS:
        start = ()
    if len(newest) == len(start):
        return DueSlots(start, None)
    gap = _gap(rule, after=after, last=newest[-len(start) - 1], catchup=catchup)
    return DueSlots(start, gap)


def _gap(rule: SlotRule, *, after: datetime, last: datetime, catchup: Catchup) -> Gap:
    first = next(rule.slots_after(after))
    number = rule.count(after, last)
    how_many = f"more than {COUNT_LIMIT} slots" if number is None else f"{number} slots"
    if number == 1:
        return Gap(last, f"missed: nothing could start it in time (catchup: {catchup})")
    span = f"{how_many} from {to_text(first)} to {to_text(last)}"
    return Gap(last, f"missed: {span}, nothing could start them in time (catchup: {catchup})")


def newest_slots(rule: SlotRule, *, after: datetime, until: datetime, number: int) -> tuple[datetime, ...]:
    """The newest slots in (after, until], at most `number`, oldest first; quick for a gap of any length.

    Halves the stretch until what is left of it holds at least `number` slots, but fewer than twice as many.
    """
    begin, end = after, until
    found = first_slots(rule, begin, until, 2 * number)
    while len(found) == 2 * number:
        middle = begin + (end - begin) / 2
        later = first_slots(rule, middle, until, 2 * number)
        if len(later) < number:
            end = middle
        else:
            begin, found = middle, later
    return tuple(found[-number:])
