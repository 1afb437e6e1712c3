"""Cron rules: which moments a `cron` text stands for, in a time zone, on days when clocks change too.

cronsim reads the text and walks the calendar, in local time without a zone. What a change of clocks means is
decided here, by the rule of Debian's cron(8): an entry whose minute or hour begins with a star follows real
time (`*/30 * * * *` fires every half hour, also in the hour that comes twice); any other is a fixed time
and fires once (a skipped time: at the first moment after the change; a time that comes twice: at its first).
cronsim's own handling of zones errs where a change is not of one hour or falls on midnight.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""Short names and the five fields they stand for."""

MAX_LENGTH = 256
"""Characters of a cron text; more than any sensible rule needs."""

_FIELDS = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
_EPOCH = datetime(2000, 1, 1)
"""Where `parse` begins to look whether a rule ever comes; local time, no zone."""
_SPAN_OF_ONE = re.compile(r"(?<![^,\s])(\w+)-\1/0*[1-9]\d*(?![^,\s])")
"""`5-5/2`: only 5, but cronsim would take it for `5/2`, which goes on to the end of the field."""
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class CronRule:
    """A cron text that was understood; make it with `CronRule.parse`."""

    text: str
    """As the person wrote it."""
    expression: str
    """Five or six fields, upper case, aliases resolved."""
    is_fixed: bool
    """True: a fixed time of day, which fires once on days when clocks change."""

    @classmethod
    def parse(cls, text: str) -> CronRule:
        """Raises ValueError, naming the wrong field; also for a rule that never comes (30 February)."""
        expression = _expression_of(text)
        parts = expression.split()
        if len(parts) not in (5, 6):
            raise ValueError(
                f"cron '{text}' has {len(parts)} field(s); give five (minute hour day-of-month month "
                "day-of-week), or six with seconds first"
            )
        try:
            never_comes = next(CronSim(expression, _EPOCH), None) is None
        except CronSimError as error:
            raise ValueError(_why_refused(text, parts, str(error))) from error
        if never_comes:
            raise ValueError(f"cron '{text}' never comes: there is no such date within 50 years")
        minute, hour = parts[-5:-3]
        is_fixed = not minute.startswith("*") and not hour.startswith("*")
        return cls(text, expression, is_fixed)

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """The first slot later than the aware `moment`, in UTC; None if there is none within 50 years."""
        return next(self.slots_after(moment, zone), None)

    def slots_after(self, moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """All slots later than the aware `moment`, in UTC, in order; no slot comes twice."""
        moment = moment.astimezone(UTC)
        slots = self._fixed_slots(moment, zone) if self.is_fixed else self._wild_slots(moment, zone)
        try:
            yield from slots
        except OverflowError:  # the calendar of datetime ends with the year 9999
            return

    def _fixed_slots(self, moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        last = moment
        for local in self._local_times(moment.astimezone(zone).replace(tzinfo=None)):
            slot = _first_moment(local, zone)
            # The second time in the hour that comes twice is no slot; skipped times meet after the gap.
            if slot > last:
                yield slot
                last = slot

    def _wild_slots(self, moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Walks the stretches of time between two changes of clocks; inside one, local time runs evenly."""
        begin, after = moment, moment
        while True:
            offset = _offset(begin, zone)
            change = None
            for local in self._local_times((after + offset).replace(tzinfo=None)):
                slot = local.replace(tzinfo=UTC) - offset
                change = _next_change(begin, zone, until=slot)
                if change is not None:
                    break
                yield slot
                begin = slot
            if change is None:
                return
            begin, after = change, change - _SECOND  # a change may itself be a slot

    def _local_times(self, after: datetime) -> Iterator[datetime]:
        """The rule's local times later than `after`, all without a zone."""
        return CronSim(self.expression, after.replace(fold=0))


def _expression_of(text: str) -> str:
    name = text.strip().lower()
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a cron text has at most {MAX_LENGTH} characters")
    if name.startswith("@"):
        if name not in ALIASES:
            raise ValueError(f"cron '{text}' is unknown; there are {', '.join(ALIASES)}")
        return ALIASES[name]
    return _SPAN_OF_ONE.sub(r"\1", text.strip().upper())


def _why_refused(text: str, parts: list[str], complaint: str) -> str:
    """cronsim says 'Bad hour'; people also want to see which text that was."""
    name = complaint.removeprefix("Bad ")
    fields = _FIELDS[-len(parts) :]
    if name not in fields:
        return f"cron '{text}' is wrong: {complaint}"
    value = parts[fields.index(name)]
    if name == "day-of-month" and value.isdecimal() and 1 <= int(value) <= 31:
        return f"cron '{text}' never comes: there is no day {value} in month {parts[-2]}"
    return f"cron '{text}': the {name} field '{value}' is wrong"


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def _first_moment(local: datetime, zone: ZoneInfo) -> datetime:
    """The moment of a local time: its first one if it comes twice, the end of the gap if it is skipped."""
    moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None, fold=0) == local:
        return moment
    # Skipped. Read with the offset from before the change the moment lies after it, and the other way round.
    before = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return _next_change(before, zone, until=moment) or moment


def _next_change(begin: datetime, zone: ZoneInfo, *, until: datetime) -> datetime | None:
    """The first moment in (begin, until] at which the zone's offset is another; None if there is none.

    Looks at every day, then halves down to the second: no zone changes its clocks twice within a day.
    """
    offset = _offset(begin, zone)
    early = begin
    while early < until:
        late = min(early + _DAY, until)
        if _offset(late, zone) != offset:
            break
        early = late
    else:
        return None
    while late - early > _SECOND:
        middle = early + (late - early) / 2
        if _offset(middle, zone) == offset:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)
