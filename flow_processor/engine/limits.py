"""Limits that the kernel holds a worker to. Where the system has none (Windows), the daemon's time limits and
kills are what remains."""

from __future__ import annotations

import sys

CPU_MARGIN_SECONDS = 30.0
"""Processor time beyond the run's own time limit before the kernel ends a worker that nobody else ends."""


def limit_memory(megabytes: int) -> None:
    """Limit the process's address space; allocations beyond it fail. 0: no limit."""
    if sys.platform == "win32" or not megabytes:
        return
    import resource

    size = megabytes * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def limit_cpu(seconds: float | None) -> None:
    """Allow so many seconds of processor time from now on, and a margin; None: no limit.

    The last resort against an expression that holds the interpreter after its daemon has died: nothing inside
    the process can stop it then, and nobody outside does.
    """
    if sys.platform == "win32":
        return
    import resource

    if seconds is None:
        soft = resource.RLIM_INFINITY
    else:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(usage.ru_utime + usage.ru_stime + seconds + CPU_MARGIN_SECONDS) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
