"""A file on its way to its place: what `write_atomic` writes into. See docs/adr/0020-nameless-files.md."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

_NAMELESS = hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").is_dir()
"""Can this system make a file that has no name, and give it one later?"""
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class NewFile:
    """New content on its way to a place.

    Until it is whole it has no name, where the system can do that (Linux, on most file systems): then nothing of it
    stays if this process dies. Elsewhere it has a hidden one beside its place.
    """

    def __init__(self, name: str, folder: int | None, mode: int) -> None:
        """`name` in the open `folder`, or a whole path and None. Raises OSError."""
        self._name, self._folder = name, folder
        kept = name if len(os.fsencode(name)) <= 200 else "long"
        self._beside = str(Path(name).with_name(f".{Path(kept).name}.{secrets.token_hex(6)}.tmp"))
        self._is_beside = False
        descriptor = self._open_nameless(mode)
        if descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
            descriptor = os.open(self._beside, flags, mode, dir_fd=folder)
            self._is_beside = True
        self.file = os.fdopen(descriptor, "wb")

    def take_place(self) -> None:
        """Stand there instead of whatever does. Raises OSError."""
        if self._is_beside:
            self.file.close()  # Windows renames no open file
        else:
            try:
                self._link(self._name)
                return
            except FileExistsError:
                self._link(self._beside)
                self._is_beside = True
        os.replace(self._beside, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._is_beside = False

    def close(self) -> None:
        """Leave nothing behind that has not taken its place."""
        with contextlib.suppress(OSError):
            self.file.close()
        if self._is_beside:
            with contextlib.suppress(OSError):
                os.unlink(self._beside, dir_fd=self._folder)

    def _open_nameless(self, mode: int) -> int | None:
        if not _NAMELESS:
            return None
        flags = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC
        try:
            return os.open(Path(self._name).parent, flags, mode, dir_fd=self._folder)
        except OSError:  # this file system has none; whatever else it is, the other way tells
            return None

    def _link(self, name: str) -> None:
        opened = f"/proc/self/fd/{self.file.fileno()}"
        # Its folder counts for nothing; but without one Python would link to the entry in /proc itself.
        os.link(opened, name, src_dir_fd=self.file.fileno(), dst_dir_fd=self._folder)
