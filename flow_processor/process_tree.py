"""A process and all that it has started: found through /proc, ended together.

A worker is the subreaper of what its steps start (engine/orphans.py), so that a process stays below it whose own
parent has ended, and one that has made a session of its own. What is left of a worker that died by itself is found
by a mark in its environment. Where there is no /proc, what remains is the worker's process group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 0.01
"""How often it is looked whether processes have ended."""

KILL_LOOKS = 200
"""Processes that so many kills do not end hang in the kernel; their parent is killed without them."""

WORKER_MARK = "OCTOSPOOL_WORKER"
"""In the environment of a worker, and so of all that it starts: its id."""

PROGRAM_MARK = "OCTOSPOOL_PROGRAM"
"""In the environment of a step's program, and so of all that it starts: what tells it from other programs."""

_STOPS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGQUIT") if hasattr(signal, name)]
"""What a service manager or a terminal sends to a whole group."""

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
    for process in _all():
        children[process.parent].append(process)
    below = list(children[pid])
    for process in below:  # it grows meanwhile
        below += children[process.pid]
    return [process for process in below if not process.has_ended]


def has_children(pid: int) -> bool:
    """Does anything live below the process? Looks at it alone, so it is quick."""
    names: set[str] = set()
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        try:
            names.update((task / "children").read_text().split())
        except OSError:  # the thread has ended, or this kernel does not tell
            return bool(descendants(pid))
    return any(found is not None and not found.has_ended for found in map(_read, map(int, names)))


def _all() -> list[Process]:
    names = [path.name for path in Path("/proc").glob("[0-9]*")]
    return [found for name in names if (found := _read(int(name))) is not None]


def _environment(pid: int) -> bytes:
    """What the process was given; empty for one that has ended or is somebody else's."""
    try:
        return b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def _read(pid: int) -> Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name stands in brackets and may hold any character.
    state, parent, *others = text[text.rindex(")") + 2 :].split()
    return Process(pid, int(parent), int(others[17]), state in _ENDED)


def leave_stops_to_the_daemon() -> None:
    """Have this process live on when its whole group is told to stop: the daemon ends its processes itself.

    Programs started here would inherit a signal that is ignored, and could not be asked to end; one that is handled
    they do not.
    """
    for number in _STOPS:
        signal.signal(number, lambda *_: None)


def ask_descendants(pid: int) -> None:
    """Ask all that a process has started to end."""
    for process in descendants(pid):
        _send(process, signal.SIGTERM)


def ask_process(pid: int) -> None:
    """Ask a process, and all that it has started, to end."""
    below = descendants(pid)
    # Itself first: a shell whose children end would go on behind its `wait`, past the trap that it has for this.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGTERM)
    for process in below:
        _send(process, signal.SIGTERM)


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
        kill_descendants(pid)
    kill_group(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)  # it may be so young that it has no group of its own yet


def kill_descendants(pid: int) -> None:
    """End all that a process has started, and not itself."""
    for _ in range(KILL_LOOKS):
        below = descendants(pid)
        if not below:
            return
        for process in below:
            _send(process, signal.SIGKILL)
        wait_for_end(pid, looks=1)


def kill_group(pid: int) -> None:
    """End every process of the group that this one leads, or has led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter for a zombie, on macOS
        os.killpg(pid, signal.SIGKILL)


def kill_strays(worker_ids: Collection[str]) -> None:
    """End what workers that died have left behind: found by the mark in its environment."""
    kill_marked({f"{WORKER_MARK}={worker_id}" for worker_id in worker_ids})


def kill_marked(variables: Collection[str]) -> None:
    """End every process that has one of these (`NAME=value`) in its environment."""
    marks = {variable.encode() for variable in variables}
    for _ in range(KILL_LOOKS if marks else 0):
        strays = [
            process for process in _all() if not marks.isdisjoint(_environment(process.pid).split(b"\0"))
        ]
        if not strays:
            return
        for process in strays:
            _send(process, signal.SIGKILL)
        threading.Event().wait(LOOK_SECONDS)


def wait_for_end(pid: int, *, looks: int) -> None:
    """Wait until nothing is left below the process, but no longer than so many looks take."""
    never = threading.Event()
    for _ in range(looks):
        # What the kernel tells quickly may miss a process that has just begun; a look at all is sure.
        if not has_children(pid) and not descendants(pid):
            return
        never.wait(LOOK_SECONDS)


def _send(process: Process, number: signal.Signals) -> None:
    """Signal the process that was found, and not one that has got its number since."""
    now = _read(process.pid)
    if now is not None and now.started == process.started:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)
