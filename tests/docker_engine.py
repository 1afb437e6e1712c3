"""A real Docker engine of the tests' own: one for all processes of a test session, and nothing left behind.

`docker_guard.py` runs it. The image in it is made of busybox, without any network. Where it cannot be had (no
dockerd, not root) its tests are skipped with the reason; where CI is set that is a failure.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests import docker_guard
from tests.engine.world import until
from tests.shared_server import alone, cannot, clear_stale, is_held, session_key, start_guard

PREFIX = "octospool-engine-"
IMAGE = "octospool-test:latest"
"""busybox: `sh`, `sleep`, `cat` and all its other programs."""

START_SECONDS = 60.0
"""An engine that has not answered by then fails the test."""

BREATH_SECONDS = 0.05
"""Before each question: who waits for something asks again and again, and each answer costs some milliseconds."""

_never = threading.Event()


@dataclass(frozen=True)
class DockerEngine:
    """An engine that is running."""

    folder: Path

    @property
    def host(self) -> str:
        """Where it listens, as DOCKER_HOST has it."""
        return f"unix://{self.folder}/socket"

    @property
    def image(self) -> str:
        """The image that is there."""
        return IMAGE

    @cached_property
    def client(self) -> Any:
        """The SDK's client: a way to the engine that is not the product's."""
        import docker

        return docker.DockerClient(base_url=self.host, timeout=60, version="auto")

    def containers(self, *labels: str, running: bool = False) -> list[str]:
        """Names of the containers, running or not, that have these labels (`name` or `name=value`)."""
        _never.wait(BREATH_SECONDS)
        found = self.client.api.containers(all=not running, filters={"label": list(labels)})
        return [container["Names"][0].removeprefix("/") for container in found]

    def close(self) -> None:
        """Let go of the connection to it."""
        if "client" in vars(self):
            self.client.close()

    def has_ended(self) -> bool:
        """Did its first process end? (It stays a zombie until the guard ends.)"""
        with contextlib.suppress(FileNotFoundError):
            pid = (self.folder / "pid").read_text()
            return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
        return False

    def processes(self) -> list[int]:
        """Its own processes: that of dockerd, as the machine numbers it."""
        first = int((self.folder / "pid").read_text())
        return [int(pid) for pid in Path(f"/proc/{first}/task/{first}/children").read_text().split()]

    def listening_socket(self) -> socket.socket:
        """A socket that listens on 127.0.0.1 of the engine's own network; for servers that it is to reach.

        A socket stays in the network in which it was made. Only a thread of its own goes there to make it.
        """
        made: list[socket.socket] = []

        def make() -> None:
            with Path(f"/proc/{self.processes()[0]}/ns/net").open() as network:
                if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), 0):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.create_server(("127.0.0.1", 0)))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Inside, it is stopped (SIGSTOP): it takes connections and answers nothing."""
        for pid in self.processes():
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGCONT)


def _programs() -> str:
    """Where dockerd is; ends the test if that or something else is missing."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    needed = {
        "dockerd": "docker.io",
        "busybox": "busybox-static",
        "unshare": "util-linux",
        "setpriv": "util-linux",
    }
    missing = [f"{name} ({package})" for name, package in needed.items() if not shutil.which(name, path=path)]
    if sys.platform != "linux" or missing:
        cannot(
            f"no Docker engine can be started here, for there is no {', '.join(missing)}; .ci/run installs it"
        )
    if os.geteuid() != 0:
        cannot("a Docker engine of the tests' own needs root; run them as root, as CI does")
    return str(shutil.which("dockerd", path=path))


@contextlib.contextmanager
def engine_for(key: str) -> Iterator[DockerEngine]:
    """The engine that all who name the same key share; it ends with the last of them, however that ends."""
    dockerd = _programs()
    places = Path(tempfile.gettempdir())
    folder = places / f"{PREFIX}{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    engine = DockerEngine(folder)
    with contextlib.ExitStack() as stack:
        with alone(places):
            clear_stale(places, PREFIX, docker_guard.clear)
            until(lambda: is_held(folder, stack), "the last engine of this name has ended")
            if not (folder / "pid").exists():
                start_guard(docker_guard.__file__, folder, dockerd)
                until(lambda: _answers(engine), "the Docker engine answers", seconds=START_SECONDS)
                _make_image(engine)
        stack.callback(engine.close)
        yield engine


def _answers(engine: DockerEngine) -> bool:
    if engine.has_ended():
        said = (engine.folder / "log").read_text(errors="replace")[-3000:]
        cannot(f"the Docker engine does not start on this machine:\n{said}")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(f"{engine.folder}/socket")
        probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        return probe.recv(100).startswith(b"HTTP/1.0 200")
    return False


def _make_image(engine: DockerEngine) -> None:
    """An image with busybox in it, as `docker import` makes one."""
    text = io.BytesIO()
    with tarfile.open(fileobj=text, mode="w") as archive:
        busybox = str(shutil.which("busybox"))
        archive.add(Path(busybox).resolve(), "bin/busybox")
        names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for name in names:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            if name != "busybox":
                archive.addfile(link)
        for name in ("tmp", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(folder)
    name, _, tag = IMAGE.partition(":")
    engine.client.api.import_image_from_data(
        text.getvalue(), repository=name, tag=tag, changes=["ENV PATH=/bin", 'CMD ["sh"]']
    )


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """The engine of the test session. Others use it at the same time: look at your own labels only."""
    with engine_for(session_key(tmp_path_factory)) as engine:
        yield engine


@pytest.fixture(scope="module")
def own_docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """An engine that only the tests of this file use: they may stop it. It takes half a second to start."""
    with engine_for(str(tmp_path_factory.mktemp("engine"))) as engine:
        yield engine
