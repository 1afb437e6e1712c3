"""The locks of flows: one lock file each, below LOCK_PATH, under the flow's own path."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from flow_processor.clock import Clock, to_text
from flow_processor.errors import DiskFull, PathRefused, Unavailable
from flow_processor.locks.lock_file import LockFile, LockInvalid
from flow_processor.paths import components, inside

_TRIES = 10
"""How often, 2 ms apart, a lock of another process must be found taken to count as held."""


@dataclass(frozen=True)
class HeldLock:
    """A lock that is held, as the API shows it."""

    filename: str
    """The lock file below LOCK_PATH: `sub/flow1.lock`."""
    flow: str
    """The flow it guards: `sub/flow1.yml`."""
    since: datetime
    """Aware, UTC."""
    run_id: str
    """The run that holds it; 'unknown' if another process holds it and does not say."""


@dataclass
class _Held:
    file: LockFile
    flow: str
    runs: dict[str, datetime] = field(default_factory=dict)
    """Since when, by run id, in the order in which they came."""


def lock_name(flow: str) -> str:
    """The lock file of a flow: `sub/flow1.yml` → `sub/flow1.lock`; other suffixes stay (`a.yaml.lock`)."""
    return flow.removesuffix(".yml") + ".lock"


class FlowLocks:
    """The lock files of all flows. Safe between threads and between processes."""

    def __init__(self, folder: Path, clock: Clock):
        self._folder = folder
        self._clock = clock
        self._mutex = threading.Lock()
        self._held: dict[str, _Held] = {}

    def acquire(self, flow: str, run_id: str, limit: int = 1) -> str | None:
        """Take the flow's lock for a run: None when taken, else the id of a run that holds it.

        `limit` runs of one process may share it. Taking it twice for one run does nothing the second time.
        Raises LockInvalid, PathRefused, DiskFull, or Unavailable `lock_unavailable`.
        """
        name = lock_name(flow)
        with self._mutex, _explained(name):
            held = self._held.get(name)
            if held is None:
                file = LockFile(self._path(name))
                if not file.take_within(_TRIES, self._clock):
                    return _run_id(file.content())
                held = _Held(file, flow)
            elif run_id in held.runs:
                return None
            elif len(held.runs) >= limit:
                return next(iter(held.runs))
            held.runs[run_id] = self._clock.now()
            try:
                _describe(held)
            except OSError:
                del held.runs[run_id]
                if not held.runs:
                    held.file.free(unlink=True)
                raise
            self._held[name] = held
            return None

    def release(self, flow: str, run_id: str) -> None:
        """Give the lock back. Does nothing if the run does not hold it (any more)."""
        with self._mutex:
            held = self._held.get(lock_name(flow))
            if held is None or held.runs.pop(run_id, None) is None:
                return
            if held.runs:
                with contextlib.suppress(OSError):  # the content is advisory; the lock itself stays right
                    _describe(held)
            else:
                del self._held[lock_name(flow)]
                held.file.free(unlink=True)

    def held(self) -> list[HeldLock]:
        """Every lock that is held, by this process or another one, sorted by file name."""
        with self._mutex:
            own = [
                HeldLock(name, held.flow, since, run_id)
                for name, held in self._held.items()
                for run_id, since in held.runs.items()
            ]
            foreign = [_foreign(name, file) for name, file in self._others() if file.is_taken()]
        return sorted([*own, *foreign], key=lambda lock: (lock.filename, lock.since))

    def remove(self, name: str) -> bool:
        """Take a lock away from its holder: `flow1`, `flow1.yml` and `flow1.lock` name it. False if none.

        The run goes on, and another one may start; the first one's `release` does nothing then.
        """
        wanted = PurePosixPath(name.replace("\\", "/").strip("/")).as_posix().removesuffix(".lock")
        with self._mutex:
            return any(self._remove(lock_name(flow)) for flow in (wanted, f"{wanted}.yaml"))

    def remove_all(self) -> list[str]:
        """Take every lock away; the flows that they guarded."""
        removed = sorted({lock.flow for lock in self.held()})
        for flow in removed:
            self.remove(flow)
        return removed

    def clear_stale(self) -> list[str]:
        """Remove the files whose kernel lock is free: a dead process left them. Their names, for the log."""
        cleared = []
        with self._mutex:
            for name, file in self._others():
                with contextlib.suppress(LockInvalid):  # a symlink stays; `acquire` tells
                    if file.take(create=False):
                        file.free(unlink=True)
                        cleared.append(name)
        return sorted(cleared)

    def _remove(self, name: str) -> bool:
        held = self._held.pop(name, None)
        if held is not None:
            held.file.free(unlink=True)
            return True
        try:
            path = self._path(name)
        except PathRefused:
            return False
        if not os.path.lexists(path):
            return False
        if path.is_symlink():
            path.unlink()
            return True
        file = LockFile(path)
        if not file.is_taken():
            return False
        # Another process has it. Its kernel lock cannot be broken, but a new file of that name can be locked.
        path.unlink(missing_ok=True)
        return True

    def _path(self, name: str) -> Path:
        *parents, last = components(name, what="lock file")
        # The lock file itself is opened without following symlinks; only its folders need to be resolved.
        return (inside(self._folder, "/".join(parents), what="lock file") if parents else self._folder) / last

    def _others(self) -> Iterator[tuple[str, LockFile]]:
        """Lock files on disk that this process does not hold."""
        for path in sorted(self._folder.rglob("*.lock")):
            name = path.relative_to(self._folder).as_posix()
            if name not in self._held and path.is_file() and not path.is_symlink():
                yield name, LockFile(path)


def _describe(held: _Held) -> None:
    since = next(iter(held.runs.values()))
    held.file.describe(
        {"flow": held.flow, "run_ids": [*held.runs], "pid": os.getpid(), "since": to_text(since)}
    )


def _run_id(content: Mapping[str, Any]) -> str:
    run_ids = content.get("run_ids")
    return str(run_ids[0]) if isinstance(run_ids, list) and run_ids else "unknown"


def _foreign(name: str, file: LockFile) -> HeldLock:
    content = file.content()
    try:
        since = datetime.fromisoformat(str(content.get("since")))
    except ValueError:
        since = datetime.fromtimestamp(file.path.stat().st_mtime, UTC)
    flow = str(content.get("flow") or name.removesuffix(".lock") + ".yml")
    return HeldLock(name, flow, since, _run_id(content))


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space left for the lock file {name}") from error
        raise Unavailable(f"lock file {name}: {error}", code="lock_unavailable") from error
