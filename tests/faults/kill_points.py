"""Kill a process at each of its writing system calls, one after the other.

`python -m tests.faults.kill_points FOLDER ACT` runs under strace, which kills every process at its LAST-th writing
call. It forks a child for each point: the child makes idle calls first, fewer and fewer of them, so that LAST is
reached at the first, second, … call of what is being tested. So a whole sweep costs one start of Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert

from flow_processor.clock import SystemClock
from flow_processor.locks import DataFolderLock, LockFile
from flow_processor.paths import write_atomic
from flow_processor.result_files import ResultFiles
from flow_processor.store import Store
from flow_processor.store.tables import meta
from tests.faults.real_faults import need

LAST = 120
CALLS = (
    "write,pwrite64,writev,pwritev,fsync,fdatasync,ftruncate,fchmod,"
    "rename,renameat,renameat2,unlink,unlinkat,link,linkat,mkdir,mkdirat"
)
"""What changes files; a file that was only created is seen at the next of these."""
OLD, NEW = b"old" * 20_000, b"new" * 30_000


def sweep(folder: Path, act: str) -> list[Path]:
    """The folders in which `act` was killed at its first, second, … call; in the last one it came to its end."""
    need("strace", "strace")
    harness = [sys.executable, "-m", "tests.faults.kill_points", str(folder), act]
    inject = f"inject={CALLS}:signal=KILL:when={LAST}"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={CALLS}", "-e", inject, *harness],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    places = sorted(folder.iterdir(), key=lambda path: int(path.name))
    assert len(places) < LAST, f"{act} makes more than {LAST} calls"
    assert [(place / "survived").exists() for place in places] == [False] * (len(places) - 1) + [True]
    return places


def _idle(calls: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for _ in range(calls):
        os.write(nowhere, b"")
    os.close(nowhere)


def _write_atomic(place: Path, idle: Callable[[], None]) -> None:
    idle()
    write_atomic(place / "file", NEW)


def _keep_result(place: Path, idle: Callable[[], None]) -> None:
    idle()
    name = ResultFiles(place / "results").keep("20261121T074006123-k7x2m7qa", '"' + "x" * 300_000 + '"')
    (place / name).touch()  # no call that is counted


def _take_lock(place: Path, idle: Callable[[], None]) -> None:
    idle()
    lock = LockFile(place / "locks" / "sub" / "a.lock")
    assert lock.take()
    lock.describe({"flow": "sub/a.yml", "run_ids": ["x"], "pid": os.getpid()})
    lock.free(unlink=True)


def _take_folder(place: Path, idle: Callable[[], None]) -> None:
    idle()
    lock = DataFolderLock(place, clock=SystemClock())
    lock.acquire("serve", detail={"url": "http://127.0.0.1:1"})
    lock.release()


def _commit(place: Path, idle: Callable[[], None]) -> None:
    """Two transactions of two rows each; `one` and `two` are there once each has been confirmed."""
    store = Store(f"sqlite:///{place / 'octospool.db'}")
    store.writer.run(lambda _: idle())  # the thread whose calls are counted
    for name in ("one", "two"):
        rows = [{"key": name + half, "value": "x"} for half in "ab"]
        store.writer.run(lambda connection, rows=rows: connection.execute(insert(meta), rows).rowcount)
        (place / name).touch()
    store.close()


ACTS = {
    "write_atomic": _write_atomic,
    "keep_result": _keep_result,
    "take_lock": _take_lock,
    "take_folder": _take_folder,
    "commit": _commit,
}


def _main(folder: Path, act: str) -> None:
    for point in range(1, LAST):
        place = folder / str(point)
        place.mkdir()
        child = os.fork()
        if not child:
            (place / "file").write_bytes(OLD)  # one call
            ACTS[act](place, lambda point=point: _idle(LAST - 1 - point))
            (place / "survived").touch()
            os._exit(0)
        os.waitpid(child, 0)
        if (place / "survived").exists():
            return


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2])
