"""Connections to the broker. The only place that knows the AMQP library, which is imported when it is needed."""

from __future__ import annotations

import contextlib
import select
import ssl
from collections.abc import Iterator
from typing import Any

from flow_processor.errors import QueueUnavailable
from flow_processor.queues.amqp_address import BrokerAddress, missing_package

CONNECT_SECONDS = 5.0
"""A broker that does not answer by then is away."""

CONFIRM_SECONDS = 15.0
"""A broker that has not confirmed by then (it is out of memory or disk, say) is as good as away."""

WINDOW = 500
"""So many messages are on their way before their confirmations are waited for."""

REPLY_SECONDS = 5.0
"""How long a call to the broker waits for its answer."""

HEARTBEAT_SECONDS = 30

RETRY_AFTER_SECONDS = 5
"""When whoever was refused for want of a broker had better ask again."""


@contextlib.contextmanager
def speaking(address: BrokerAddress) -> Iterator[None]:
    """What goes wrong with the broker inside raises QueueUnavailable, with the broker's address and its reason."""
    if (problem := missing_package()) is not None:
        raise QueueUnavailable(problem, details=_away(address))
    import amqp

    try:
        yield
    except (OSError, amqp.AMQPError, amqp.exceptions.MessageNacked) as error:
        message = f"the message broker {address} cannot be used: {_reason(error, address)}"
        raise QueueUnavailable(message, details=_away(address)) from error


def _away(address: BrokerAddress) -> dict[str, Any]:
    return {"broker": str(address), "retry_after_seconds": RETRY_AFTER_SECONDS}


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
            if not heartbeat:
                # Nothing else would notice a broker that says no more: it stands still, or the line is cut.
                self._connection.transport.sock.settimeout(REPLY_SECONDS)

    @property
    def product(self) -> str:
        """What the broker calls itself: `RabbitMQ 3.13.7`."""
        said = self._connection.server_properties
        return f"{said.get('product', 'a broker')} {said.get('version', '')}".strip()

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


def was_lost(error: BaseException | None) -> bool:
    """Did the connection go, rather than the broker refuse or keep silent?"""
    import amqp

    lost = (OSError, amqp.exceptions.RecoverableConnectionError)
    return isinstance(error, lost) and not isinstance(error, TimeoutError)


class Confirmed:
    """A channel on which the broker confirms what it has taken."""

    def __init__(self, link: Link) -> None:
        import amqp

        self._link = link
        self._message = amqp.Message
        self._refusal = amqp.exceptions.MessageNacked
        self._channel = link.channel()
        self._count = 0
        self._open: dict[int, None] = {}
        """Numbers of messages that are not confirmed."""
        self._returned: list[str] = []
        """Where nobody was for the messages that came back."""
        self._channel.events["basic_ack"].add(self._confirmed)
        self._channel.events["basic_nack"].add(self._refused)
        self._channel.events["basic_return"].add(self._came_back)
        self._channel.confirm_select()

    def publish(self, exchange: str, routing_key: str, body: bytes, properties: dict[str, Any]) -> None:
        """Send a message; waits for confirmations only where too many are open."""
        self._count += 1
        self._open[self._count] = None
        message = self._message(body, **properties)
        self._channel.basic_publish(message, exchange, routing_key, mandatory=True, timeout=CONFIRM_SECONDS)
        self._settle(WINDOW - 1)

    def settle(self) -> list[str]:
        """Return once everything is confirmed; where (exchange or queue) there was nobody for a message."""
        self._settle(0)
        returned, self._returned = self._returned, []
        return returned

    def _settle(self, most: int) -> None:
        while len(self._open) > most:
            self._link.drain(CONFIRM_SECONDS)
            if self._link.is_blocked:
                raise QueueUnavailable(
                    f"the message broker {self._link.address} takes nothing now: it is short of memory or disk",
                    details=_away(self._link.address),
                )

    def _confirmed(self, number: int, multiple: bool) -> None:
        for known in [known for known in self._open if known <= number] if multiple else [number]:
            self._open.pop(known, None)

    def _refused(self, number: int, multiple: bool) -> None:
        raise self._refusal("it refuses a message (a queue is at its limit?)")

    def _came_back(self, error: Exception, exchange: str, routing_key: str, message: Any) -> None:
        self._returned.append(exchange or routing_key)
