"""Time that has to pass because the fault takes time: a process that stands still, a daemon that is away."""

from __future__ import annotations

import time

from tests.engine.world import until


def let_pass(seconds: float) -> None:
    """Return that much later."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() >= end, "time passes", seconds=seconds + 60)
