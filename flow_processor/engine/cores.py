"""Which processor cores the daemon and its workers use (docs/adr/0004-one-core-for-the-daemon.md), and who goes first
where there are too few (docs/adr/0019-workers-give-way.md)."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

NICENESS = 5
"""By so much workers, and the programs of their steps, are nicer than the daemon: it gets three times their share."""


TRIES = 50
"""So often a worker tries to make its session nice: many start together."""


def keep_to_one_core() -> tuple[int, ...]:
    """Keep this thread, and the threads that it starts, on one core; returns those it had (empty: no change).

    The daemon's threads take turns anyway, because they share one interpreter lock. On one core they hand it on
    by a switch; between cores each hand-over wakes another core up, which costs more than the core brings.
    """
    if sys.platform != "linux":
        return ()
    cores = tuple(sorted(os.sched_getaffinity(0)))
    if len(cores) < 2:
        return ()
    try:
        os.sched_setaffinity(0, {random.choice(cores)})  # noqa: S311  several daemons should not meet on the first
    except OSError:  # a sandbox that forbids it; it was for speed only
        return ()
    return cores


def give_way() -> None:
    """Let the daemon go first from now on. The process must have a session of its own."""
    if sys.platform == "win32":
        return
    os.nice(NICENESS)
    if sys.platform == "linux" and not _make_session_nice():
        threading.Thread(target=_go_on_trying, name="give-way", daemon=True).start()


def _make_session_nice() -> bool:
    """Where the kernel shares the processor among sessions first, it is the session's niceness that counts. False where
    it is to be tried again: who is not root may say so ten times in a second, all processes together."""
    try:
        Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")
    except BlockingIOError:
        return False
    except OSError:  # there is no such thing here
        return True
    return True


def _go_on_trying() -> None:
    never = threading.Event()
    for _ in range(TRIES):
        never.wait(random.uniform(0.05, 0.3))  # noqa: S311  workers that start together should not meet again
        if _make_session_nice():
            return


def use_cores(cores: Sequence[int]) -> None:
    """Let this process use these cores, whatever its parent keeps to; none named: no change."""
    if cores and sys.platform == "linux":
        with contextlib.suppress(OSError):  # they may have been taken away since; then the parent's will do
            os.sched_setaffinity(0, cores)
