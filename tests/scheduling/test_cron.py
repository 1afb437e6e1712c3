"""What a cron text means, and which ones are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_processor.spec.cron import CronRule


def local_slots(text: str, zone: str, begin: str, number: int) -> list[str]:
    """The next slots, as local times with their offset."""
    place = ZoneInfo(zone)
    moment = datetime.fromisoformat(begin).replace(tzinfo=place)
    slots = islice(CronRule.parse(text).slots_after(moment, place), number)
    return [slot.astimezone(place).strftime("%d %H:%M%z") for slot in slots]


@pytest.mark.parametrize(
    ("text", "zone", "begin", "expected"),
    [
        # Autumn: a fixed time fires once, at its first coming; wildcards follow real time.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["25 02:30+0200", "26 02:30+0100"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00", ["01 01:30-0400", "02 01:30-0500"]),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25T01:45",
            ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100", "25 03:00+0100"],
        ),
        ("0 * * * *", "Europe/London", "2026-10-25T00:30", ["25 01:00+0100", "25 01:00+0000"]),
        # Spring: a fixed time that is skipped fires when the gap is over.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["29 03:00+0200", "30 02:30+0200"]),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["29 03:00+0200", "30 02:00+0200"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["30 02:00+0200", "30 02:30+0200"]),
        # Midnight is skipped, or comes twice.
        ("0 0 * * *", "America/Havana", "2026-03-07T12:00", ["08 01:00-0400", "09 00:00-0400"]),
        ("0 0 * * *", "America/Havana", "2026-10-31T12:00", ["01 00:00-0400", "02 00:00-0500"]),
        # A change of half an hour.
        ("*/20 3 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", ["04 03:00+1100", "04 03:20+1100"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00", ["05 01:45+1100", "06 01:45+1030"]),
        # Seconds first; a fixed time stays one.
        ("15 30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["25 02:30+0200", "26 02:30+0100"]),
        # Days.
        ("0 9 * * MON-FRI", "UTC", "2026-11-20T10:00", ["23 09:00+0000", "24 09:00+0000"]),
        ("0 9 * * 7", "UTC", "2026-11-20T10:00", ["22 09:00+0000", "29 09:00+0000"]),
        ("0 0 1 JAN *", "UTC", "2026-11-20T10:00", ["01 00:00+0000", "01 00:00+0000"]),
        ("0 0 29 2 *", "UTC", "2026-11-20T10:00", ["29 00:00+0000", "29 00:00+0000"]),
        ("0 0 L * *", "UTC", "2026-11-20T10:00", ["30 00:00+0000", "31 00:00+0000"]),
        ("0 12 5-5/2 * *", "UTC", "2026-11-20T10:00", ["05 12:00+0000", "05 12:00+0000"]),
        ("@daily", "UTC", "2026-11-20T10:00", ["21 00:00+0000", "22 00:00+0000"]),
        ("@hourly", "UTC", "2026-11-20T10:00", ["20 11:00+0000", "20 12:00+0000"]),
        ("@weekly", "UTC", "2026-11-20T10:00", ["22 00:00+0000", "29 00:00+0000"]),
    ],
)
def test_slots(text: str, zone: str, begin: str, expected: list[str]) -> None:
    assert local_slots(text, zone, begin, len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "0 field(s)"),
        ("* * * *", "4 field(s)"),
        ("60 * * * *", "minute field '60'"),
        ("0 24 * * *", "hour field '24'"),
        ("0 0 0 * *", "day-of-month field '0'"),
        ("0 0 * 13 *", "month field '13'"),
        ("0 0 * * FUNDAY", "day-of-week field 'FUNDAY'"),
        ("61 0 0 * * *", "second field '61'"),
        ("*/0 * * * *", "minute field '*/0'"),
        ("5-5/0 * * * *", "minute field '5-5/0'"),
        ("9-5 * * * *", "minute field '9-5'"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 2,4,6 *", "never comes"),
        ("@reboot", "there are @yearly"),
        ("every day", "2 field(s)"),
        ("1," * 200 + "1 * * * *", "at most 256 characters"),
    ],
)
def test_refused_with_the_field_that_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="cron") as caught:
        CronRule.parse(text)
    assert says in str(caught.value)


@settings(deadline=None)
@given(st.one_of(st.text(max_size=40), st.from_regex(r"[0-9*,/#LW\-A-Z ]{1,40}", fullmatch=True)))
def test_any_text_is_understood_or_refused(text: str) -> None:
    """No text makes the parser fail in another way, or take long."""
    try:
        rule = CronRule.parse(text)
    except ValueError:
        return
    assert rule.next_after(datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("Europe/Berlin")) is not None


def test_a_slot_is_always_later_than_asked() -> None:
    """Also when asked from within the hour that comes twice, after the fixed time's only slot."""
    berlin = ZoneInfo("Europe/Berlin")
    second_time = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert second_time.astimezone(berlin).strftime("%H:%M") == "02:10"
    found = CronRule.parse("30 2 * * *").next_after(second_time, berlin)
    assert found == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_no_slot_after_the_calendar_ends() -> None:
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert CronRule.parse("* * * * *").next_after(end, ZoneInfo("UTC")) is None
    assert CronRule.parse("0 0 * * *").next_after(end - timedelta(hours=1), ZoneInfo("Asia/Tokyo")) is None
