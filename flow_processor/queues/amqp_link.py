"""Connections to the broker. The only place that knows the AMQP library, which is imported when it is needed."""

from __future__ import annotations

import contextlib
import importlib.util
import select
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flow_processor.clock import Clock
from flow_processor.errors import QueueUnavailable
from flow_processor.queues.amqp_address import BrokerAddress

T = TypeVar("T")

CONNECT_SECONDS = 5.0
"""A broker that does not answer by then is away."""

CONFIRM_SECONDS = 15.0
"""A broker that has not confirmed by then (it is out of memory or disk, say) is as good as away."""

REFUSE_SECONDS = 1.0
"""Who could not connect does not try again so soon: a call waits for an absent broker once, not each time."""

WINDOW = 500
"""So many messages are on their way before their confirmations are waited for."""

HEARTBEAT_SECONDS = 30


class Unroutable(QueueUnavailable):
    """The broker has a message and no queue for it: somebody deleted a queue there."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be published."""

    exchange: str
    """Empty: straight to the queue `routing_key`."""
    body: bytes = field(repr=False)
    properties: dict[str, Any] = field(repr=False)
    routing_key: str = ""


def missing_package() -> str | None:
    """What to do about the AMQP library if it is not there, in a sentence. Imports nothing."""
    if importlib.util.find_spec("amqp") is not None:
        return None
    return f'the package amqp is not installed; install it: {sys.executable} -m pip install "octospool[rabbitmq]"'


@contextlib.contextmanager
def speaking(address: BrokerAddress) -> Iterator[None]:
    """What goes wrong with the broker inside raises QueueUnavailable, with the broker's address and its reason."""
    if (problem := missing_package()) is not None:
        raise QueueUnavailable(problem, details={"broker": str(address)})
    import amqp

    try:
        yield
    except (OSError, amqp.AMQPError, amqp.exceptions.MessageNacked) as error:
        message = f"the message broker {address} cannot be used: {_reason(error, address)}"
        raise QueueUnavailable(message, details={"broker": str(address)}) from error


@contextlib.contextmanager
def refusing(address: BrokerAddress) -> Iterator[None]:
    """What the broker refuses inside raises QueueUnavailable; if the connection is lost, that goes on as it is."""
    import amqp

    try:
        yield
    except amqp.exceptions.ChannelError:
        with speaking(address):
            raise


def _reason(error: Exception, address: BrokerAddress) -> str:
    code = getattr(error, "reply_code", None)
    said = getattr(error, "reply_text", None) or str(error) or type(error).__name__
    if code == 403 and "Login was refused" in said:
        return f"user '{address.user}' and the password are refused; set them right in BROKER_URL"
    if code == 403:
        return f"{said}; give user '{address.user}' the permissions of docs/rabbitmq.md"
    if code == 530:
        return (
            f"user '{address.user}' may not use the virtual host '{address.virtual_host}', or there is none"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); name the CA: amqps://…?ca_file=FILE"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    return said


class Link:
    """One connection. Not thread safe, but for `wake`."""

    def __init__(self, address: BrokerAddress, *, name: str, heartbeat: bool) -> None:
        """Connect. `heartbeat`: somebody calls `wait` all the time. Raises QueueUnavailable."""
        self.address = address
        self.is_blocked = False
        """Has the broker said that it takes no messages now?"""
        with speaking(address):
            import amqp

            self._connection = amqp.Connection(
                host=f"[{address.host}]:{address.port}"
                if ":" in address.host
                else f"{address.host}:{address.port}",
                userid=address.user,
                password=address.password,
                login_method="PLAIN",
                virtual_host=address.virtual_host,
                ssl=_tls(address),
                connect_timeout=CONNECT_SECONDS,
                write_timeout=CONFIRM_SECONDS,
                heartbeat=HEARTBEAT_SECONDS if heartbeat else 0,
                on_blocked=lambda reason: setattr(self, "is_blocked", True),
                on_unblocked=lambda: setattr(self, "is_blocked", False),
                client_properties={"product": "octospool", "connection_name": name},
            )
            self._connection.connect()

    def channel(self) -> Any:
        """A fresh channel. A refusal by the broker ends the channel, not the connection."""
        channel = self._connection.channel()
        channel.auto_decode = False  # bodies are bytes, whatever they say of themselves
        return channel

    def wait(self, wake: int, seconds: float) -> bool:
        """Handle one thing that the broker says, or return when something can be read from the file `wake`, or after
        so long. True: there may be more at once."""
        socket = self._connection.transport.sock
        readable = (
            [socket]
            if getattr(socket, "pending", int)()
            else select.select([socket, wake], [], [], seconds)[0]
        )
        if socket not in readable:
            return False
        with contextlib.suppress(TimeoutError):  # the rest of it is not here yet
            self._connection.drain_events(timeout=0.05)
        return True

    def beat(self) -> None:
        """Say that we live, and notice if the broker does not; to be called each few seconds."""
        self._connection.heartbeat_tick()

    def drain(self, seconds: float) -> None:
        """Handle one thing that the broker says. Raises TimeoutError."""
        self._connection.drain_events(timeout=seconds)

    def close(self) -> None:
        """Say goodbye if the broker hears it. What is not acknowledged is given to others by the broker."""
        with contextlib.suppress(Exception):
            self._connection.transport.sock.settimeout(1.0)
            self._connection.close()
        with contextlib.suppress(Exception):
            self._connection.collect()


def _tls(address: BrokerAddress) -> Any:
    if not address.tls:
        return False
    files = {"ca_certs": address.ca_file, "certfile": address.cert_file, "keyfile": address.key_file}
    return {
        **{name: str(path) for name, path in files.items() if path is not None},
        # The name is what the certificate is checked against; without it nothing is.
        "server_hostname": address.host if address.verify else None,
        "cert_reqs": ssl.CERT_REQUIRED if address.verify else ssl.CERT_NONE,
        "tls_minimum_version": ssl.TLSVersion.TLSv1_2,
    }


def depth(channel: Any, name: str) -> int | None:
    """How many messages wait in a queue at the broker; None if there is no such queue."""
    import amqp

    asking = channel.connection.channel()  # its own: the broker closes it where there is no such queue
    try:
        found = asking.queue_declare(name, passive=True)
    except amqp.exceptions.NotFound:
        return None
    asking.close()
    return int(found.message_count)


class Publisher:
    """Publishes, and does other things that need an answer at once. Thread safe: one thing at a time.

    It connects when it is needed, and anew where the connection was lost since.
    """

    def __init__(self, address: BrokerAddress, *, name: str, clock: Clock) -> None:
        """`name` is what the broker shows of it."""
        self._address = address
        self._name = name
        self._clock = clock
        self._link: Link | None = None
        self._lock = threading.Lock()
        self._refused: tuple[float, QueueUnavailable] | None = None
        """When it could last not connect (monotonic clock), and why."""

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Return once the broker has confirmed them all: they are in queues, on its disk.

        Raises Unroutable, QueueUnavailable; then some of them may be there.
        """
        self.do(lambda channel: _publish(channel, self._drain, messages))

    def do(self, work: Callable[[Any], T]) -> T:
        """What `work` comes to with a channel of its own. Once more where a connection that stood idle is gone.

        Raises QueueUnavailable, and what `work` raises that has nothing to do with the broker.
        """
        with self._lock:
            is_fresh = self._link is None
            try:
                return self._once(work)
            except QueueUnavailable as error:
                if is_fresh or not _is_lost(error.__cause__):
                    raise
            return self._once(work)

    def _once(self, work: Callable[[Any], T]) -> T:
        link = self._link = self._link or self._connected()
        try:
            with speaking(self._address):
                channel = link.channel()
                result = work(channel)
                channel.close()
                return result
        except BaseException:
            self._drop()
            raise

    def _connected(self) -> Link:
        now = self._clock.monotonic()
        if self._refused is not None and now - self._refused[0] < REFUSE_SECONDS:
            raise QueueUnavailable(self._refused[1].message, details=self._refused[1].details)
        try:
            link = Link(self._address, name=self._name, heartbeat=False)
        except QueueUnavailable as error:
            self._refused = (self._clock.monotonic(), error)
            raise
        self._refused = None
        return link

    def _drain(self, seconds: float) -> None:
        assert self._link is not None  # noqa: S101
        self._link.drain(seconds)
        if self._link.is_blocked:
            message = f"the message broker {self._address} takes nothing now: it is short of memory or disk"
            raise QueueUnavailable(message, details={"broker": str(self._address)})

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def _is_lost(error: BaseException | None) -> bool:
    """Did the connection go, rather than the broker refuse?"""
    import amqp

    lost = (OSError, amqp.exceptions.RecoverableConnectionError)
    return isinstance(error, lost) and not isinstance(error, TimeoutError)


def _publish(channel: Any, drain: Callable[[float], None], messages: Sequence[Outgoing]) -> None:
    import amqp

    returned: list[str] = []
    open_tags: dict[int, None] = {}

    def confirmed(tag: int, multiple: bool) -> None:
        if not multiple:
            open_tags.pop(tag, None)
            return
        for known in [known for known in open_tags if known <= tag]:
            del open_tags[known]

    def refused(tag: int, multiple: bool) -> None:
        raise amqp.exceptions.MessageNacked("it refuses a message (a queue is at its limit?)")

    channel.events["basic_ack"].add(confirmed)
    channel.events["basic_nack"].add(refused)
    channel.events["basic_return"].add(lambda error, exchange, key, message: returned.append(exchange or key))
    channel.confirm_select()
    for tag, message in enumerate(messages, 1):
        open_tags[tag] = None
        body = amqp.Message(message.body, **message.properties)
        channel.basic_publish(
            body, message.exchange, message.routing_key, mandatory=True, timeout=CONFIRM_SECONDS
        )
        while len(open_tags) >= WINDOW:
            drain(CONFIRM_SECONDS)
    while open_tags:
        drain(CONFIRM_SECONDS)
    if returned:
        raise Unroutable(f"the message broker has no queue behind '{returned[0]}'")
