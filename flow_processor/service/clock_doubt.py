"""Can the wall clock be believed? What is deleted because of a clock that was wrong for a moment never comes back."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from flow_processor.clock import Clock

logger = logging.getLogger("octospool.service")

JUMP = timedelta(days=1)
"""So far the wall clock may go ahead of the time that really passes."""

SILENCE = timedelta(days=7)
"""So long ago the newest run may be at a start; where it is older, the clock may be wrong since the machine is on."""

DOUBT_SECONDS = 86_400.0
"""A clock that has jumped is believed after so long: somebody, or the network, had time to put it right."""


class ClockDoubt:
    """Doubts a clock that has jumped ahead, for a day. One that really slept for so long has only to wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = (clock.now(), clock.monotonic())
        self._over_at = clock.monotonic()

    def begin(self, newest: datetime | None) -> None:
        """The daemon has started; `newest` is when its newest run was accepted, None if there is none."""
        if newest is not None and self._clock.now() - newest > SILENCE:
            self._doubt(
                f"the newest run is of {newest:%Y-%m-%d}, {(self._clock.now() - newest).days} days ago"
            )

    def is_over(self) -> bool:
        """Is there nothing to doubt (any more)?"""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        ahead = now - self._since[0] - timedelta(seconds=monotonic - self._since[1])
        if abs(ahead) > JUMP:
            self._since = (now, monotonic)
            self._doubt(
                f"the clock has jumped by {ahead.total_seconds() / 86_400:.0f} days, to {now:%Y-%m-%d}"
            )
        return monotonic >= self._over_at

    def _doubt(self, why: str) -> None:
        self._over_at = self._clock.monotonic() + DOUBT_SECONDS
        logger.warning("%s: for a day nothing is deleted because of its age; is the clock right?", why)
