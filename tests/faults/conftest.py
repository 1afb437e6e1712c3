"""Daemons whose data folder lies on a disk of its own, and a server that counts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import daemon, make_daemon, server
from tests.faults.real_faults import PulledDisk, SmallDisk

__all__ = ["daemon", "make_daemon", "pulled_disk", "server", "small_disk"]

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]
"""The faults are those of Linux."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], SmallDisk]]:
    """`small_disk("size=4m")` puts the data folder of the daemons made after it on one."""
    disks: list[SmallDisk] = []

    def make(options: str) -> SmallDisk:
        disks.append(SmallDisk(tmp_path / "data", options))
        return disks[-1]

    yield make
    for disk in disks:
        disk.remove()


@pytest.fixture
def pulled_disk(tmp_path: Path) -> Iterator[PulledDisk]:
    """The data folder of the daemons made after it lies on one."""
    disk = PulledDisk(tmp_path / "data", tmp_path / "disk.img")
    yield disk
    disk.remove()
