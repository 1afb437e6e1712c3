"""One lock file: the kernel's lock on the open file counts, the content only tells people who holds it.

The kernel frees the lock when its process dies. A lock file is unlinked *while* its lock is held, and whoever
gets a lock checks that his file still has a name: so no two processes ever hold two files of one name.

The lock belongs to the open descriptor, and a forked child would share it. Python closes descriptors on exec,
so workers must be started by spawn or forkserver, never by plain fork.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import lock_descriptor, unlock_descriptor

from flow_processor.clock import Clock
from flow_processor.errors import OctospoolError

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FLAGS = _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class LockInvalid(OctospoolError):
    """Something other than a lock file stands at its place: a symlink, a hard link, a folder."""

    code = "lock_invalid"


class LockFile:
    """One lock file. Not safe between threads; its owner takes care of that."""

    def __init__(self, path: Path):
        self.path = path
        self._descriptor: int | None = None

    def take(self, *, create: bool = True) -> bool:
        """Try to get the kernel lock; False if another one has it, or `create` is False and there is no file.

        Raises LockInvalid if something other than a lock file stands there, or OSError.
        """
        while True:
            descriptor = self._open(create=create)
            if descriptor is None:
                return False
            try:
                if not lock_descriptor(descriptor, blocking=False):
                    os.close(descriptor)
                    return False
                links = os.fstat(descriptor).st_nlink
            except BaseException:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
                raise
            if links:
                self._descriptor = descriptor
                return True
            # Its last holder unlinked it between our open and our lock: this lock guards no name. Once more.
            os.close(descriptor)

    def take_within(self, tries: int, clock: Clock) -> bool:
        """Like `take`, but believes that it is taken only after so many tries, 2 ms apart.

        Somebody who merely looks whether the lock is free (`is_taken`) has it for an instant.
        """
        never = threading.Event()
        for attempt in range(tries):
            if attempt:
                clock.wait(never, 0.002)
            if self.take():
                return True
        return False

    def is_taken(self) -> bool:
        """Does somebody hold the kernel lock, through another descriptor than ours? Leaves the file."""
        try:
            if not self.take(create=False):
                return self.path.exists()
        except LockInvalid:
            return False
        self.free(unlink=False)
        return False

    def _open(self, *, create: bool) -> int | None:
        if not _NOFOLLOW and self.path.is_symlink():
            raise self._invalid("a symlink")
        flags = _FLAGS | os.O_RDWR | (os.O_CREAT if create else 0)
        try:
            descriptor = os.open(self.path, flags, 0o644)
        except FileNotFoundError:
            if not create:
                return None
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, flags, 0o644)
        except OSError as error:
            if error.errno == errno.EISDIR:
                raise self._invalid("a folder") from error
            if self.path.is_symlink():
                raise self._invalid("a symlink") from error
            raise
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(descriptor)
            raise self._invalid("a hard link" if stat.S_ISREG(found.st_mode) else "not a regular file")
        return descriptor

    def _invalid(self, what: str) -> LockInvalid:
        return LockInvalid(
            f"lock file {self.path.name} is {what}; it is not touched. Remove it by hand",
            details={"filename": self.path.name},
        )

    def describe(self, content: Mapping[str, Any]) -> None:
        """Write who holds the lock. Advisory, so it is not synced. The lock must be held."""
        assert self._descriptor is not None  # noqa: S101  a slip of the caller, not of a user
        # The leading blank: Windows locks the first byte against readers, so readers begin at the second.
        text = b" " + json.dumps(content).encode()
        # Padded, not truncated: ext4 writes a truncated file out when it is closed (150 us instead of 15).
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, text.ljust(os.fstat(self._descriptor).st_size))

    def content(self) -> dict[str, Any]:
        """What the holder has written; empty if there is nothing readable."""
        try:
            descriptor = os.open(self.path, _FLAGS | os.O_RDONLY)
        except OSError:
            return {}
        try:
            os.lseek(descriptor, 1, os.SEEK_SET)
            found = json.loads(os.read(descriptor, 1 << 20))
        except (OSError, ValueError):
            return {}
        finally:
            os.close(descriptor)
        return found if isinstance(found, dict) else {}

    def free(self, *, unlink: bool) -> None:
        """Give the lock back, and remove the file unless it is another one by now."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            if unlink and sys.platform != "win32":
                self._unlink_own(descriptor)
            unlock_descriptor(descriptor)
        finally:
            os.close(descriptor)
        if unlink and sys.platform == "win32":
            # An open file cannot be removed there: this fails, as it should, once another one has opened it.
            with contextlib.suppress(OSError):
                self.path.unlink()

    def _unlink_own(self, descriptor: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(self.path.lstat(), os.fstat(descriptor)):
                self.path.unlink()
