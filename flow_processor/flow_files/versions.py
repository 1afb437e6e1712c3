"""Which version of one flow file is in force.

People edit files under a running daemon. A prefix of a YAML flow is often a valid flow by itself, so that a
file is valid does not mean that it was written to its end. Therefore a changed file replaces the version in
force only once it has settled: not modified for `SETTLE_SECONDS`, or read twice alike that far apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from flow_processor.clock import Clock
from flow_processor.errors import FlowNotFound, SpecError
from flow_processor.flow_files.folder import FlowFolder, Read, Stamp

SETTLE_SECONDS = 1.0
"""A writer that pauses longer is taken to have finished."""


@dataclass
class _Candidate:
    """A change that has not settled yet."""

    stamp: Stamp
    digest: bytes
    seen_at: float
    """Monotonic."""


T = TypeVar("T")
"""What the file is loaded as."""


class FileVersions(Generic[T]):
    """The content of one file as it is now, and the version of it that is in force. Not thread safe."""

    def __init__(self, name: str, folder: FlowFolder, clock: Clock, load: Callable[[bytes, str], T]):
        self._name = name
        self._folder = folder
        self._clock = clock
        self._load = load
        self._stamp: Stamp | None = None
        """Of the content that `_flow` or `_error` is about."""
        self._digest = b""
        self._is_steady = False
        self._flow: T | None = None
        self._error: SpecError | None = None
        self._in_force: T | None = None
        self._is_firm = False
        """False: the version in force was read before it had settled, so any other good one replaces it."""
        self._candidate: _Candidate | None = None
        self._missing_since: float | None = None

    @property
    def in_force(self) -> T | None:
        """The last good version; None before the first."""
        return self._in_force

    @property
    def is_settling(self) -> bool:
        """True while a change waits to be taken over."""
        return self._candidate is not None or self._missing_since is not None

    @property
    def is_right(self) -> bool:
        """Is the file, as it is now, a good one?"""
        return self._flow is not None

    def look_again(self) -> None:
        """What the file may use has changed, so it may have become right, or wrong."""
        self._flow = self._error = self._stamp = None

    def current(self) -> T:
        """The file as it is now. Raises FlowNotFound, SpecError, InvalidRequest."""
        self._refresh()
        if self._is_settled():
            self._take_over()
        if self._flow is None:
            raise self._error.with_traceback(None) if self._error else self._folder.not_found(self._name)
        return self._flow

    def launchable(self) -> T:
        """The version in force. Raises FlowNotFound, and SpecError if there has never been a good one."""
        try:
            self._refresh()
        except FlowNotFound:
            if self._in_force is None or not self._is_just_missing():
                self._in_force = self._candidate = self._missing_since = None
                raise
            return self._in_force
        except SpecError:  # cannot be read just now
            if self._in_force is None:
                raise
            return self._in_force
        self._missing_since = None
        if self._is_settled():
            self._take_over()
        elif self._flow is not None and not self._is_firm:
            self._in_force = self._flow
        return self._in_force or self.current()

    def take_now(self, content: bytes, loaded: T | None) -> None:
        """Take the file as it lies there: whoever wrote it is known to have finished.

        `loaded` is what `content` is loaded as, so that this is not done twice; None: not known. Raises FlowNotFound,
        SpecError (`file_unreadable`).
        """
        self._missing_since = None
        if loaded is not None:
            self._digest, self._flow, self._error = hashlib.sha256(content).digest(), loaded, None
            self._stamp = None
        self._refresh()
        self._take_over()

    def _take_over(self) -> None:
        """The change has settled; if it is good, it is in force from now on."""
        self._candidate = None
        if self._flow is not None:
            self._in_force, self._is_firm = self._flow, True

    def _refresh(self) -> None:
        stamp = self._folder.stamp(self._name)
        if stamp is not None and stamp == self._stamp and self._is_steady and self._candidate is None:
            return
        read = self._folder.read(self._name)
        digest = hashlib.sha256(read.raw).digest()
        self._note(read, digest)
        if digest == self._digest and (self._flow or self._error):
            return
        self._digest = digest
        self._flow = self._error = None
        try:
            self._flow = self._load(read.raw, self._name)
        except SpecError as error:
            self._error = error

    def _note(self, read: Read, digest: bytes) -> None:
        self._stamp, self._is_steady = read.stamp, read.is_steady
        same = self._candidate and (self._candidate.stamp, self._candidate.digest) == (read.stamp, digest)
        if not same:
            self._candidate = _Candidate(read.stamp, digest, self._clock.monotonic())

    def _is_settled(self) -> bool:
        if not self._is_steady:
            return False
        if self._candidate is None or self._is_old():
            return True
        return self._clock.monotonic() - self._candidate.seen_at >= SETTLE_SECONDS

    def _is_old(self) -> bool:
        """Was the file last modified long enough ago? A time in the future tells nothing."""
        if self._stamp is None:
            return False
        age = self._clock.now().timestamp() - self._stamp.mtime_ns / 1e9
        return age >= SETTLE_SECONDS

    def _is_just_missing(self) -> bool:
        """Editors remove a file for a moment when they save it."""
        changed_at = self._folder.parent_changed_at(self._name)
        if changed_at is None or self._clock.now().timestamp() - changed_at >= SETTLE_SECONDS:
            return False
        now = self._clock.monotonic()
        self._missing_since = now if self._missing_since is None else self._missing_since
        return now - self._missing_since < SETTLE_SECONDS
