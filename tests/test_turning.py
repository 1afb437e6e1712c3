"""Threads that turn: at once, after each pause, when woken; until they are stopped, whatever a turn raises."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flow_processor.clock import SystemClock
from flow_processor.turning import TurningThread

PATIENCE_SECONDS = 20.0
NEVER = 3600.0
"""A pause that no test waits for."""


class Turns:
    """What a thread is to do, and a word for each time that it has."""

    def __init__(self) -> None:
        self.done = threading.Semaphore(0)
        self.raises: list[Exception] = []

    def __call__(self) -> None:
        self.done.release()
        if self.raises:
            raise self.raises.pop()

    def came(self, number: int = 1) -> bool:
        """So many more turns have come."""
        return all(self.done.acquire(timeout=PATIENCE_SECONDS) for _ in range(number))


@pytest.fixture
def begin() -> Iterator[Callable[..., TurningThread]]:
    """Starts threads, which end with the test."""
    begun: list[TurningThread] = []

    def start(turn: Callable[[], None], **options: Any) -> TurningThread:
        given = {"name": "turning", "pause": NEVER, "failed": "it did not turn", **options}
        begun.append(TurningThread(turn, clock=SystemClock(), logger=logging.getLogger("turning"), **given))
        begun[-1].start()
        return begun[-1]

    yield start
    for thread in begun:
        thread.stop()


def test_turns_come_at_once_and_after_each_pause(begin: Callable[..., TurningThread]) -> None:
    """The pause may be another one each time."""
    turns, pauses = Turns(), [0.0, 0.001, 0.0, NEVER]
    thread = begin(turns, pause=lambda: pauses.pop(0))
    assert turns.came(4)
    thread.stop()
    assert not pauses


def test_a_thread_that_pauses_can_be_woken(begin: Callable[..., TurningThread]) -> None:
    """Before its first turn too; each wake is good for a turn."""
    turns = Turns()
    thread = begin(turns, first_pause=NEVER)
    for _ in range(3):
        thread.wake()
        assert turns.came()


def test_a_wake_in_the_middle_of_a_turn_leads_to_another_one(begin: Callable[..., TurningThread]) -> None:
    """What came too late for this turn is seen by the next one."""
    began, may_end = threading.Semaphore(0), threading.Semaphore(0)

    def turn() -> None:
        began.release()
        may_end.acquire(timeout=PATIENCE_SECONDS)

    thread = begin(turn)
    assert began.acquire(timeout=PATIENCE_SECONDS)
    thread.wake()
    may_end.release(2)
    assert began.acquire(timeout=PATIENCE_SECONDS)


def test_a_turn_that_fails_is_logged_and_the_next_one_comes(
    begin: Callable[..., TurningThread], caplog: pytest.LogCaptureFixture
) -> None:
    """Not at once, whatever the pause: what is wrong may last."""
    turns = Turns()
    turns.raises.append(RuntimeError("a defect"))
    thread = begin(turns, pause=0.0)
    assert turns.came()
    thread.wake()  # ends the pause after the failure
    assert turns.came()
    (record,) = [record for record in caplog.records if record.name == "turning"]
    assert (record.getMessage(), record.levelname) == ("it did not turn", "ERROR")
    assert "a defect" in str(record.exc_info)


def test_a_stop_waits_for_the_turn_and_ends_its_rest(begin: Callable[..., TurningThread]) -> None:
    """A turn that rests sees that it is to stop; no further turn comes."""
    began, told = threading.Event(), []

    def turn() -> None:
        began.set()
        told.append(thread.rest(NEVER))

    thread = begin(turn, pause=0.0, first_pause=NEVER)
    thread.wake()
    assert began.wait(PATIENCE_SECONDS)
    thread.stop()
    assert told == [True]


def test_a_thread_that_never_began_can_be_stopped() -> None:
    """A start that failed half way stops what there is."""
    thread = TurningThread(
        Turns(), name="turning", pause=NEVER, clock=SystemClock(), logger=logging.getLogger(), failed=""
    )
    thread.stop()
    assert thread.is_stopping
