"""CronRule against a second implementation that shares no code with it: every minute is looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flow_processor.spec.cron import CronRule

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/St_Johns",  # changed at 00:01 until 2011
    "America/Sao_Paulo",  # changed at midnight until 2019
    "America/Havana",  # changes at midnight
    "America/Santiago",  # changes at midnight
    "Asia/Beirut",  # changes at midnight
    "Asia/Tehran",  # half-hour offset, changed at midnight until 2022
    "Asia/Kathmandu",  # no change, offset of 5:45
    "Australia/Lord_Howe",  # changes by half an hour
    "Africa/Casablanca",  # goes back for Ramadan
    "Africa/Cairo",
    "Antarctica/Troll",  # changes by two hours
    "Pacific/Chatham",  # changes at 02:45
)
MINUTE = timedelta(minutes=1)
HORIZON = timedelta(days=2)


def is_star(field: str) -> bool:
    return field.startswith("*")


def values(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        body, _, step = term.partition("/")
        if body == "*":
            first, last = low, high
        elif "-" in body:
            first, last = (int(part) for part in body.split("-"))
        else:
            first = int(body)
            last = high if step else first
        found |= set(range(first, last + 1, int(step or 1)))
    return found


class Brute:
    """Minute by minute, in local time, with the rule of Debian's cron for changes of clocks."""

    def __init__(self, expression: str):
        minute, hour, day, month, weekday = expression.split()
        self.minutes = values(minute, 0, 59)
        self.hours = values(hour, 0, 23)
        self.days = values(day, 1, 31)
        self.months = values(month, 1, 12)
        self.weekdays = {value % 7 for value in values(weekday, 0, 7)}
        self.both_days = is_star(day) or is_star(weekday)
        self.fixed = not is_star(minute) and not is_star(hour)

    def matches(self, local: datetime) -> bool:
        day, weekday = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return (
            local.minute in self.minutes
            and local.hour in self.hours
            and local.month in self.months
            and ((day and weekday) if self.both_days else (day or weekday))
        )

    def is_slot(self, moment: datetime, zone: ZoneInfo) -> bool:
        local = moment.astimezone(zone)
        wall = local.replace(tzinfo=None, fold=0)
        if not self.fixed:
            return self.matches(wall)
        if self.matches(wall) and local.fold == 0:
            return True
        before = (moment - MINUTE).astimezone(zone).replace(tzinfo=None, fold=0)
        skipped = int((wall - before) / MINUTE) - 1
        return any(self.matches(before + MINUTE * (number + 1)) for number in range(skipped))

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        look = moment.replace(second=0, microsecond=0)
        while look <= moment + HORIZON:
            if look > moment and self.is_slot(look, zone):
                return look
            look += MINUTE
        return None


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(lambda two: f"{min(two)}-{max(two)}")
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, high)).map(
        lambda two: f"{two[0]}/{two[1]}"
    )
    return st.one_of(
        st.just("*"),
        st.just("*"),
        number,
        span,
        stepped,
        st.lists(number, min_size=2, max_size=4).map(",".join),
    )


def few_hours() -> st.SearchStrategy[str]:
    """Hours at which clocks change somewhere."""
    return st.one_of(field(0, 23), st.sampled_from(["0", "1", "2", "3", "23", "0-4", "1,2", "2-3", "*/2"]))


expressions = st.tuples(
    field(0, 59),
    few_hours(),
    st.one_of(st.just("*"), st.just("*"), field(1, 31)),
    st.one_of(st.just("*"), st.just("*"), field(1, 12)),
    st.one_of(st.just("*"), st.just("*"), field(0, 7)),
).map(" ".join)


@cache
def changes(name: str) -> list[datetime]:
    """Hours of 2005 to 2037 within which this zone's clocks change."""
    zone, moment = ZoneInfo(name), datetime(2005, 1, 1, tzinfo=UTC)
    found, offset = [], moment.astimezone(zone).utcoffset()
    while moment < datetime(2037, 1, 1, tzinfo=UTC):
        later = moment + timedelta(hours=12)
        before, offset = offset, later.astimezone(zone).utcoffset()
        if before != offset:
            found.append(moment)
        moment = later
    return found


@st.composite
def places(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and a moment, mostly near a change of its clocks."""
    name = draw(st.sampled_from(ZONES))
    if changes(name) and draw(st.integers(0, 3)):
        base = draw(st.sampled_from(changes(name)))
        return name, base + timedelta(seconds=draw(st.integers(-43_200, 86_400)))
    days, seconds = draw(st.integers(0, 11_000)), draw(st.integers(0, 86_399))
    return name, datetime(2005, 1, 1, tzinfo=UTC) + timedelta(days=days, seconds=seconds)


@settings(max_examples=250, deadline=None)
@given(expressions, places())
@example("* * * * 0-0/1", ("UTC", datetime(2005, 1, 3, tzinfo=UTC)))
@example("30 2 * * *", ("Europe/Berlin", datetime(2026, 10, 25, 0, 40, tzinfo=UTC)))
@example("*/20 3 * * *", ("Australia/Lord_Howe", datetime(2026, 10, 3, 14, 0, tzinfo=UTC)))
@example("*/30 0 * * *", ("America/Havana", datetime(2026, 3, 8, 3, 0, tzinfo=UTC)))
def test_next_slot_equals_the_brute_force(expression: str, place: tuple[str, datetime]) -> None:
    """Any expression, any zone, any moment: the first minute that matches is the next slot."""
    zone, moment = ZoneInfo(place[0]), place[1]
    try:
        rule = CronRule.parse(expression)
    except ValueError as error:
        assert "never comes" in str(error)  # noqa: PT017  which expressions never come is itself random
        assert Brute(expression).next_after(moment, zone) is None
        return
    expected = Brute(expression).next_after(moment, zone)
    found = rule.next_after(moment, zone)
    if expected is None:
        assert found is None or found > moment + HORIZON
    else:
        assert found == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "UTC"])
def test_all_slots_of_two_weeks_around_a_change_equal_the_brute_force(zone: str) -> None:
    """The iterator gives the same slots as asking again and again."""
    begin = (changes(zone) or [datetime(2026, 3, 1, tzinfo=UTC)])[0] - timedelta(days=1)
    end = begin + timedelta(days=2)
    for expression in ("*/10 * * * *", "7,37 0-4 * * *", "0 * * * *", "30 2 * * *"):
        brute = Brute(expression)
        minutes = (begin + MINUTE * number for number in range(1, 2 * 1440 + 1))
        expected = [moment for moment in minutes if brute.is_slot(moment, ZoneInfo(zone))]
        found = []
        for slot in CronRule.parse(expression).slots_after(begin, ZoneInfo(zone)):
            if slot > end:
                break
            found.append(slot)
        assert found == expected
