"""Runs a Docker engine for as long as somebody needs it: `python -S -E docker_guard.py FOLDER dockerd`.

Needs nothing but Python. Whoever needs the engine holds FOLDER/users shared (flock); the kernel lets go for those
that crash. Once nobody holds it, the engine is killed and all that it made is removed.

The engine lives in namespaces of its own (processes, mounts, network): with the first process in there everything
ends, containers too, and bridges and mounts were never the machine's. Only empty cgroups are left then, and FOLDER.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
CLONE_NEWNS = 0x00020000
"""From sched.h: mounts of its own."""


def main(folder: Path, dockerd: str) -> None:
    """Start the engine, wait until nobody needs it, clear up."""
    see_cgroups()
    clear(folder)
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen(command(folder, dockerd), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    (folder / "pid").write_text(str(engine.pid))
    with (folder / "users").open("rb") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        engine.kill()
        engine.wait()
        clear(folder)
        # While the lock is held: who comes now makes all of it anew.
        shutil.rmtree(folder, ignore_errors=True)


def see_cgroups() -> None:
    """The engine needs cgroups; on a bare machine nobody may have mounted them. Seen by this process alone."""
    if f" {CGROUPS} " in Path("/proc/self/mounts").read_text():
        return
    if ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", str(CGROUPS)], check=True)


def command(folder: Path, dockerd: str) -> list[str]:
    """The engine with everything below the folder, and no trace outside of its namespaces."""
    inside = 'busybox ip link set lo up; exec "$@"'
    return [
        *("setpriv", "--pdeathsig", "KILL"),  # the guard is killed: so is this
        *("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--net"),
        *("sh", "-c", inside, "sh", dockerd),
        *("--host", f"unix://{folder}/socket", "--pidfile", f"{folder}/dockerd.pid"),
        *("--data-root", f"{folder}/root", "--exec-root", f"{folder}/exec"),
        *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{folder.name}"),
        *("--iptables=false", "--ip6tables=false", "--ip-masq=false", "--userland-proxy=false"),
        *("--shutdown-timeout", "1", "--log-level", "warn"),
    ]


def clear(folder: Path) -> None:
    """Remove what an engine of this folder has left: its state, its cgroups."""
    for name in ("root", "exec"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("socket", "dockerd.pid"):
        (folder / name).unlink(missing_ok=True)
    tops = {*CGROUPS.glob(folder.name), *CGROUPS.glob(f"*/{folder.name}")}
    for top in tops:
        for path, _, _ in os.walk(top, topdown=False):
            remove_cgroup(path)


def remove_cgroup(path: str) -> None:
    """Remove an empty cgroup; those that were killed in it leave it in a moment."""
    for _ in range(100):
        try:
            Path(path).rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
