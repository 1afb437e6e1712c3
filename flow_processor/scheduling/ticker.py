"""The thread that looks at the clock: the `schedule` library turns, and sleeps no longer than needed."""

from __future__ import annotations

import logging
from collections.abc import Callable

import schedule

from flow_processor.clock import Clock
from flow_processor.turning import TurningThread

logger = logging.getLogger("octospool.scheduler")

LONGEST_PAUSE_SECONDS = 1.0
"""At least so often the wall clock is read again: after sleep or a change of the clock it may be any time."""


class _EachTurn(schedule.Job):
    """An entry of `schedule` that is due at each turn.

    The library's own entries compare naive local time: on a host in Berlin they stand still for an hour each
    autumn, and for as long as a clock was set back. When to turn is decided by the pauses of the thread.
    """

    @property
    def should_run(self) -> bool:
        """Always."""
        return True

    def _schedule_next_run(self) -> None:
        """Nothing to plan."""


class Ticker:
    """Calls `tick` in a thread of its own: at once, after each `wake`, and after each pause."""

    def __init__(self, tick: Callable[[], None], *, pause: Callable[[], float], clock: Clock):
        """`pause` says how many seconds may pass until the next tick; asked after each tick."""
        turns = schedule.Scheduler()
        _EachTurn(1, turns).do(tick)
        self._thread = TurningThread(
            turns.run_pending,
            name="scheduler",
            pause=lambda: min(max(pause(), 0.0), LONGEST_PAUSE_SECONDS),
            clock=clock,
            logger=logger,
            failed="a look at the clock failed",
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Tick as soon as possible."""
        self._thread.wake()

    def stop(self) -> None:
        """End the thread; waits for a tick that is under way."""
        self._thread.stop()
