"""Kill a process at each of its writing system calls, one after the other.

`python -m tests.faults.kill_points FOLDER ACT` runs under strace, which kills a thread's process at the LAST-th call of
a kind; it counts each kind by itself, for each thread. The harness forks a child for each point: the child makes idle
calls of one kind, fewer and fewer of them, so that LAST is reached at the first, second, … call of that kind of what is
being tested. So a whole sweep costs one start of Python.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from sqlalchemy import insert

from flow_processor.clock import SystemClock
from flow_processor.flow_files.editing import EditableLibrary
from flow_processor.locks import DataFolderLock, LockFile
from flow_processor.paths import write_atomic
from flow_processor.result_files import ResultFiles
from flow_processor.service.flow_edits import Expected, FlowEdits
from flow_processor.store import Store
from flow_processor.store.flow_edits import FlowEditStore
from flow_processor.store.tables import meta
from tests.faults import one_off
from tests.faults.real_faults import need

LAST = 60
"""More calls of a kind than any act makes."""


def _memory() -> int:
    return os.memfd_create("nowhere")


_HERE = os.open(".", os.O_RDONLY)
IDLE: dict[str, Callable[[int], object]] = {
    "write": lambda nowhere: os.write(nowhere, b""),
    "pwrite64": lambda nowhere: os.pwrite(nowhere, b"", 0),
    "fsync": os.fsync,
    "fdatasync": os.fdatasync,
    "ftruncate": lambda nowhere: os.ftruncate(nowhere, 0),
    "fchmod": lambda nowhere: os.fchmod(nowhere, 0o600),
    "rename": lambda _: os.rename("", ""),  # noqa: PTH104  as those below: a Path cannot be empty
    "renameat": lambda _: os.rename("", "", src_dir_fd=_HERE),
    "unlink": lambda _: os.unlink(""),  # noqa: PTH108
    "unlinkat": lambda _: os.unlink("", dir_fd=_HERE),
    "link": lambda _: os.link("", ""),
    "mkdir": lambda _: os.mkdir(""),  # noqa: PTH102
    "mkdirat": lambda _: os.mkdir("", dir_fd=_HERE),
}
"""A call of each kind that changes files, made so that it changes nothing (those of an empty name fail). A file that
was only created is seen at the next of these."""
OLD, NEW = b"old" * 20_000, b"new" * 30_000


def sweep(folder: Path, act: str, kinds: Collection[str] = IDLE.keys()) -> list[Path]:
    """The folders in which `act` was killed at each of its calls, by kind; in the last one of each kind it came to its
    end."""
    need("strace", "strace")
    folder.mkdir(exist_ok=True)
    harness = [sys.executable, "-m", "tests.faults.kill_points", str(folder), act, *kinds]
    calls = ",".join(kinds)
    inject = f"inject={calls}:signal=KILL:when={LAST}"
    done = subprocess.run(
        [
            "strace",
            "-f",
            "-qq",
            "-o",
            os.devnull,
            "-e",
            f"trace={calls}",
            "-e",
            inject,
            *harness,
        ],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    places = sorted(path for path in folder.iterdir())
    survived = sum((place / "survived").exists() for place in places)
    assert survived == len(kinds), f"{act} makes more than {LAST} calls of a kind"
    assert len(places) > len(kinds), f"{act} was never killed"
    return places


def _idle(kind: str, calls: int) -> None:
    nowhere = _memory()
    for _ in range(calls):
        with contextlib.suppress(OSError):
            IDLE[kind](nowhere)
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
    store = _store(place)
    store.writer.run(lambda _: idle())  # the thread whose calls are counted
    for name in ("one", "two"):
        rows = [{"key": name + half, "value": "x"} for half in "ab"]
        store.writer.run(lambda connection, rows=rows: connection.execute(insert(meta), rows).rowcount)
        (place / name).touch()
    store.close()


def _store(place: Path) -> Store:
    """A copy of the store that the test has made: to copy is no call that is counted, to make it is many."""
    shutil.copy(place.parents[1] / "octospool.db", place)
    return Store(f"sqlite:///{place / 'octospool.db'}")


def flow_edits(place: Path, store: Store) -> FlowEdits:
    """What changes flow files, over a folder and a store of its own."""
    return FlowEdits(
        EditableLibrary(place / "flows"),
        lambda: FlowEditStore(store.writer, store.engine),
        check=lambda flow: None,
        changed=lambda path: None,
        clock=SystemClock(),
    )


def flow_text(value: int) -> bytes:
    """A flow file of more than one write."""
    return (
        f"# {'x' * 20_000}\nsteps:\n  - {{name: a, type: set_fact, set_fact: {{value: {value}}}}}\n".encode()
    )


def _edit_flow(place: Path, idle: Callable[[], None], *, in_writer: bool = False) -> None:
    """A flow file that was written by hand is overwritten by a call of Ada's."""
    store = _store(place)
    (place / "flows").mkdir()
    shutil.copy(place.parents[1] / "a.yml", place / "flows")
    edits = flow_edits(place, store)
    store.writer.run(lambda _: idle() if in_writer else None)
    if not in_writer:
        idle()
    edits.write("a.yml", flow_text(2), Expected(is_there=True), by="ada", dry=False)
    (place / "answered").touch()
    store.close()


def _record_flow_edit(place: Path, idle: Callable[[], None]) -> None:
    _edit_flow(place, idle, in_writer=True)


def _fire_once(place: Path, idle: Callable[[], None]) -> None:
    """A schedule with one moment fires; `fired` is there when the scheduler has done with it."""
    store = _store(place)
    scheduler = one_off.scheduler(store)
    store.writer.run(lambda _: idle())
    scheduler.tick()
    (place / "fired").touch()
    scheduler.stop()
    store.close()


ACTS = {
    "fire_once": _fire_once,
    "edit_flow": _edit_flow,
    "record_flow_edit": _record_flow_edit,
    "write_atomic": _write_atomic,
    "keep_result": _keep_result,
    "take_lock": _take_lock,
    "take_folder": _take_folder,
    "commit": _commit,
}


def _main(folder: Path, act: str, kinds: Sequence[str]) -> None:
    for kind in kinds:
        for point in range(1, LAST):
            place = folder / f"{kind}-{point:03}"
            # Not by this process: its own calls are counted, too.
            _in_a_child(lambda place=place: _prepare(place))
            _in_a_child(lambda place=place, kind=kind, point=point: _act(act, place, kind, point))
            if (place / "survived").exists():
                break


def _prepare(place: Path) -> None:
    place.mkdir()
    (place / "file").write_bytes(OLD)


def _act(act: str, place: Path, kind: str, point: int) -> None:
    ACTS[act](place, lambda: _idle(kind, LAST - point))
    (place / "survived").touch()


def _in_a_child(work: Callable[[], None]) -> None:
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
