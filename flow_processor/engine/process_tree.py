"""A process and all that it has started: found through /proc, ended together.

A worker is the subreaper of what its steps start (engine/orphans.py), so that a process stays below it whose own
parent has ended, and one that has made a session of its own. Where there is no /proc, what remains is the worker's
process group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.01
"""How often it is looked whether processes have ended."""

KILL_LOOKS = 200
"""Processes that so many kills do not end hang in the kernel; their parent is killed without them."""

_ENDED = frozenset("ZX")
"""States of processes that have ended and that nobody has asked for yet."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process; the moment of its start tells it from a later one with its number."""

    pid: int
    parent: int
    started: int
    """In clock ticks since the machine's start."""
    has_ended: bool


def descendants(pid: int) -> list[Process]:
    """Every process below this one that has not ended, parents first; none where there is no /proc."""
    children: defaultdict[int, list[Process]] = defaultdict(list)
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and (found := _read(int(entry.name))) is not None:
                children[found.parent].append(found)
    below = list(children[pid])
    for process in below:  # it grows meanwhile
        below += children[process.pid]
    return [process for process in below if not process.has_ended]


def _read(pid: int) -> Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name stands in brackets and may hold any character.
    state, parent, *others = text[text.rindex(")") + 2 :].split()
    return Process(pid, int(parent), int(others[17]), state in _ENDED)


def end_process(pid: int, *, grace_seconds: float) -> None:
    """Ask all that a worker has started to end, then end whatever is left, and the worker.

    The worker itself takes no notice of being asked: a step of it that merely hangs is ended at once.
    """
    below = descendants(pid)
    if below:
        for process in below:
            _send(process, signal.SIGTERM)
        _wait_for_end(pid, looks=round(grace_seconds / LOOK_SECONDS))
    kill_process(pid)


def kill_process(pid: int) -> None:
    """End a worker and all that it has started, at once; nothing if it is gone already.

    Once this returns they have ended, or will before they run another instruction.
    """
    if sys.platform == "win32":
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        # Stopped it starts nothing more, and stays above those whose parents are killed before it.
        os.kill(pid, signal.SIGSTOP)
        for _ in range(KILL_LOOKS):
            below = descendants(pid)
            if not below:
                break
            for process in below:
                _send(process, signal.SIGKILL)
            _wait_for_end(pid, looks=1)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter for a zombie, on macOS
        os.killpg(pid, signal.SIGKILL)


def _wait_for_end(pid: int, *, looks: int) -> None:
    """Wait until nothing is left below the process, but no longer than so many looks take."""
    never = threading.Event()
    for _ in range(looks):
        if not descendants(pid):
            return
        never.wait(LOOK_SECONDS)


def _send(process: Process, number: signal.Signals) -> None:
    """Signal the process that was found, and not one that has got its number since."""
    now = _read(process.pid)
    if now is not None and now.started == process.started:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)
