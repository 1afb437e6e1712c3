"""Locks of flows: one run at a time, whoever dies, whatever lies in the lock folder."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from flow_processor.clock import SystemClock
from flow_processor.errors import PathRefused
from flow_processor.locks import FlowLocks, LockInvalid

HOLDER = """
import sys
from pathlib import Path
from flow_processor.clock import SystemClock
from flow_processor.locks import FlowLocks
locks = FlowLocks(Path(sys.argv[1]), SystemClock())
assert locks.acquire(sys.argv[2], "foreign") is None
print("held", flush=True)
sys.stdin.readline()
locks.release(sys.argv[2], "foreign")
"""

RACER = """
import os, sys
from pathlib import Path
from flow_processor.clock import SystemClock
from flow_processor.locks import FlowLocks
folder = Path(sys.argv[1])
locks = FlowLocks(folder / "locks", SystemClock())
mine = folder / "inside"
won = 0
for number in range(int(sys.argv[2])):
    run = f"{os.getpid()}-{number}"
    if locks.acquire("flow.yml", run) is None:
        os.close(os.open(mine, os.O_CREAT | os.O_EXCL))  # fails if another one is inside
        mine.unlink()
        locks.release("flow.yml", run)
        won += 1
print(won)
"""


@pytest.fixture
def locks(tmp_path: Path) -> FlowLocks:
    return FlowLocks(tmp_path, SystemClock())


@contextmanager
def foreign_holder(folder: Path, flow: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its stdin says something or it is killed."""
    command = [sys.executable, "-c", HOLDER, str(folder), flow]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            if holder.poll() is None:
                holder.communicate("done\n")


def test_the_second_run_is_told_who_holds_the_lock(locks: FlowLocks) -> None:
    assert locks.acquire("sub/a.yml", "run-1") is None
    assert locks.acquire("sub/a.yml", "run-2") == "run-1"
    assert locks.acquire("sub/b.yml", "run-2") is None
    locks.release("sub/a.yml", "run-1")
    assert locks.acquire("sub/a.yml", "run-2") is None


def test_the_lock_file_mirrors_the_flow_and_says_who(locks: FlowLocks, tmp_path: Path) -> None:
    locks.acquire("sub/a.yml", "run-1")
    content = json.loads((tmp_path / "sub" / "a.lock").read_text())
    assert content["flow"] == "sub/a.yml"
    assert content["run_ids"] == ["run-1"]
    assert content["pid"] == os.getpid()
    assert content["since"].endswith("Z")
    locks.release("sub/a.yml", "run-1")
    assert not list(tmp_path.rglob("*.lock"))


def test_a_limit_lets_several_runs_in(locks: FlowLocks, tmp_path: Path) -> None:
    assert [locks.acquire("a.yml", f"run-{number}", 2) for number in range(3)] == [None, None, "run-0"]
    locks.release("a.yml", "run-0")
    assert json.loads((tmp_path / "a.lock").read_text())["run_ids"] == ["run-1"]
    assert locks.acquire("a.yml", "run-2", 2) is None
    assert [lock.run_id for lock in locks.held()] == ["run-1", "run-2"]


def test_taking_a_lock_twice_for_one_run_is_taking_it_once(locks: FlowLocks) -> None:
    assert locks.acquire("a.yml", "run-1") is None
    assert locks.acquire("a.yml", "run-1") is None
    locks.release("a.yml", "run-1")
    assert locks.held() == []


def test_releasing_what_is_not_held_does_nothing(locks: FlowLocks) -> None:
    locks.acquire("a.yml", "run-1")
    locks.release("a.yml", "run-2")
    locks.release("b.yml", "run-1")
    assert [lock.run_id for lock in locks.held()] == ["run-1"]


def test_yml_and_yaml_are_two_flows(locks: FlowLocks) -> None:
    assert locks.acquire("a.yml", "run-1") is None
    assert locks.acquire("a.yaml", "run-2") is None
    assert [lock.filename for lock in locks.held()] == ["a.lock", "a.yaml.lock"]


@pytest.mark.parametrize("name", ["sub/a", "sub/a.yml", "sub/a.lock", "/sub/a.yml", "sub\\a"])
def test_a_lock_is_removed_by_any_of_its_names(locks: FlowLocks, name: str) -> None:
    locks.acquire("sub/a.yml", "run-1")
    assert locks.remove(name)
    assert locks.held() == []
    assert not locks.remove(name)


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/", "nope", "a\0b", "\ud800", "x" * 400])
def test_removing_what_is_no_lock_is_false(locks: FlowLocks, name: str) -> None:
    assert locks.remove(name) is False


def test_the_old_holder_of_a_removed_lock_disturbs_nobody(locks: FlowLocks) -> None:
    locks.acquire("a.yml", "run-1")
    locks.remove("a.yml")
    assert locks.acquire("a.yml", "run-2") is None
    locks.release("a.yml", "run-1")
    assert locks.acquire("a.yml", "run-3") == "run-2"


def test_all_locks_are_removed_at_once(locks: FlowLocks) -> None:
    for flow in ("a.yml", "sub/b.yml", "c.yaml"):
        locks.acquire(flow, "run-1")
    assert locks.remove_all() == ["a.yml", "c.yaml", "sub/b.yml"]
    assert locks.held() == []


def test_sixteen_threads_have_one_winner_each_round(locks: FlowLocks) -> None:
    barrier = threading.Barrier(16)

    def race(number: int) -> list[bool]:
        won = []
        for turn in range(50):
            barrier.wait()
            won.append(locks.acquire(f"{turn}.yml", f"run-{number}") is None)
        return won

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(race, range(16)))
    assert [sum(column) for column in zip(*results, strict=True)] == [1] * 50


def test_racing_processes_are_never_inside_together(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), "400"], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    outputs = [racer.communicate(timeout=60)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 4
    assert sum(int(output) for output in outputs) >= 400
    assert not list((tmp_path / "locks").iterdir())


def test_another_process_counts_as_well(locks: FlowLocks, tmp_path: Path) -> None:
    with foreign_holder(tmp_path, "sub/a.yml") as holder:
        assert locks.acquire("sub/a.yml", "mine") == "foreign"
        [held] = locks.held()
        assert (held.filename, held.flow, held.run_id) == ("sub/a.lock", "sub/a.yml", "foreign")
        holder.communicate("done\n")
    assert locks.acquire("sub/a.yml", "mine") is None


def test_kill_9_of_the_holder_frees_the_lock(locks: FlowLocks, tmp_path: Path) -> None:
    with foreign_holder(tmp_path, "a.yml") as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert (tmp_path / "a.lock").exists()
        assert locks.held() == []
        assert locks.acquire("a.yml", "mine") is None


def test_what_a_dead_process_left_is_cleared_and_the_rest_stays(locks: FlowLocks, tmp_path: Path) -> None:
    with foreign_holder(tmp_path, "dead.yml") as dead:
        dead.send_signal(signal.SIGKILL)
    locks.acquire("own.yml", "mine")
    with foreign_holder(tmp_path, "live.yml"):
        assert locks.clear_stale() == ["dead.lock"]
        assert [lock.flow for lock in locks.held()] == ["live.yml", "own.yml"]


def test_a_lock_of_another_process_can_be_removed(locks: FlowLocks, tmp_path: Path) -> None:
    with foreign_holder(tmp_path, "a.yml") as holder:
        assert locks.remove("a")
        assert locks.acquire("a.yml", "mine") is None
        holder.communicate("done\n")
    assert locks.acquire("a.yml", "other") == "mine"
    assert (tmp_path / "a.lock").exists()


def test_a_child_process_does_not_keep_the_lock(locks: FlowLocks, tmp_path: Path) -> None:
    locks.acquire("a.yml", "mine")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True) as child:
        locks.release("a.yml", "mine")
        assert FlowLocks(tmp_path, SystemClock()).acquire("a.yml", "other") is None
        child.communicate("\n")


def test_a_lock_file_deleted_by_hand_lets_no_second_run_of_this_daemon_in(
    locks: FlowLocks, tmp_path: Path
) -> None:
    locks.acquire("a.yml", "run-1")
    (tmp_path / "a.lock").unlink()
    assert locks.acquire("a.yml", "run-2") == "run-1"
    locks.release("a.yml", "run-1")
    assert locks.acquire("a.yml", "run-2") is None


@pytest.mark.parametrize("kind", ["symlink", "dangling symlink", "hard link", "folder", "fifo"])
def test_something_else_at_the_place_of_a_lock_is_not_touched(
    locks: FlowLocks, tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "precious.txt"
    target.write_text("precious")
    place = tmp_path / "a.lock"
    if kind == "symlink":
        place.symlink_to(target)
    elif kind == "dangling symlink":
        place.symlink_to(tmp_path / "nothing.txt")
    elif kind == "hard link":
        os.link(target, place)
    elif kind == "folder":
        place.mkdir()
    else:
        os.mkfifo(place)
    with pytest.raises(LockInvalid) as refused:
        locks.acquire("a.yml", "run-1")
    assert refused.value.code == "lock_invalid"
    assert locks.held() == []
    assert locks.clear_stale() == []
    assert target.read_text() == "precious"
    assert not (tmp_path / "nothing.txt").exists()
    assert os.path.lexists(place)


def test_a_symlink_at_the_place_of_a_lock_can_be_removed(locks: FlowLocks, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / "a.lock").symlink_to("precious.txt")
    assert locks.remove("a")
    assert locks.acquire("a.yml", "run-1") is None
    assert (tmp_path / "precious.txt").read_text() == "precious"


def test_a_symlinked_folder_that_leads_out_is_refused(locks: FlowLocks, tmp_path: Path) -> None:
    (tmp_path / "sub").symlink_to("/tmp")
    with pytest.raises(PathRefused):
        locks.acquire("sub/a.yml", "run-1")


def test_taking_and_releasing_is_quick(locks: FlowLocks) -> None:
    """Measured: 70 microseconds; of the processor, not of the wall clock, so that a busy machine counts less."""
    best = 1.0
    for _ in range(10):
        begin = time.thread_time()
        for _ in range(100):
            locks.acquire("a.yml", "run-1")
            locks.release("a.yml", "run-1")
        best = min(best, (time.thread_time() - begin) / 100)
    assert best < 600e-6
