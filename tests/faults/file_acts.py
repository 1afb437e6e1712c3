"""What is killed in the middle: writing files and taking locks (see kill_points.py)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from flow_processor.clock import SystemClock
from flow_processor.locks import DataFolderLock, LockFile
from flow_processor.paths import write_atomic
from flow_processor.result_files import ResultFiles

NEW = b"new" * 30_000


def write_file(place: Path, idle: Callable[[], None]) -> None:
    """`file` is overwritten."""
    idle()
    write_atomic(place / "file", NEW)


def keep_result(place: Path, idle: Callable[[], None]) -> None:
    """A file that bears the name of the result is there once that is kept."""
    idle()
    name = ResultFiles(place / "results").keep("20261121T074006123-k7x2m7qa", '"' + "x" * 300_000 + '"')
    (place / name).touch()  # no call that is counted


def take_lock(place: Path, idle: Callable[[], None]) -> None:
    """A flow's lock, from its making to its end."""
    idle()
    lock = LockFile(place / "locks" / "sub" / "a.lock")
    assert lock.take()
    lock.describe({"flow": "sub/a.yml", "run_ids": ["x"], "pid": os.getpid()})
    lock.free(unlink=True)


def take_folder(place: Path, idle: Callable[[], None]) -> None:
    """A daemon's claim to its data folder."""
    idle()
    lock = DataFolderLock(place, clock=SystemClock())
    lock.acquire("serve", detail={"url": "http://127.0.0.1:1"})
    lock.release()
