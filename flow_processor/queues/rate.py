"""How fast items begin: never more in any second than the queue's `rate_per_second` says."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from flow_processor.clock import Clock
from flow_processor.spec.queue_settings import QueueSettings

NO_LIMIT = 2**31
"""Room where no rate is set."""


class RateLimit:
    """At most so many in a second. Not thread safe.

    It remembers the moments of the last takes, so that no second, wherever it begins, has too many: a bucket that
    fills up while nothing is taken would let twice as many through at once.
    """

    def __init__(self, per_second: float, *, now: float) -> None:
        """`per_second`: up to 1, or a whole number. `now` and all further moments are of one monotonic clock. What was
        taken before `now` is not known, so the time up to it counts as used up."""
        self._most = max(int(per_second), 1)
        self._window_seconds = self._most / per_second
        self._taken = deque([now] * self._most)

    def room(self, now: float) -> int:
        """How many may be taken now."""
        while self._taken and self._taken[0] + self._window_seconds <= now:
            self._taken.popleft()
        return self._most - len(self._taken)

    def take(self, now: float) -> None:
        """One is taken. Whoever takes more than there is room for pays for it later."""
        self._taken.append(now)

    def wait_seconds(self, now: float) -> float:
        """How long until there is room; 0: there is some."""
        room = self.room(now)
        return 0.0 if room > 0 else max(self._taken[-room] + self._window_seconds - now, 0.0)


class RateLimits:
    """The rates of all listeners; each begins full at the daemon's start. Thread safe."""

    def __init__(self, settings_of: Callable[[str], QueueSettings], *, clock: Clock) -> None:
        self._settings_of = settings_of
        self._clock = clock
        self._begun = clock.monotonic()
        self._limits: dict[tuple[str, str], RateLimit | None] = {}
        self._lock = threading.Lock()

    def room(self, queue: str, flow: str) -> int:
        """How many items of the queue the flow may begin now."""
        with self._lock:
            limit = self._limit(queue, flow)
            return NO_LIMIT if limit is None else limit.room(self._clock.monotonic())

    def take(self, queue: str, flow: str) -> None:
        """The flow begins an item of the queue."""
        with self._lock:
            limit = self._limit(queue, flow)
            if limit is not None:
                limit.take(self._clock.monotonic())

    def wait_seconds(self, queue: str, flow: str) -> float:
        """How long until `room` says more than none; 0: it does."""
        with self._lock:
            limit = self._limit(queue, flow)
            return 0.0 if limit is None else limit.wait_seconds(self._clock.monotonic())

    def _limit(self, queue: str, flow: str) -> RateLimit | None:
        key = (queue, flow)
        if key not in self._limits:
            rate = self._settings_of(queue).rate_per_second
            self._limits[key] = None if rate is None else RateLimit(rate, now=self._begun)
        return self._limits[key]
