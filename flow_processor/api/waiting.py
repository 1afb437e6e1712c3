"""Calls that wait for something: at most half of the server's threads, so that the API never blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from flask import current_app, request

from flow_processor.clock import Clock, SystemClock

_T = TypeVar("_T")

LOOK_SECONDS = 1.0
"""A waiting call looks up this often: has its caller gone, does the daemon stop?"""

MAX_WAIT_SECONDS = 300
"""The longest time that one call may wait for a run to end."""

WAITING_ROOM_KEY = "octospool.waiting_room"
"""Where an app keeps its waiting room among its extensions."""


class WaitingRoom:
    """Places for calls that wait. Who finds no place is answered at once."""

    def __init__(self, places: int, *, clock: Clock | None = None):
        self._places = threading.BoundedSemaphore(places)
        self._closed = threading.Event()
        self._clock = clock or SystemClock()

    def close(self) -> None:
        """Nobody waits any longer: the daemon stops."""
        self._closed.set()

    def wait(self, seconds: float, look: Callable[[float], _T], *, until: Callable[[_T], bool]) -> _T:
        """What `look` gives, once `until` holds for it or `seconds` are over.

        `look(n)` waits up to n seconds for something to happen and tells what there is. The caller that
        hangs up and the daemon that stops end the waiting within `LOOK_SECONDS`.
        """
        if seconds <= 0 or self._closed.is_set() or not self._places.acquire(blocking=False):
            return look(0)
        has_gone = request.environ.get("waitress.client_disconnected", lambda: False)
        deadline = self._clock.monotonic() + seconds
        try:
            while True:
                left = deadline - self._clock.monotonic()
                found = look(max(0.0, min(left, LOOK_SECONDS)))
                if until(found) or left <= LOOK_SECONDS or self._closed.is_set() or has_gone():
                    return found
        finally:
            self._places.release()


def waiting_room() -> WaitingRoom:
    """The waiting room of the app that handles the current call."""
    found: WaitingRoom = current_app.extensions[WAITING_ROOM_KEY]
    return found
