"""kill -9 at every single writing call: old or new, never half, and nothing confirmed is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from flow_processor.clock import SystemClock
from flow_processor.locks import DataFolderLock, LockFile
from flow_processor.result_files import ResultFiles
from tests.faults.kill_points import NEW, OLD, sweep

RUN_ID = "20261121T074006123-k7x2m7qa"


def test_a_file_is_the_old_or_the_new_one_at_every_point(tmp_path: Path) -> None:
    """4, 61: also in the middle of a long write."""
    found = [(place / "file").read_bytes() for place in sweep(tmp_path, "write_atomic")]
    assert set(found) == {OLD, NEW}
    assert found == sorted(found, key=lambda content: content == NEW), "new and then old again"


def test_a_large_result_is_there_whole_or_not_named_at_every_point(tmp_path: Path) -> None:
    """4, 61."""
    for place in sweep(tmp_path, "keep_result"):
        for name in place.glob("*.json"):
            assert ResultFiles(place / "results").load(RUN_ID, name.name) == "x" * 300_000


def test_a_lock_is_free_again_at_every_point(tmp_path: Path) -> None:
    """2, 4: whatever the dead holder has written into its file, or not."""
    for place in sweep(tmp_path, "take_lock"):
        lock = LockFile(place / "locks" / "sub" / "a.lock")
        assert isinstance(lock.content(), dict)
        assert lock.take()
        lock.free(unlink=True)


def test_a_data_folder_is_free_again_at_every_point(tmp_path: Path) -> None:
    """4, 7."""
    for place in sweep(tmp_path, "take_folder"):
        lock = DataFolderLock(place, clock=SystemClock())
        assert lock.holder() is None
        lock.acquire("serve", detail={})
        lock.release()


def test_a_transaction_is_whole_or_not_there_at_every_point(tmp_path: Path) -> None:
    """4: and what was confirmed is there."""
    for place in sweep(tmp_path, "commit"):
        with closing(sqlite3.connect(place / "octospool.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            keys = {key for (key,) in connection.execute("SELECT key FROM meta")} - {"schema_version"}
        for name in ("one", "two"):
            half = keys & {f"{name}a", f"{name}b"}
            assert len(half) in (0, 2), f"half a transaction at point {place.name}"
            assert half or not (place / name).exists(), f"confirmed and lost at point {place.name}"
