"""Moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from flow_processor.spec.moments import moment_of
from flow_processor.spec.schedule import ScheduleSpec

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-12-24T18:00", "2026-12-24 17:00:00"),
        ("2026-12-24 18:00:05", "2026-12-24 17:00:05"),
        ("2026-12-24T18:00:05.5", "2026-12-24 17:00:05.500000"),
        ("2026-12-24T18:00Z", "2026-12-24 18:00:00"),
        ("2026-12-24T18:00-05:30", "2026-12-24 23:30:00"),
        ("2026-07-01T00:00", "2026-06-30 22:00:00"),
        ("2026-10-25T02:30", "2026-10-25 00:30:00"),  # comes twice: the first one
        ("2026-03-29T03:00", "2026-03-29 01:00:00"),
        ("2026-03-29T02:30+01:00", "2026-03-29 01:30:00"),
    ],
)
def test_a_moment_is_read_in_the_zone(text: str, utc: str) -> None:
    assert moment_of(text, BERLIN) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-03-29T02:30", "does not exist in Europe/Berlin"),
        ("2026-02-30T12:00", "does not exist"),
        ("2026-12-24T25:00", "does not exist"),
        ("2026-12-24", "is no moment"),
        ("18:00", "is no moment"),
        ("tomorrow", "is no moment"),
        ("now", "is no moment"),
        ("", "is no moment"),
        ("1795276604", "is no moment"),
        ("24.12.2026 18:00", "is no moment"),
        ("2026-12-24T18:00 Europe/Berlin", "is no moment"),
        ("0001-01-01T00:00", "outside of the years"),
        ("9999-12-31T23:59", "outside of the years"),
    ],
)
def test_what_is_no_moment_is_said_with_a_right_one(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        moment_of(text, BERLIN)
    assert "2026-12-24T18:00" in str(caught.value) or "T03:30" in str(caught.value) or "years" in said


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({}, "give 'cron'"),
        ({"starts_at": "2026-12-24T18:00"}, "give 'cron'"),
        ({"cron": "* * * * *", "at": "2026-12-24T18:00"}, "give only one of"),
        ({"every_seconds": 5, "repeat_count": 1}, "give only one of"),
        ({"interval": 5}, "needs 'repeat_count'"),
        ({"interval": 0.5, "repeat_count": 1}, "greater than or equal to 1"),
        ({"interval": 5, "repeat_count": -1}, "greater than or equal to 0"),
        ({"at": "soon"}, "is no moment"),
        ({"at": "2026-03-29T02:30", "timezone": "Europe/Berlin"}, "does not exist in Europe/Berlin"),
        ({"at": "2026-12-24T18:00", "timezone": "Mars"}, "unknown time zone"),
        (
            {"every_seconds": 5, "starts_at": "2026-12-24T18:00", "ends_at": "2026-12-24T17:00"},
            "lies before starts_at",
        ),
        ({"at": "2026-12-24T18:00", "ends_at": "2026-12-24T17:59"}, "ends_at .* lies before at"),
        ({"at": "2026-12-24T18:00", "starts_at": "2026-12-24T18:01"}, "at .* lies before starts_at"),
    ],
)
def test_a_rule_that_is_wrong(rule: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ScheduleSpec.model_validate(rule)
