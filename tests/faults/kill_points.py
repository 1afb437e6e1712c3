"""Kill a process at each of its writing system calls, one after the other.

`python -m tests.faults.kill_points FOLDER ACT` runs under strace, which kills a thread's process at the LAST-th call of
a kind; it counts each kind by itself, for each thread. The harness forks a child for each point: the child makes idle
calls of one kind, fewer and fewer of them, so that LAST is reached at the first, second, … call of that kind of what is
being tested. So a whole sweep costs one start of Python. An act is a function, named MODULE.FUNCTION, of a module
beside this one that loads no more than its acts need: all of that is loaded under strace, and forked with each point.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from pathlib import Path

from tests.faults.real_faults import need

LAST = 30
"""More calls of a kind than any act makes (20); `sweep` fails where they are too few."""


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
    "linkat": lambda _: os.link("", "", src_dir_fd=_HERE),
    "mkdir": lambda _: os.mkdir(""),  # noqa: PTH102
    "mkdirat": lambda _: os.mkdir("", dir_fd=_HERE),
}
"""A call of each kind that changes files, made so that it changes nothing (those of an empty name fail). A file that
was only created is seen at the next of these."""
OLD = b"old" * 20_000
"""What the file `file` of each point's folder holds before."""

Act = Callable[[Path, Callable[[], None]], None]
"""Gets its folder, and a function that makes the idle calls: to be called by the thread whose calls are counted, before
the first of them."""


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


def _main(folder: Path, name: str, kinds: Sequence[str]) -> None:
    module, _, function = name.rpartition(".")
    act: Act = getattr(import_module(f"tests.faults.{module}"), function)
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


def _act(act: Act, place: Path, kind: str, point: int) -> None:
    act(place, lambda: _idle(kind, LAST - point))
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
