"""kill -9 at every single writing call: old or new, never half, and nothing confirmed is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flow_processor.clock import SystemClock
from flow_processor.locks import DataFolderLock, LockFile
from flow_processor.result_files import ResultFiles
from flow_processor.store import Store
from flow_processor.store.flow_edits import EditKind
from tests.faults import one_off
from tests.faults.edit_acts import flow_edits, flow_text
from tests.faults.file_acts import NEW
from tests.faults.kill_points import OLD, sweep

RUN_ID = "20261121T074006123-k7x2m7qa"


def test_a_file_is_the_old_or_the_new_one_at_every_point(tmp_path: Path) -> None:
    """4, 61: also in the middle of a long write."""
    places = sweep(tmp_path, "file_acts.write_file")
    assert {(place / "file").read_bytes() for place in places} == {OLD, NEW}
    by_call = {place.name: (place / "file").read_bytes() for place in places}
    # The name changes at the rename, and is synced after it.
    assert (by_call["write-001"], by_call["fsync-001"], by_call["rename-001"]) == (OLD, OLD, OLD)
    assert by_call["fsync-002"] == NEW


def test_a_large_result_is_there_whole_or_not_named_at_every_point(tmp_path: Path) -> None:
    """4, 61."""
    for place in sweep(tmp_path, "file_acts.keep_result"):
        for name in place.glob("*.json"):
            assert ResultFiles(place / "results").load(RUN_ID, name.name) == "x" * 300_000
        assert not [*place.rglob("*.tmp")], place.name


def test_a_lock_is_free_again_at_every_point(tmp_path: Path) -> None:
    """2, 4: whatever the dead holder has written into its file, or not."""
    for place in sweep(tmp_path, "file_acts.take_lock"):
        lock = LockFile(place / "locks" / "sub" / "a.lock")
        assert isinstance(lock.content(), dict)
        assert lock.take()
        lock.free(unlink=True)


def test_a_data_folder_is_free_again_at_every_point(tmp_path: Path) -> None:
    """4, 7."""
    for place in sweep(tmp_path, "file_acts.take_folder"):
        lock = DataFolderLock(place, clock=SystemClock())
        assert lock.holder() is None
        lock.acquire("serve", detail={})
        lock.release()


@pytest.mark.parametrize(
    ("act", "kinds"),
    [
        ("edit_acts.edit_flow", ("write", "fchmod", "fsync", "rename")),
        ("edit_acts.record_flow_edit", ("write", "fdatasync")),
    ],
)
def test_a_flow_file_is_the_old_or_the_new_one_and_its_author_known_at_every_point(
    tmp_path: Path, act: str, kinds: tuple[str, ...]
) -> None:
    """4: whether the file or its record is being written. The next start settles which of them counts."""
    (tmp_path / "a.yml").write_bytes(flow_text(1))
    Store(f"sqlite:///{tmp_path / 'octospool.db'}").close()
    found = []
    for place in sweep(tmp_path / "points", act, kinds):
        content = (place / "flows" / "a.yml").read_bytes()
        found.append(content)
        store = Store(f"sqlite:///{place / 'octospool.db'}")
        edits = flow_edits(place, store)
        edits.settle()
        kept = [(edit.kind, edit.by, edit.content) for edit in edits.versions("a.yml")]
        store.close()
        by_hand = (EditKind.FOUND, None, flow_text(1))
        if content == flow_text(2):
            assert kept == [(EditKind.WRITTEN, "ada", flow_text(2)), by_hand], place.name
        else:
            assert not (place / "answered").exists()
            assert kept in ([], [by_hand]), place.name
        assert [file.name for file in (place / "flows").glob("[!.]*")] == ["a.yml"]
    assert set(found) == {flow_text(1), flow_text(2)}


def test_a_one_off_schedule_fires_exactly_once_at_every_point(tmp_path: Path) -> None:
    """4: the next daemons fire it if the killed one has not."""
    store = Store(f"sqlite:///{tmp_path / 'octospool.db'}")
    one_off.add_one_off(store)
    store.close()
    before = []
    for place in sweep(tmp_path / "points", "one_off.fire_once", ("write", "pwrite64", "fdatasync")):
        before.append(one_off.counts(place / "octospool.db"))
        assert before[-1] == (1, 1) or not (place / "fired").exists()
        for _ in range(2):
            store = Store(f"sqlite:///{place / 'octospool.db'}")
            scheduler = one_off.scheduler(store)
            scheduler.tick()
            scheduler.tick()
            scheduler.stop()
            store.close()
            assert one_off.counts(place / "octospool.db") == (1, 1), place.name
    assert set(before) == {(0, 0), (1, 1)}


def test_a_transaction_is_whole_or_not_there_at_every_point(tmp_path: Path) -> None:
    """4: and what was confirmed is there."""
    Store(f"sqlite:///{tmp_path / 'octospool.db'}").close()
    for place in sweep(tmp_path / "points", "store_acts.commit", ("write", "pwrite64", "fdatasync")):
        with closing(sqlite3.connect(place / "octospool.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            keys = {key for (key,) in connection.execute("SELECT key FROM meta")} - {"schema_version"}
        for name in ("one", "two"):
            half = keys & {f"{name}a", f"{name}b"}
            assert len(half) in (0, 2), f"half a transaction at point {place.name}"
            assert half or not (place / name).exists(), f"confirmed and lost at point {place.name}"
