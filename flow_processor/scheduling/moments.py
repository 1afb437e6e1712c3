"""The moments of a schedule: what yields its slots. No clock, no store: pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from typing import Protocol
from zoneinfo import ZoneInfo

from flow_processor.spec.cron import CronRule
from flow_processor.spec.moments import moment_of
from flow_processor.spec.schedule import ScheduleSpec

COUNT_LIMIT = 300
"""Missed slots of a cron rule are counted up to here (some 2 ms: after a long downtime all schedules have some); more
are told as 'more than 300'."""

_cron_rule = lru_cache(maxsize=4096)(CronRule.parse)
"""Kept, because of 10,000 schedules most share their text with others, and a start reads all of them."""


@lru_cache(maxsize=8192)
def _next_slot(rule: CronRule, zone: ZoneInfo, minute: datetime) -> datetime | None:
    """Kept, because schedules of the same rule mostly ask for the same one, at a start and after each slot."""
    return rule.next_after(minute, zone)


_LEAST = timedelta(microseconds=1)
_NEVER = datetime.max.replace(tzinfo=UTC)


class SlotRule(Protocol):
    """What yields the moments of a schedule."""

    def slots_after(self, moment: datetime) -> Iterator[datetime]:
        """All slots later than `moment`, in UTC, in order."""

    def count(self, after: datetime, until: datetime) -> int | None:
        """How many slots lie in (after, until]; None if they are more than anybody wants to count."""


@dataclass(frozen=True)
class CronSlots:
    """Slots of a cron rule, read in a time zone."""

    rule: CronRule
    zone: ZoneInfo

    def slots_after(self, moment: datetime) -> Iterator[datetime]:
        """All slots later than `moment`, in UTC, in order."""
        first = _next_slot(self.rule, self.zone, moment.replace(second=0, microsecond=0))
        if first is not None and first <= moment:  # a rule with seconds
            first = self.rule.next_after(moment, self.zone)
        if first is not None:
            yield first
            yield from self.rule.slots_after(first, self.zone)

    def count(self, after: datetime, until: datetime) -> int | None:
        """How many slots lie in (after, until]; None for more than COUNT_LIMIT."""
        number = len(first_slots(self, after, until, COUNT_LIMIT + 1))
        return number if number <= COUNT_LIMIT else None


@dataclass(frozen=True)
class IntervalSlots:
    """Slots at the anchor plus every multiple of the interval; the anchor itself is none.

    In whole microseconds: they never drift, and are the same ones after a restart.
    """

    step: timedelta
    anchor: datetime

    def slots_after(self, moment: datetime) -> Iterator[datetime]:
        """All slots later than `moment`, in UTC, in order, up to the year 9999."""
        begin = self.anchor.astimezone(UTC)
        number = max((moment - begin) // self.step + 1, 1)
        try:
            while True:
                yield begin + self.step * number
                number += 1
        except OverflowError:
            return

    def count(self, after: datetime, until: datetime) -> int | None:
        """How many slots lie in (after, until]; always exact."""
        before = max((after - self.anchor) // self.step, 0)
        return max((until - self.anchor) // self.step - before, 0)


@dataclass(frozen=True)
class OneSlot:
    """One slot and no other."""

    at: datetime

    def slots_after(self, moment: datetime) -> Iterator[datetime]:
        """The slot, if it is later than `moment`."""
        return iter((self.at,) if self.at > moment else ())

    def count(self, after: datetime, until: datetime) -> int | None:
        """1 if the slot lies in (after, until], else 0."""
        return int(after < self.at <= until)


@dataclass(frozen=True)
class BoundedSlots:
    """Those slots of a rule that lie in [begin, end]."""

    rule: SlotRule
    begin: datetime | None
    end: datetime

    def slots_after(self, moment: datetime) -> Iterator[datetime]:
        """All slots later than `moment`, in UTC, in order."""
        return takewhile(lambda slot: slot <= self.end, self.rule.slots_after(self._after(moment)))

    def count(self, after: datetime, until: datetime) -> int | None:
        """How many slots lie in (after, until]; None if the rule cannot say."""
        after, until = self._after(after), min(until, self.end)
        return self.rule.count(after, until) if after < until else 0

    def _after(self, moment: datetime) -> datetime:
        return moment if self.begin is None else max(moment, self.begin - _LEAST)


def rule_of_spec(spec: ScheduleSpec, *, anchor: datetime) -> SlotRule:
    """The rule a spec stands for; without a zone cron and moments are read in UTC. What says no begin of its own is
    counted from `anchor`.

    Raises ValueError for a cron text that is wrong, and for moments that do not exist or are out of order.
    """
    zone = ZoneInfo(spec.timezone or "UTC")
    spec.check_order(zone)
    begin = None if spec.starts_at is None else moment_of(spec.starts_at, zone)
    end = None if spec.ends_at is None else moment_of(spec.ends_at, zone)
    rule: SlotRule
    if spec.at is not None:
        rule = OneSlot(moment_of(spec.at, zone))
    elif spec.repeat_count is not None:
        return _counted(spec, begin or next_full_second(anchor), end or _NEVER)
    elif spec.every_seconds is not None:
        step = timedelta(seconds=spec.every_seconds)
        rule = IntervalSlots(step, anchor if begin is None else begin - step)
    else:
        rule = CronSlots(_cron_rule(spec.cron or ""), zone)
    return rule if begin is None and end is None else BoundedSlots(rule, begin, end or _NEVER)


def _counted(spec: ScheduleSpec, begin: datetime, end: datetime) -> SlotRule:
    if spec.interval is None or not spec.repeat_count:
        return BoundedSlots(OneSlot(begin), None, end)
    step = timedelta(seconds=spec.interval)
    try:
        last = begin + step * spec.repeat_count
    except OverflowError:
        last = _NEVER
    return BoundedSlots(IntervalSlots(step, begin - step), begin, min(last, end))


def next_full_second(moment: datetime) -> datetime:
    """The first full second later than `moment`: where a counted rule begins that names no begin."""
    return moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)


def first_slots(rule: SlotRule, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """The first slots in (after, until], at most `limit`."""
    return list(islice(takewhile(lambda slot: slot <= until, rule.slots_after(after)), limit))
