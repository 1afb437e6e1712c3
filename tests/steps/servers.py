"""Real servers for step tests, private ones on free ports: PostgreSQL, Redis, S3 (moto). Each is a context manager.

A server that is not installed skips its tests with the reason; where CI is set that is a failure.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.world import until
from tests.ports import free_port

DEADLINE_SECONDS = 60.0
PASSWORD = "canary-of-the-server"


def missing(what: str) -> None:
    """Skip, or fail in CI."""
    message = f"{what} is not installed (.ci/run installs it)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@dataclass(frozen=True)
class Server:
    """Where it listens."""

    port: int
    user: str = "shop"
    password: str = PASSWORD
    ca: Path | None = None


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def _process(
    command: list[str], *, log: Path, is_up: Callable[[], bool], user: str | None = None
) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, user=user, cwd=log.parent)

    def look() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        return is_up()

    try:
        until(look, f"{command[0]} is up", seconds=DEADLINE_SECONDS)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # PostgreSQL waits for nobody then
        process.wait(DEADLINE_SECONDS)


@contextlib.contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    """A folder of the server's own user; pytest's folders are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="octospool-server-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def postgresql() -> Iterator[Server]:
    """PostgreSQL with a database `shop` of the user `shop`, who needs the password."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        missing("PostgreSQL")
    programs = found[-1].parent
    user = "nobody" if sys.platform == "linux" and os.geteuid() == 0 else None  # postgres refuses root
    with _folder(user) as folder:
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        data = folder / "data"
        made = subprocess.run(
            [
                *(
                    str(programs / "initdb"),
                    "-D",
                    str(data),
                    "-U",
                    "shop",
                    "-A",
                    "scram-sha-256",
                    "-E",
                    "UTF8",
                ),
                *("--locale=C", "--no-sync", "--no-instructions", f"--pwfile={folder / 'password'}"),
            ],
            user=user,
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        port = free_port()
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), *options]
        with _process(command, log=folder / "log", is_up=lambda: _accepts(port), user=user):
            yield Server(port)


def _accepts(port: int) -> bool:
    import psycopg

    with (
        contextlib.suppress(psycopg.OperationalError),
        psycopg.connect(
            host="127.0.0.1", port=port, user="shop", password=PASSWORD, dbname="postgres", autocommit=True
        ) as connection,
    ):
        connection.execute("CREATE DATABASE shop")
        return True
    return False


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[Server]:
    """Redis that needs a password; the user is `default`."""
    program = shutil.which("redis-server")
    if program is None:
        missing("redis-server")
    port = free_port()
    config = folder / "redis.conf"
    config.write_text(f"bind 127.0.0.1\nport {port}\nrequirepass {PASSWORD}\nsave ''\nappendonly no\n")
    with _process([str(program), str(config)], log=folder / "redis.log", is_up=lambda: _listens(port)):
        yield Server(port, user="default")


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[Server]:
    """An S3 server (moto's) that keeps everything in memory."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _process(command, log=folder / "s3.log", is_up=lambda: _listens(port)):
        yield Server(port, user="access")
