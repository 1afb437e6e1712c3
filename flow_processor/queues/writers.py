"""Is a file still being written?"""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", "~")
"""Ends of names that programs give to what they have not finished."""


def is_unfinished(name: str) -> bool:
    """Does the file's name say that somebody still writes it? Hidden files count as such."""
    return name.startswith(".") or name.endswith(_UNFINISHED)


def is_being_written(path: str | Path, *, folder: int | None = None) -> bool | None:
    """Has somebody the file open for writing now? None where that cannot be told.

    Linux tells at once: it grants a read lease only for a file that nobody has open for writing. Other systems, file
    systems without leases (many of other machines) and files of other users do not. `folder`: an open folder that
    `path` is relative to. Raises OSError where the file cannot be opened; no symlink is followed.
    """
    flags = (
        os.O_RDONLY
        | getattr(os, "O_NOFOLLOW", 0)
        | getattr(os, "O_NONBLOCK", 0)
        | getattr(os, "O_CLOEXEC", 0)
    )
    descriptor = os.open(path, flags, dir_fd=folder)
    try:
        return has_writer(descriptor)
    finally:
        os.close(descriptor)  # gives the lease back


def has_writer(descriptor: int) -> bool | None:
    """As `is_being_written`, of a file that is open for reading."""
    if fcntl is None or not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        # Who opens the file for writing meanwhile waits until the lease is given back, and we are sent a signal: one
        # that is ignored where nobody asks for it, for the usual SIGIO would end this process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    return False
