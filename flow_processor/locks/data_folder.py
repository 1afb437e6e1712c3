"""The lock of a data folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flow_processor.clock import Clock, SystemClock, to_text
from flow_processor.errors import DataFolderInUse, Unavailable
from flow_processor.locks.lock_file import LockFile
from flow_processor.paths import write_atomic

_TRIES = 100
"""How often, 2 ms apart, the lock must be found taken: a daemon that is just leaving gets that long."""


class DataFolderLock:
    """One process has a data folder at a time: the daemon, or a run in a terminal without one.

    The kernel lock stands on `daemon.lock`, which stays; `daemon.json` beside it tells who holds it.
    """

    def __init__(self, data_path: Path, *, clock: Clock | None = None):
        self._file = LockFile(data_path / "daemon.lock")
        self._content_path = data_path / "daemon.json"
        self._clock = clock or SystemClock()
        self._own: dict[str, Any] | None = None

    def acquire(self, kind: str, *, detail: Mapping[str, Any]) -> None:
        """Take the data folder as `kind` ('serve' or 'run'). Raises DataFolderInUse, which names the holder.

        `detail` is kept for others to read: `{"url": …}`.
        """
        if not self._take():
            other = self._content()
            who = f"{other.get('kind', 'another process')} (pid {other.get('pid', 'unknown')})"
            since = f", since {other['since']}" if "since" in other else ""
            url = f", at {other['url']}" if other.get("url") else ""
            raise DataFolderInUse(
                f"the data folder {self._file.path.parent} is in use by octospool {who}{since}{url}",
                details={"holder": other},
            )
        self._own = {"kind": kind, "pid": os.getpid(), "since": to_text(self._clock.now()), **detail}
        try:
            write_atomic(self._content_path, json.dumps(self._own).encode() + b"\n")
        except BaseException as error:
            self.release()
            if isinstance(error, OSError):
                message = f"nothing can be written in the data folder {self._file.path.parent}: {error}; make room, "
                raise Unavailable(f"{message}or make it writable", code="data_unwritable") from error
            raise

    def _take(self) -> bool:
        try:
            return self._file.take_within(_TRIES, self._clock)
        except OSError as error:
            raise Unavailable(f"cannot lock the data folder: {error}", code="data_unwritable") from error

    def release(self) -> None:
        """Give the folder back. Does nothing if it is not held."""
        if self._own is not None:
            self._own = None
            with contextlib.suppress(OSError):
                self._content_path.unlink()
            self._file.free(unlink=False)

    def holder(self) -> dict[str, Any] | None:
        """Who has the folder now: `{kind, pid, since, …}`; None if nobody (whatever a dead process wrote)."""
        if self._own is not None:
            return dict(self._own)
        if not self._file.is_taken():
            return None
        return self._content()

    def _content(self) -> dict[str, Any]:
        try:
            found = json.loads(self._content_path.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}
