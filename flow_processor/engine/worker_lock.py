"""A worker's lock file: that the worker lives, and which run it has. The next daemon reads it."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from flow_processor.clock import Clock
from flow_processor.engine.order import CLOSING_SECONDS, RunOrder
from flow_processor.engine.undelivered import Undelivered
from flow_processor.locks import LockFile


class WorkerLock:
    """Held as long as the worker lives. Thread safe."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._file = LockFile(path)
        self._clock = clock
        self._describing = threading.Lock()
        self._is_leaving = False
        self.must_end_by = 0.0
        """When whoever waits for this worker gives up, in seconds since 1970."""

    def take(self) -> None:
        """Take it."""
        self._file.take()

    def describe(self, order: RunOrder) -> None:
        """Say which run this worker has, and until when at most."""
        self.must_end_by = self._clock.now().timestamp() + (order.timeout_seconds or 0.0) + CLOSING_SECONDS
        content = {"pid": os.getpid(), "run_id": order.run_id, "must_end_by": self.must_end_by}
        # It is for the next daemon; a disk that is full now must not cost the run.
        with self._describing, contextlib.suppress(OSError):
            self._file.describe(content)

    def describe_idle(self, undelivered: Undelivered) -> None:
        """Name no run any more, once nothing of the last one is left here: another worker may have it by now."""
        with self._describing, contextlib.suppress(OSError):
            if undelivered.is_idle and not self._is_leaving:
                self._file.describe({"pid": os.getpid()})

    def leave(self, *, nothing_left: bool) -> None:
        """Say nothing more. The file stays, and says that the worker died, unless nothing is left of its runs."""
        with self._describing:
            self._is_leaving = True
            if nothing_left:
                self._file.free(unlink=True)
