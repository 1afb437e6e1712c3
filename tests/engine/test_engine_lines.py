"""Lines of a run: they park together, when the last one of them waits and nothing is due soon, and not before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from flow_processor.clock import SystemClock
from flow_processor.engine.lines import PARK_SECONDS, Lines
from flow_processor.engine.signals import Parked, Stopped
from flow_processor.errors import StepCancelled, StepError
from flow_processor.run_state import Signal


class HeldClock(SystemClock):
    """Who waits does not notice that the wait is over until the test says so."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)
        self.gate = threading.Event()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waiting.release()
        self.gate.wait(10)
        return super().wait(event, seconds)


def lines_of(clock: SystemClock | None = None, *signals: Signal, may_park: bool = True) -> Lines:
    return Lines(clock or SystemClock(), signals=signals, may_park=lambda: may_park)


def signal(seq: int, name: str) -> Signal:
    return Signal(seq, name, None, "ann", 0.0)


def nothing() -> None:
    """Nothing ends the wait."""


def waits(lines: Lines, name: str, taken: list[int]) -> Callable[[], None]:
    """A work that waits for a signal and notes which one came."""

    def work() -> None:
        found = lines.wait(signal=name, check=nothing)
        assert found is not None
        taken.append(found.seq)

    return work


def test_one_line_that_waits_is_parked_at_once() -> None:
    lines = lines_of()
    with pytest.raises(Parked) as parked:
        lines.wait(signal="a", check=nothing)
    assert parked.value.wake_at is None


def test_the_run_goes_on_at_the_first_of_all_moments() -> None:
    lines, now = lines_of(), time.time()
    ends = [now + 60, now + 30, now + 90]
    works = [lambda until=until: lines.wait(until=until, check=nothing) for until in ends]
    with pytest.raises(Parked) as parked:
        lines.side_by_side(works, limit=3)
    assert parked.value.wake_at == pytest.approx(now + 30, abs=0.1)


@pytest.mark.parametrize("may_park", [True, False])
def test_what_is_due_soon_is_waited_for(may_park: bool) -> None:
    lines = lines_of(may_park=may_park)
    assert lines.wait(until=time.time() + 0.05, check=nothing) is None
    assert lines.wait(deadline=time.monotonic() + 0.05, check=nothing) is None


def test_nothing_is_parked_while_the_run_is_being_ended() -> None:
    lines = lines_of(may_park=False)
    end = time.monotonic() + PARK_SECONDS + 10

    def check() -> None:
        raise StepCancelled("the run was cancelled")

    with pytest.raises(StepCancelled):
        lines.wait(deadline=end, check=check)


def test_no_line_is_parked_while_one_is_busy() -> None:
    """The busy one goes on for a while; the signal that it waits for in the end has come already."""
    lines, taken = lines_of(None, signal(1, "b")), list[int]()
    is_waiting = threading.Event()

    def busy() -> None:
        assert is_waiting.wait(10)
        lines.deliver(signal(2, "a"))
        waits(lines, "b", taken)()

    def first() -> None:
        is_waiting.set()
        waits(lines, "a", taken)()

    lines.side_by_side([first, busy], limit=2)
    assert sorted(taken) == [1, 2]


def test_a_line_that_ends_lets_the_others_be_parked() -> None:
    lines, taken = lines_of(), list[int]()
    with pytest.raises(Parked):
        lines.side_by_side([waits(lines, "a", taken), nothing, nothing], limit=3)
    assert taken == []


def test_lines_inside_of_lines_are_counted_too() -> None:
    """Two inner ones have ended, and the one around them is busy again before it waits itself."""
    lines, taken = lines_of(None, signal(1, "b"), signal(2, "c")), list[int]()

    def inner() -> None:
        lines.side_by_side([waits(lines, "b", taken), waits(lines, "c", taken)], limit=2)
        lines.deliver(signal(3, "a"))
        waits(lines, "d", taken)()

    with pytest.raises(Parked):
        lines.side_by_side([waits(lines, "a", taken), inner], limit=2)
    assert sorted(taken) == [1, 2, 3]


def test_a_signal_is_taken_once_and_one_that_is_told_twice_is_one() -> None:
    lines, taken = lines_of(None, signal(1, "a")), list[int]()
    lines.deliver(signal(1, "a"))
    lines.deliver(signal(2, "a"))
    waits(lines, "a", taken)()
    waits(lines, "a", taken)()
    assert taken == [1, 2]
    with pytest.raises(Parked):
        waits(lines, "a", taken)()


def test_a_signal_that_comes_too_late_for_this_worker_is_not_taken_here() -> None:
    """All lines are being left; the daemon finds the signal in the journal."""
    clock, taken = HeldClock(), list[int]()
    lines = lines_of(clock)

    def second() -> None:
        assert clock.waiting.acquire(timeout=10), "the first one waits"
        try:
            waits(lines, "b", taken)()
        finally:
            lines.deliver(signal(1, "a"))
            clock.gate.set()

    with pytest.raises(Parked):
        lines.side_by_side([waits(lines, "a", taken), second], limit=2)
    assert taken == []


def test_a_signal_whose_wait_was_cut_off_is_kept_for_the_next() -> None:
    clock, taken = HeldClock(), list[int]()
    lines = lines_of(clock, may_park=False)

    def cut_off() -> None:
        raise StepCancelled("cut off")

    def first() -> None:
        with pytest.raises(StepCancelled):
            lines.wait(signal="a", check=cut_off)
        waits(lines, "a", taken)()

    clock.gate.set()
    lines.deliver(signal(1, "b"))
    threading.Timer(0.05, lines.deliver, [signal(2, "a")]).start()
    first()
    assert taken == [2]


def test_all_that_were_under_way_come_by_their_end_when_the_run_is_stopped() -> None:
    lines, ended = lines_of(), list[int]()

    def work(number: int) -> Callable[[], None]:
        def stop() -> None:
            ended.append(number)
            raise Stopped(StepError("the run was cancelled", code="cancelled"))

        return stop

    with pytest.raises(Stopped):
        lines.side_by_side([work(number) for number in range(10)], limit=3)
    assert sorted(ended) == list(range(10))


def test_a_line_that_is_left_for_a_reason_counts_more_than_one_that_was_parked() -> None:
    lines, taken = lines_of(), list[int]()

    def broken() -> None:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError):
        lines.side_by_side([waits(lines, "a", taken), broken], limit=2)


def test_a_signal_that_was_taken_in_an_earlier_worker_is_not_taken_again() -> None:
    """Its word may come late: after another worker's step has taken it, as the journal says."""
    lines = Lines(SystemClock(), signals=(), taken=[7], may_park=lambda: False)
    taken: list[int] = []
    lines.deliver(signal(7, "a"))
    lines.deliver(signal(8, "a"))
    waits(lines, "a", taken)()
    assert taken == [8]
