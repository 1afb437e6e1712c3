"""Servers that all processes of a test session share: who needs one holds its folder; with the last it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest


def cannot(why: str) -> NoReturn:
    """Fail in CI, where everything must be there; skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def session_key(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What all processes of this test session have alike."""
    own = tmp_path_factory.getbasetemp()
    # The processes of xdist have a folder each, in one of the session.
    return str(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@contextlib.contextmanager
def alone(places: Path) -> Iterator[None]:
    """One process at a time; the folder itself is locked, so that no lock file is left."""
    descriptor = os.open(places, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_held(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Hold the folder until the stack is closed. False if its guard removes it just now."""
    folder.mkdir(mode=0o755, exist_ok=True)
    users = stack.enter_context((folder / "users").open("ab"))
    fcntl.flock(users, fcntl.LOCK_SH)
    return (folder / "users").exists() and (folder / "users").samefile(f"/proc/self/fd/{users.fileno()}")


def start_guard(guard: str, folder: Path, *arguments: str) -> None:
    """Start the program that runs the server for as long as somebody holds the folder."""
    command = [sys.executable, "-S", "-E", guard, str(folder), *arguments]
    # In a session of its own: Ctrl-C is for the tests; the guard sees that they have ended.
    nowhere = subprocess.DEVNULL
    subprocess.run(["setsid", "--fork", *command], stdin=nowhere, stdout=nowhere, stderr=nowhere, check=True)


def clear_stale(places: Path, prefix: str, clear: Callable[[Path], None]) -> None:
    """Servers whose guard was killed have ended; what they left is removed."""
    for folder in places.glob(f"{prefix}*/"):
        with (folder / "users").open("ab") as users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            clear(folder)
            shutil.rmtree(folder, ignore_errors=True)
