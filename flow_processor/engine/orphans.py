"""Processes that a step's program leaves behind stay below the worker, so that who ends the worker finds them.

Only Linux can do that; elsewhere they go to the system's first process, and end with the worker's process group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

from flow_processor.process_tree import kill_descendants

_PR_SET_CHILD_SUBREAPER = 36
"""From linux/prctl.h."""


def adopt_orphans() -> None:
    """From now on a process whose parent ends, somewhere below this one, becomes this one's child."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans() -> None:
    """End what the steps of a run have left behind. Only between runs."""
    if sys.platform == "linux" and _has_children():
        kill_descendants(os.getpid())


def _has_children() -> bool:
    """Has this process any child, alive or not waited for yet? Asked after each run: a look into /proc costs more."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def reap_orphans() -> None:
    """Forget those that have ended. Only between runs: a step waits for its own children itself."""
    if sys.platform == "linux":
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
