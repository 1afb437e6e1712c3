"""Calls that wait: bounded in number, ended by what they wait for, by their time, by the daemon's stop."""

import threading
from typing import Any

import pytest

from flow_processor.api.waiting import WaitingRoom


@pytest.fixture
def in_a_call(api: Any) -> Any:
    with api.app.test_request_context("/", environ_overrides={"waitress.client_disconnected": lambda: False}):
        yield


class Door:
    """Something to wait for."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.looks: list[float] = []
        self.looked = threading.Event()

    def look(self, seconds: float) -> bool:
        self.looks.append(seconds)
        self.looked.set()
        return self.opened.wait(seconds)


@pytest.mark.usefixtures("in_a_call")
def test_what_is_there_already_is_told_at_once() -> None:
    door = Door()
    door.opened.set()
    assert WaitingRoom(1).wait(30, door.look, until=bool) is True
    assert len(door.looks) == 1


@pytest.mark.usefixtures("in_a_call")
def test_when_the_time_is_over_it_tells_what_there_is() -> None:
    door = Door()
    assert WaitingRoom(1).wait(0.05, door.look, until=bool) is False
    assert door.looks[0] <= 0.05


@pytest.mark.usefixtures("in_a_call")
@pytest.mark.parametrize("places", [0, 1])
def test_who_does_not_wait_needs_no_place(places: int) -> None:
    door = Door()
    assert WaitingRoom(places).wait(0, door.look, until=bool) is False
    assert door.looks == [0]


def test_who_finds_no_place_is_answered_at_once(api: Any) -> None:
    """Half of the threads stay free for calls that do not wait."""
    room, door, results = WaitingRoom(1), Door(), []

    def wait() -> None:
        with api.app.test_request_context("/"):
            results.append(room.wait(30, door.look, until=bool))

    first = threading.Thread(target=wait)
    first.start()
    assert door.looked.wait(5)
    other = Door()
    with api.app.test_request_context("/"):
        assert room.wait(30, other.look, until=bool) is False
    assert other.looks == [0]
    door.opened.set()
    first.join(5)
    assert results == [True]


@pytest.mark.usefixtures("in_a_call")
def test_a_place_is_free_again_afterwards_even_after_an_error() -> None:
    room, door = WaitingRoom(1), Door()
    with pytest.raises(ZeroDivisionError):
        room.wait(30, lambda _: 1 // 0, until=bool)
    room.wait(0.01, door.look, until=bool)
    assert door.looks[0] > 0


@pytest.mark.usefixtures("in_a_call")
def test_nobody_waits_for_a_daemon_that_stops() -> None:
    room, door = WaitingRoom(1), Door()
    room.close()
    assert room.wait(30, door.look, until=bool) is False
    assert door.looks == [0]


def test_a_caller_who_hangs_up_gives_the_place_back(api: Any) -> None:
    door = Door()
    gone = {"waitress.client_disconnected": lambda: True}
    with api.app.test_request_context("/", environ_overrides=gone):
        assert WaitingRoom(1).wait(300, door.look, until=bool) is False
    assert len(door.looks) == 1
