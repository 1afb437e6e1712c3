"""What statuses there are, which may follow which, and how runs are called."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.run import (
    LEGAL_TRANSITIONS,
    LIVE_STATUSES,
    RUN_ID_PATTERN,
    TERMINAL_STATUSES,
    RunStatus,
    new_run_id,
)

TABLE = {
    "queued": {"running", "cancelled", "failed", "skipped", "interrupted"},
    "running": {"waiting", "succeeded", "failed", "exited", "cancelled", "interrupted"},
    "waiting": {"running", "cancelled", "failed", "interrupted"},
    "succeeded": set(),
    "failed": set(),
    "exited": set(),
    "cancelled": set(),
    "interrupted": {"queued"},
    "skipped": set(),
}

moments = st.datetimes(datetime(2000, 1, 1), datetime(2999, 12, 31), timezones=st.just(UTC))


def test_the_table_of_legal_transitions() -> None:
    """A change of this table is a change of what history means to every reader."""
    assert {
        status.value: {after.value for after in LEGAL_TRANSITIONS[status]} for status in RunStatus
    } == TABLE


@pytest.mark.parametrize("status", RunStatus)
def test_a_status_is_either_live_or_final(status: RunStatus) -> None:
    assert (status in LIVE_STATUSES) is not (status in TERMINAL_STATUSES)
    assert status.is_terminal is (status in TERMINAL_STATUSES)


@pytest.mark.parametrize("status", sorted(LIVE_STATUSES))
def test_every_live_status_leads_to_an_end(status: RunStatus) -> None:
    """A run that nothing may end would stay for ever."""
    assert LEGAL_TRANSITIONS[status] & TERMINAL_STATUSES


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES - {RunStatus.INTERRUPTED}))
def test_what_has_ended_has_ended(status: RunStatus) -> None:
    """Only a run of which nobody knows whether a step took effect may be taken up again, by a person."""
    assert not LEGAL_TRANSITIONS[status]


@given(moments, moments)
def test_run_ids_sort_by_time(one: datetime, other: datetime) -> None:
    """To the millisecond, which is all that they say."""
    earlier, later = sorted((one, other))
    millisecond_apart = int(later.timestamp() * 1000) > int(earlier.timestamp() * 1000)
    first, second = new_run_id(earlier), new_run_id(later)
    assert first < second if millisecond_apart else first[:18] <= second[:18]


@given(moments)
def test_a_run_id_says_when(moment: datetime) -> None:
    run_id = new_run_id(moment)
    assert RUN_ID_PATTERN.fullmatch(run_id)
    assert datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) == moment.replace(
        microsecond=0
    )


def test_run_ids_of_one_instant_differ() -> None:
    now = datetime(2026, 11, 21, 7, 40, 6, 123456, tzinfo=UTC)
    ids = {new_run_id(now) for _ in range(10_000)}
    assert len(ids) == 10_000
    assert {run_id[:19] for run_id in ids} == {"20261121T074006123-"}
