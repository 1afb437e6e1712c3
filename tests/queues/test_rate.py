"""The rate of a queue: as many as it says, never more in any second."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.queues.rate import RateLimit


def taken_at(limit: RateLimit, looks: list[float]) -> list[float]:
    """When something is taken, if at each of these moments as much is taken as there is room for."""
    moments: list[float] = []
    for now in looks:
        for _ in range(limit.room(now)):
            limit.take(now)
            moments.append(now)
    return moments


@pytest.mark.parametrize(("rate", "seconds", "number"), [(50, 10, 500), (0.1, 100, 10), (1, 7, 7)])
def test_as_many_are_taken_as_the_rate_says(rate: float, seconds: float, number: int) -> None:
    looks = [tick * 0.01 for tick in range(int(seconds * 100) + 1)]
    assert len(taken_at(RateLimit(rate, now=0.0), looks)) in (number, number - 1)


@given(
    st.one_of(st.floats(0.1, 1), st.integers(1, 200)),
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_second_has_more_than_the_rate_says(rate: float, pauses: list[float]) -> None:
    limit = RateLimit(rate, now=0.0)
    moments = taken_at(limit, list(accumulate(pauses)))
    most = max(int(rate), 1)
    for first, one_too_many in zip(moments, moments[most:], strict=False):
        assert one_too_many - first >= max(1.0, 1 / rate) - 1e-9


def test_after_a_start_the_time_before_it_counts_as_used_up() -> None:
    limit = RateLimit(10, now=100.0)
    assert (limit.room(100.0), limit.room(100.9), limit.room(101.0)) == (0, 0, 10)
    assert RateLimit(10, now=100.0).wait_seconds(100.5) == pytest.approx(0.5)


def test_whoever_took_more_pays_for_it_later() -> None:
    limit = RateLimit(2, now=0.0)
    for _ in range(4):  # attempts that were due, beside what there was room for
        limit.take(1.0)
    assert (limit.room(1.0), limit.wait_seconds(1.0)) == (-2, 1.0)
    assert limit.room(2.0) == 2
