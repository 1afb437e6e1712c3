"""The faults themselves: small and failing disks, system calls that fail or kill, a clock that jumps.

Each is the real thing, done by the kernel or by a tool from Debian, never a stand-in inside the product. What is
missing for one (a tool, the right to mount) fails the test where it must not be missing: in CI, and for root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.engine.world import until

EXT4_SHUTDOWN = 0x8004587D
"""The ioctl EXT4_IOC_SHUTDOWN."""
NO_LOG_FLUSH = 2
"""Its argument EXT4_GOING_FLAGS_NOLOGFLUSH: what was not synced is gone."""


def need(tool: str, package: str) -> str:
    """Where the program is; the test goes on only if it is there."""
    found = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        cannot(f"this test needs the program '{tool}'; .ci/run installs it (Debian package {package})")
    return found


def cannot(why: str) -> NoReturn:
    """Fail in CI and as root, where everything must be there; skip elsewhere."""
    if os.environ.get("CI") or os.geteuid() == 0:
        pytest.fail(why)
    pytest.skip(why)


def run(*command: str) -> None:
    """A program of the system that must succeed, or the machine does not allow the fault."""
    if os.geteuid() != 0:
        cannot(f"this test needs root (for {command[0]}); run it as root, as CI does")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        cannot(f"this machine does not allow '{' '.join(command)}': {said}")


class SmallDisk:
    """A disk in memory that is soon full; `options` as `mount -t tmpfs -o` takes them."""

    def __init__(self, folder: Path, options: str) -> None:
        self._folder = folder
        self._ballast = folder / "ballast"
        folder.mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", options, "octospool-test", str(folder))

    def fill(self) -> None:
        """Take all the space that is free, to the last byte."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (1 << 16, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(bytes(size))

    def fill_with_names(self) -> None:
        """Take all the files (inodes) that are free; space is left."""
        self._ballast.mkdir()
        with contextlib.suppress(OSError):
            for number in range(1_000_000):
                (self._ballast / str(number)).touch()

    def free(self) -> None:
        """Give back what was taken."""
        if self._ballast.is_dir():
            shutil.rmtree(self._ballast)
        else:
            self._ballast.unlink()

    def remove(self) -> None:
        """Unmount it, whoever still has files open there."""
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)


class PulledDisk:
    """ext4 in a file: it can lose its power, or turn read-only under whoever writes there, and come back."""

    def __init__(self, folder: Path, image: Path) -> None:
        mkfs = need("mkfs.ext4", "e2fsprogs")
        self._folder = folder
        self._image = image
        folder.mkdir(parents=True, exist_ok=True)
        with image.open("wb") as file:
            file.truncate(48 << 20)
        run(mkfs, "-q", str(image))
        self._mount("errors=remount-ro")

    def _mount(self, *options: str) -> None:
        run("mount", "-o", ",".join(["loop", *options]), str(self._image), str(self._folder))

    def sync(self) -> None:
        """What the test itself has written there is to stay."""
        run("sync", "--file-system", str(self._folder))

    def lose_power(self) -> None:
        """From now on nothing reaches the disk, and what was not synced never will."""
        import fcntl  # Unix only

        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def turn_read_only(self) -> None:
        """The kernel gives up on the disk after an error, as `errors=remount-ro` asks for."""
        # Its exit code speaks of the remount, which fails because the disk is read-only now.
        subprocess.run(["mount", "-o", "remount,abort", str(self._folder)], capture_output=True, check=False)
        with pytest.raises(OSError, match="Read-only"):
            (self._folder / "probe").touch()

    def come_back(self) -> None:
        """Power is back: mounted again, with what had reached the disk. Nobody may have files open there."""
        # A process that was killed a moment ago may still be on its way out.
        command = ["umount", str(self._folder)]
        until(
            lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0,
            "nobody has files open on the disk",
        )
        self._mount()

    def remove(self) -> None:
        """Unmount it, whoever still has files open there."""
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)


@contextlib.contextmanager
def tampered(pid: int, injection: str) -> Iterator[None]:
    """Inside, system calls of the process (of all its threads) do what strace's `inject=` says."""
    need("strace", "strace")
    calls = injection.partition(":")[0]
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}", "-e", f"inject={injection}"]
    with subprocess.Popen([*command, "-p", str(pid)]) as tracer:
        try:
            until(lambda: _is_traced_by(pid, tracer), "strace has every thread of the process")
            yield
        finally:
            tracer.terminate()  # it lets go of the process; after SIGKILL that might stay stopped
            try:
                tracer.wait(3)
            except subprocess.TimeoutExpired:  # it waits for threads of a process that it has killed
                tracer.kill()


def _is_traced_by(pid: int, tracer: subprocess.Popen[bytes]) -> bool:
    if tracer.poll() is not None:
        cannot(f"strace left with exit code {tracer.returncode}; this machine may not allow ptrace")
    threads = [*Path(f"/proc/{pid}/task").glob("*/status")]
    return all(f"TracerPid:\t{tracer.pid}\n" in status.read_text() for status in threads)
