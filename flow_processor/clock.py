"""The only place that reads the clock; everything else is given a `Clock`."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall clock, monotonic clock and waiting, so that tests can turn the hands."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back, for durations and deadlines."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for the event at most `seconds`; True if it was set."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for the event at most `seconds`; True if it was set."""
        return event.wait(seconds)


def to_text(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: `2026-11-21T07:40:06.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_epoch(seconds: float) -> datetime:
    """The moment that the store keeps as seconds since 1970, aware, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
