"""A log that strangers cannot fill: so many lines a minute about one thing, then only how many there were."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from flow_processor.clock import Clock

LINES = 30
"""So many lines about one thing are written within a minute."""
MINUTE_SECONDS = 60.0


@dataclass(slots=True)
class _Minute:
    """What was said of one thing since `begun`."""

    begun: float
    lines: int = 0
    left_out: int = 0


class SparingLog:
    """Writes warnings, so many a minute. Thread safe. Things are few: whoever calls must not let others name them."""

    def __init__(self, logger: logging.Logger, *, clock: Clock) -> None:
        self._logger = logger
        self._clock = clock
        self._minutes: dict[str, _Minute] = {}
        self._lock = threading.Lock()

    def warning(self, thing: str, message: str, *values: object) -> None:
        """A line about a thing, unless there were many; what was left out is counted by the first line after it."""
        now = self._clock.monotonic()
        with self._lock:
            minute = self._minutes.setdefault(thing, _Minute(now))
            left_out = 0
            if now - minute.begun >= MINUTE_SECONDS:
                left_out = minute.left_out
                minute = self._minutes[thing] = _Minute(now)
            minute.lines += 1
            is_written = minute.lines <= LINES
            minute.left_out += not is_written
        if left_out:
            self._logger.warning("%d lines like the next one were left out", left_out)
        if is_written:
            self._logger.warning(message, *values)
