"""Which slots a tick starts, and what it says of those it does not."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_processor.scheduling.moments import CronSlots, IntervalSlots, SlotRule
from flow_processor.scheduling.slots import due_slots, newest_slots
from flow_processor.spec.cron import CronRule
from flow_processor.spec.schedule import Catchup

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def every(seconds: float) -> IntervalSlots:
    return IntervalSlots(timedelta(seconds=seconds), NOON)


def cron(text: str) -> CronSlots:
    return CronSlots(CronRule.parse(text), BERLIN)


@pytest.mark.parametrize(
    ("catchup", "late_seconds", "minutes_started", "missed"),
    [
        (Catchup.NONE, 0, [10], 9),
        (Catchup.NONE, 30, [10], 9),
        (Catchup.NONE, 31, [], 10),
        (Catchup.LATEST, 0, [10], 9),
        (Catchup.LATEST, 59, [10], 9),
        (Catchup.ALL, 59, [7, 8, 9, 10], 6),
    ],
)
@pytest.mark.parametrize("rule", [every(60), cron("* * * * *")], ids=["every", "cron"])
def test_ten_slots_due_at_once(
    rule: SlotRule, catchup: Catchup, late_seconds: int, minutes_started: list[int], missed: int
) -> None:
    """Every slot either starts or is counted in the one record of the gap."""
    until = NOON + timedelta(minutes=10, seconds=late_seconds)
    due = due_slots(rule, after=NOON, until=until, catchup=catchup, catchup_max=4)
    assert [slot.minute for slot in due.start] == minutes_started
    assert due.skipped is not None
    assert due.skipped.last == NOON + timedelta(minutes=missed)
    assert f"missed: {missed} slots from 2026-11-21T12:01:00.000Z" in due.skipped.reason
    assert f"catchup: {catchup}" in due.skipped.reason


@pytest.mark.parametrize("catchup", list(Catchup))
def test_a_single_slot_in_time_starts_under_every_policy(catchup: Catchup) -> None:
    due = due_slots(every(60), after=NOON, until=NOON + timedelta(minutes=1), catchup=catchup, catchup_max=5)
    assert due.start == (NOON + timedelta(minutes=1),)
    assert due.skipped is None


@pytest.mark.parametrize("catchup", list(Catchup))
def test_nothing_is_due_before_the_first_slot(catchup: Catchup) -> None:
    due = due_slots(every(60), after=NOON, until=NOON + timedelta(seconds=59), catchup=catchup, catchup_max=5)
    assert (due.start, due.skipped) == ((), None)


@pytest.mark.parametrize(
    ("rule", "count"),
    [(every(1), "315359999"), (cron("* * * * *"), "more than 300"), (cron("@daily"), "more than 300")],
)
def test_ten_years_are_quick_and_bounded(rule: SlotRule, count: str) -> None:
    """One slot starts; the others are one record; it takes no longer than a blink."""
    begin = time.thread_time()
    until = NOON + timedelta(days=3650)
    due = due_slots(rule, after=NOON, until=until, catchup=Catchup.LATEST, catchup_max=1)
    assert time.thread_time() - begin < 2
    assert len(due.start) == 1
    assert due.skipped is not None
    assert f"missed: {count} slots" in due.skipped.reason


def test_catching_up_is_bounded() -> None:
    until = NOON + timedelta(days=3650)
    due = due_slots(cron("* * * * *"), after=NOON, until=until, catchup=Catchup.ALL, catchup_max=100)
    assert len(due.start) == 100
    assert due.start[-1] == until
    assert due.start[0] == until - timedelta(minutes=99)


@settings(max_examples=100, deadline=None)
@given(
    rule=st.sampled_from([cron("*/7 * * * *"), cron("30 2 * * *"), cron("0 0 1 * *"), every(97), every(1.5)]),
    begin=st.integers(-40_000, 40_000),
    length=st.integers(0, 400_000),
    number=st.integers(1, 40),
)
def test_the_newest_slots_are_the_end_of_all_slots(
    rule: SlotRule, begin: int, length: int, number: int
) -> None:
    """Finding them by halves gives what listing everything gives; and counting counts the list."""
    after = NOON + timedelta(seconds=begin)
    until = after + timedelta(seconds=min(length, 5000))
    listed = []
    for slot in rule.slots_after(after):
        if slot > until:
            break
        listed.append(slot)
    assert newest_slots(rule, after=after, until=until, number=number) == tuple(listed[-number:])
    assert rule.count(after, until) == len(listed)


def test_an_interval_never_drifts() -> None:
    """The millionth slot is exactly a million intervals after the anchor, however it is reached."""
    rule = every(1.1)
    late = NOON + timedelta(seconds=1.1) * 1_000_000
    assert next(rule.slots_after(late - timedelta(microseconds=1))) == late
    assert next(rule.slots_after(late)) == late + timedelta(seconds=1.1)
    assert next(every(60).slots_after(NOON - timedelta(days=1))) == NOON + timedelta(minutes=1)
