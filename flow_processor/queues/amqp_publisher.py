"""Publishing, and everything else that wants an answer of the broker at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flow_processor.clock import Clock
from flow_processor.errors import QueueUnavailable
from flow_processor.queues.amqp_address import BrokerAddress
from flow_processor.queues.amqp_link import Confirmed, Link, speaking, was_lost

T = TypeVar("T")

REFUSE_SECONDS = 1.0
"""Who could not connect does not try again so soon: a call waits for an absent broker once, not each time."""


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


@dataclass(frozen=True, slots=True)
class _Wish:
    """What one caller wants to have published."""

    messages: Sequence[Outgoing]
    done: Future[None]


class Publisher:
    """Thread safe: one thing at a time, but what several callers publish goes together.

    It connects when it is needed, and anew where the connection was lost since.
    """

    def __init__(self, address: BrokerAddress, *, name: str, clock: Clock) -> None:
        """`name` is what the broker shows of it."""
        self._address = address
        self._name = name
        self._clock = clock
        self._link: Link | None = None
        self._confirmed: Confirmed | None = None
        self._lock = threading.Lock()
        """Of the connection."""
        self._wishes: list[_Wish] = []
        self._is_publishing = False
        self._turn = threading.Condition()
        """Of the wishes, and of who publishes them: all that came meanwhile go together."""
        self._refused: tuple[float, QueueUnavailable] | None = None
        """When it could last not connect (monotonic clock), and why."""

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Return once the broker has confirmed them all: they are in queues, on its disk.

        Raises Unroutable, QueueUnavailable; then some of them may be there.
        """
        wish = _Wish(messages, Future())
        with self._turn:
            self._wishes.append(wish)
            self._turn.wait_for(lambda: wish.done.done() or not self._is_publishing)
            if not wish.done.done():  # nobody else has published for us
                self._is_publishing = True
                wishes, self._wishes = self._wishes, []
        if not wish.done.done():
            try:
                self._publish(wishes)
            finally:
                with self._turn:
                    self._is_publishing = False
                    self._turn.notify_all()
        wish.done.result()

    def _publish(self, wishes: Sequence[_Wish]) -> None:
        messages = [message for wish in wishes for message in wish.messages]
        try:
            with self._lock:
                self._twice(lambda link: self._send(link, messages))
        except BaseException as error:  # noqa: BLE001  every caller gets it
            for wish in wishes:
                wish.done.set_exception(error)
            return
        for wish in wishes:
            wish.done.set_result(None)

    def _send(self, link: Link, messages: Sequence[Outgoing]) -> None:
        confirmed = self._confirmed = self._confirmed or Confirmed(link)
        for message in messages:
            confirmed.publish(message.exchange, message.routing_key, message.body, message.properties)
        if nobody := confirmed.settle():
            raise Unroutable(f"the message broker has no queue behind '{nobody[0]}'")

    def do(self, work: Callable[[Any], T]) -> T:
        """What `work` comes to with a channel of its own. Raises QueueUnavailable, and what `work` raises."""

        def on_channel(link: Link) -> T:
            channel = link.channel()
            result = work(channel)
            channel.close()
            return result

        with self._lock:
            return self._twice(on_channel)

    def _twice(self, work: Callable[[Link], T]) -> T:
        """Once more where a connection that stood idle turns out to be gone."""
        is_fresh = self._link is None
        try:
            return self._once(work)
        except QueueUnavailable as error:
            if is_fresh or not was_lost(error.__cause__):
                raise
        return self._once(work)

    def _once(self, work: Callable[[Link], T]) -> T:
        link = self._link = self._link or self._connected()
        try:
            with speaking(self._address):
                return work(link)
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

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        self._confirmed = None
        if self._link is not None:
            self._link.close()
            self._link = None
