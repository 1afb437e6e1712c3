"""Runs RabbitMQ for as long as somebody needs it: `python -S -E broker_guard.py FOLDER`. Needs nothing but Python.

Whoever needs it holds FOLDER/users shared (flock); the kernel lets go for those that crash. The node and its epmd
live in a process namespace of their own: with the first process in there everything ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""Debian's script in front of it changes the user and the folder."""


def main(folder: Path) -> None:
    """Start the broker, wait until nobody needs it, clear up."""
    broker = start(folder)
    with (folder / "users").open("rb") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        broker.kill()
        broker.wait()
        # While the lock is held: who comes now makes all of it anew.
        shutil.rmtree(folder, ignore_errors=True)


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start the node of a folder that `broker.prepare` made. Killed, it leaves no process."""
    command = [
        *("setpriv", "--pdeathsig", "KILL"),  # the guard is killed: so is this
        *("unshare", "--pid", "--fork", "--kill-child", SERVER),
    ]
    settings = dict(line.split("=", 1) for line in (folder / "environment").read_text().splitlines())
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **settings},
            cwd=folder,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
