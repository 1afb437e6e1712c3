"""The one writer: groups, failures that harm nobody else, and a store that cannot be written for a while."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, insert, select
from sqlalchemy.exc import OperationalError

from flow_processor.errors import DiskFull, StoreUnavailable
from flow_processor.store import Store, writer
from flow_processor.store.database import CommitUnknown
from flow_processor.store.tables import meta

WAIT_SECONDS = 10.0


def put(key: str, value: str = "") -> object:
    """An operation that keeps a value."""

    def operation(connection: Connection) -> str:
        connection.execute(insert(meta).values(key=key, value=value))
        return key

    return operation


def kept(store: Store) -> set[str]:
    """The keys that a reader sees."""
    with store.engine.connect() as connection:
        return set(connection.scalars(select(meta.c.key))) - {"schema_version"}


class Gate:
    """An operation that holds the writer up until the test has queued what it wants in one group."""

    def __init__(self, store: Store) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()
        self.future = store.writer.submit(self._hold)
        assert self.entered.wait(WAIT_SECONDS)

    def _hold(self, connection: Connection) -> None:
        self.entered.set()
        assert self.leave.wait(WAIT_SECONDS)

    def open(self) -> None:
        self.leave.set()
        self.future.result(WAIT_SECONDS)


def results(futures: list[Future[str]]) -> list[str]:
    return [future.result(WAIT_SECONDS) for future in futures]


def test_who_stops_is_not_held_up_by_a_commit_that_nobody_can_be_asked_about(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database went away in the middle of it. What must not be lost is done when it is back."""
    asked = threading.Event()

    def is_away() -> bool:
        asked.set()
        raise OSError("away")

    gate = Gate(store)
    futures = [store.writer.submit(put("a")), store.writer.submit(put("b"), keep=True)]
    real = writer.writing

    @contextmanager
    def breaks(engine: Engine) -> Iterator[Connection]:
        monkeypatch.setattr(writer, "writing", real)
        with engine.connect():
            raise CommitUnknown(is_away)
        yield

    monkeypatch.setattr(writer, "writing", breaks)
    gate.open()
    assert asked.wait(WAIT_SECONDS)
    store.writer.hurry(0)
    with pytest.raises(StoreUnavailable):
        futures[0].result(WAIT_SECONDS)
    assert futures[1].result(WAIT_SECONDS) == "b"
    assert kept(store) == {"b"}


def test_what_run_has_returned_is_committed(store: Store) -> None:
    assert store.writer.run(put("a")) == "a"
    assert kept(store) == {"a"}


def test_operations_that_wait_share_one_commit(store: Store) -> None:
    commits = []
    event.listen(store.engine, "commit", commits.append)
    gate = Gate(store)
    futures = [store.writer.submit(put(f"k{number}")) for number in range(100)]
    before = len(commits)
    gate.open()
    assert results(futures) == [f"k{number}" for number in range(100)]
    assert len(commits) - before == 2  # the gate's own, and one for all hundred
    assert len(kept(store)) == 100


def test_one_failing_operation_does_not_harm_its_neighbours(store: Store) -> None:
    """Neither those before it nor those behind it, and its own half work is undone."""

    def half(connection: Connection) -> str:
        connection.execute(insert(meta).values(key="half", value=""))
        raise LookupError("in the middle")

    gate = Gate(store)
    before, failing, after = (store.writer.submit(one) for one in (put("before"), half, put("after")))
    gate.open()
    assert results([before, after]) == ["before", "after"]
    with pytest.raises(LookupError, match="in the middle"):
        failing.result(WAIT_SECONDS)
    assert kept(store) == {"before", "after"}


def test_a_violated_key_is_its_own_operations_failure(store: Store) -> None:
    store.writer.run(put("a"))
    gate = Gate(store)
    twice, other = store.writer.submit(put("a")), store.writer.submit(put("b"))
    gate.open()
    assert other.result(WAIT_SECONDS) == "b"
    with pytest.raises(StoreUnavailable):
        twice.result(WAIT_SECONDS)


def test_operations_happen_in_the_order_of_their_submission(store: Store) -> None:
    done: list[int] = []
    futures = [
        store.writer.submit(lambda connection, number=number: done.append(number), lazy=number % 3 == 0)
        for number in range(50)
    ]
    for future in futures:
        future.result(WAIT_SECONDS)
    assert done == sorted(done)


def test_a_lazy_operation_is_committed_though_nobody_else_comes(store: Store) -> None:
    assert store.writer.submit(put("lazy"), lazy=True).result(WAIT_SECONDS) == "lazy"
    assert kept(store) == {"lazy"}


def test_an_urgent_operation_takes_lazy_ones_along(store: Store) -> None:
    """In their order: what was queued before is durable when the urgent one is."""
    lazy = [store.writer.submit(put(f"lazy{number}"), lazy=True) for number in range(10)]
    store.writer.run(put("urgent"))
    assert all(future.done() for future in lazy)
    assert len(kept(store)) == 11


def test_closing_commits_what_is_queued(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'octospool.db'}")
    futures = [store.writer.submit(put(f"k{number}"), lazy=True) for number in range(20)]
    store.close()
    assert all(future.done() and future.exception() is None for future in futures)
    again = Store(f"sqlite:///{tmp_path / 'octospool.db'}")
    assert len(kept(again)) == 20
    again.close()


def test_a_closed_store_refuses(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'octospool.db'}")
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.writer.submit(put("late"))


def test_many_threads_each_get_their_own_answer(store: Store) -> None:
    answers: dict[str, str] = {}

    def write(name: str) -> None:
        for number in range(20):
            key = f"{name}-{number}"
            answers[key] = store.writer.run(put(key))

    threads = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert len(answers) == 160
    assert all(key == answer for key, answer in answers.items())
    assert kept(store) == set(answers)


# A store that cannot be written for a while.


class SmallDisk:
    """SQLite says `database or disk is full` while `is_full`: the database may not grow by one more page."""

    def __init__(self, store: Store) -> None:
        self.is_full = True
        event.listen(store.engine, "begin", self._limit)

    def _limit(self, connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA max_page_count = {1 if self.is_full else 1_000_000}")
        elif self.is_full:
            connection.exec_driver_sql(
                "DO $$ BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'disk full'; END $$"
            )


PAGES = "x" * 50_000
"""More than what is free inside the database."""


def test_an_operation_that_may_fail_is_told_at_once(store: Store) -> None:
    disk = SmallDisk(store)
    with pytest.raises(DiskFull, match="no space left"):
        store.writer.run(put("a", PAGES))
    assert store.writer.problem is not None
    disk.is_full = False
    store.writer.run(put("a", PAGES))
    assert store.writer.problem is None


def test_an_operation_to_keep_is_tried_until_the_store_takes_it(store: Store) -> None:
    disk = SmallDisk(store)
    future = store.writer.submit(put("journal row", PAGES), keep=True)
    with pytest.raises(DiskFull):
        store.writer.run(put("launch", PAGES))
    assert not future.done()
    disk.is_full = False
    assert future.result(WAIT_SECONDS) == "journal row"
    assert kept(store) == {"journal row"}
    assert store.writer.problem is None


def test_an_operation_that_is_wrong_is_not_tried_again(store: Store) -> None:
    """Even if it was to be kept: it would never succeed, and hold up all behind it."""
    store.writer.run(put("a"))
    with pytest.raises(StoreUnavailable):
        store.writer.submit(put("a"), keep=True).result(WAIT_SECONDS)
    assert store.writer.submit(put("b"), keep=True).result(WAIT_SECONDS) == "b"


def test_what_is_kept_stays_in_order_when_the_store_recovers(store: Store) -> None:
    """Even if it recovers in the middle of a group: `succeeded` must not be tried before `running`."""
    refusals = iter([True, True])
    done: list[str] = []

    def first(connection: Connection) -> None:
        if next(refusals, False):
            raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
        done.append("first")

    gate = Gate(store)
    futures = [store.writer.submit(first, keep=True)]
    futures.append(store.writer.submit(lambda connection: done.append("second"), keep=True))
    gate.open()
    for future in futures:
        future.result(WAIT_SECONDS)
    assert done[-2:] == ["first", "second"]


def test_a_store_that_closes_while_it_refuses_says_so(tmp_path: Path) -> None:
    """Who waits for a kept operation gets an error, not an endless wait; the daemon can stop."""
    store = Store(f"sqlite:///{tmp_path / 'octospool.db'}")
    SmallDisk(store)
    future = store.writer.submit(put("a", PAGES), keep=True)
    with pytest.raises(DiskFull):
        store.writer.run(put("b", PAGES))
    store.close()
    assert isinstance(future.exception(WAIT_SECONDS), StoreUnavailable)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "octospool-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


CAN_MOUNT = (
    sys.platform == "linux"
    and os.geteuid() == 0
    and subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
)


@pytest.mark.skipif(
    not CAN_MOUNT, reason="mounting a small disk needs root on Linux; SmallDisk stands for it"
)
def test_a_full_disk_that_is_freed_loses_nothing_that_was_to_be_kept(small_disk: Path) -> None:
    store = Store(f"sqlite:///{small_disk / 'octospool.db'}")
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    ballast.write_bytes(b"x" * (free.f_bavail * free.f_frsize))
    keep = [store.writer.submit(put(f"row{number}", PAGES), keep=True) for number in range(2)]
    with pytest.raises(DiskFull, match="free some space"):
        store.writer.run(put("launch", PAGES))
    assert not any(future.done() for future in keep)
    ballast.unlink()
    assert results(keep) == ["row0", "row1"]
    assert kept(store) == {"row0", "row1"}
    store.close()
