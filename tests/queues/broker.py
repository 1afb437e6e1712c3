"""A real RabbitMQ of the tests' own: one for all processes of a test session, and nothing left behind.

Where it cannot be had (not installed, not root) its tests are skipped with the reason; where CI is set that is a
failure.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.engine.world import until
from tests.ports import free_port
from tests.queues import broker_guard
from tests.shared_server import alone, cannot, clear_stale, is_held, start_guard

PREFIX = "octospool-broker-"
START_SECONDS = 120.0
"""A broker that has not answered by then fails the test; a quiet machine needs five seconds."""

USER = "shop"
PASSWORD = "canary-of-the-broker"


@dataclass(frozen=True)
class Broker:
    """A broker that is running."""

    folder: Path
    _connections: list[Any] = field(default_factory=list)

    def _number(self, name: str) -> int:
        return int((self.folder / name).read_text())

    @property
    def port(self) -> int:
        """Where it listens without TLS."""
        return self._number("port")

    @property
    def url(self) -> str:
        """As BROKER_URL has it."""
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.port}/"

    @property
    def tls_url(self) -> str:
        """The same over TLS, with its CA."""
        port = self._number("tls-port")
        return f"amqps://{USER}:{PASSWORD}@127.0.0.1:{port}/?ca_file={self.folder / 'cert.pem'}"

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel that is not the product's. The connection is kept: it costs both sides more than the rest."""
        import amqp

        if not self._connections:
            connection = amqp.Connection(f"127.0.0.1:{self.port}", userid=USER, password=PASSWORD)
            connection.connect()
            self._connections.append(connection)
        channel = self._connections[0].channel()
        try:
            yield channel
        finally:
            if channel.is_open:
                channel.close()

    def disconnect(self) -> None:
        """Close what `channel` has kept."""
        while self._connections:
            self._connections.pop().collect()

    def depth(self, queue: str) -> int:
        """How many messages are ready in a queue."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)

    def listens(self) -> bool:
        """Does it take connections?"""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def prepare(folder: Path) -> None:
    """Write what a node needs: its settings, ports, certificate."""
    if not Path(broker_guard.SERVER).exists():
        cannot("rabbitmq-server is not installed; .ci/run installs it")
    if os.geteuid() != 0:
        cannot("a broker of the tests' own needs root; run them as root, as CI does")
    ports = {name: free_port() for name in ("port", "tls-port", "epmd-port")}
    for name, port in ports.items():
        (folder / name).write_text(str(port))
    _certificate(folder)
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{ports['port']}\n"
        f"listeners.ssl.1 = 127.0.0.1:{ports['tls-port']}\n"
        f"ssl_options.cacertfile = {folder}/cert.pem\n"
        f"ssl_options.certfile = {folder}/cert.pem\n"
        f"ssl_options.keyfile = {folder}/key.pem\n"
        "ssl_options.verify = verify_none\n"
        f"default_user = {USER}\ndefault_pass = {PASSWORD}\n"
        "disk_free_limit.absolute = 1MB\n"
        "log.file.level = warning\n"
    )
    (folder / "enabled_plugins").write_text("[].\n")
    settings = {
        "HOME": folder,  # for its cookie
        "RABBITMQ_NODENAME": f"{folder.name}@localhost",
        "RABBITMQ_CONFIG_FILE": folder / "rabbitmq.conf",
        "RABBITMQ_CONF_ENV_FILE": folder / "none.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": folder / "none.config",
        "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "enabled_plugins",
        "RABBITMQ_MNESIA_BASE": folder / "mnesia",
        "RABBITMQ_LOG_BASE": folder,
        "RABBITMQ_PID_FILE": folder / "pid",
        "RABBITMQ_DIST_PORT": _unreserved_port(),
        "ERL_EPMD_PORT": ports["epmd-port"],
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # One scheduler that does not spin: the tests need the processors.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
    }
    (folder / "environment").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def _unreserved_port() -> int:
    """The node insists on a port that is free on all addresses before it takes it on one."""
    with socket.create_server(("", 0)) as probe:
        return int(probe.getsockname()[1])


def _certificate(folder: Path) -> None:
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
            ),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )


@contextlib.contextmanager
def broker_for(key: str) -> Iterator[Broker]:
    """The broker that all who name the same key share; it ends with the last of them, however that ends."""
    places = Path(tempfile.gettempdir())
    folder = places / f"{PREFIX}{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    broker = Broker(folder)
    with contextlib.ExitStack() as stack:
        with alone(places):
            clear_stale(places, PREFIX, lambda _: None)
            until(lambda: is_held(folder, stack), "the last broker of this name has ended")
            if not (folder / "environment").exists():
                try:
                    prepare(folder)
                except BaseException:
                    stack.close()
                    shutil.rmtree(folder)
                    raise
                start_guard(broker_guard.__file__, folder)
        stack.callback(broker.disconnect)
        until(broker.listens, "the broker answers", seconds=START_SECONDS)
        yield broker


class OwnBroker:
    """A broker that only one test uses: it may be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = Broker(folder)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again too: it has what was confirmed."""
        self._process = broker_guard.start(self.folder)
        until(self.broker.listens, "the broker answers", seconds=START_SECONDS)

    def kill(self) -> None:
        """kill -9 of the node and all that belongs to it."""
        self.broker.disconnect()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            until(lambda: not self.broker.listens(), "the broker is gone")
            self._process = None


@contextlib.contextmanager
def own_broker() -> Iterator[OwnBroker]:
    """A broker to be killed; it ends here in any case."""
    folder = Path(tempfile.mkdtemp(prefix="octospool-own-broker-"))
    broker = OwnBroker(folder)
    try:
        prepare(folder)
        broker.start()
        yield broker
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)
