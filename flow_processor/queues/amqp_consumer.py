"""One flow's queue at the broker: what comes from it is offered to the intake, and acknowledged once that has it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from flow_processor.clock import Clock
from flow_processor.queues.amqp_messages import id_of, item_of, named
from flow_processor.queues.amqp_names import listener_queue
from flow_processor.queues.backend import Intake, Offer
from flow_processor.queues.content import ContentRefused

logger = logging.getLogger("octospool.queues")

MAX_PREFETCH = 200
"""The broker never sends more messages than this that are not acknowledged."""

PAUSE_SECONDS = (1.0, 60.0)
"""What cannot be launched now is offered again after the first, then after twice as long, up to the second."""

HOLD_SECONDS = 600.0
"""Messages that nobody has room for go back to the broker after so long: others may take them, and the broker itself
cuts off who keeps one for 30 minutes."""


@dataclass(frozen=True)
class Surroundings:
    """What all consumers share."""

    intake: Intake
    clock: Clock
    max_item_bytes: Callable[[str], int]
    """Of a queue."""
    refuse: Callable[[str, str, Any, ContentRefused], None]
    """Makes a message (queue, flow, message, why) a dead letter; returns once that is durable."""
    post: Callable[[Callable[[], None]], None]
    """Has something done in the thread that has the connection."""
    wake: Callable[[], None]
    """Has all consumers get a turn."""


class Consumer:
    """Takes the messages of one flow. All of it runs in the thread that has the connection.

    Its channel is a transaction: a message without an id is put back with one, and the original acknowledged, both or
    neither. So a message that the broker sends again after a crash is always known by its id.
    """

    def __init__(self, queue: str, flow: str, around: Surroundings) -> None:
        self.queue = queue
        self.flow = flow
        self._around = around
        self._name = listener_queue(queue, flow)
        self._channel: Any = None
        self._tag: str | None = None
        self._prefetch = 0
        self._here: deque[Any] = deque()
        """Messages that are not offered yet."""
        self._unanswered = 0
        self._has_acknowledged = False
        self._not_before = 0.0
        self._pause = PAUSE_SECONDS[0]
        self._held_since = 0.0

    @property
    def is_open(self) -> bool:
        """Does it get messages?"""
        return self._channel is not None

    def open(self, channel: Any) -> None:
        """Get messages through this fresh channel; the queue is there."""
        channel.tx_select()
        self._channel = channel
        self._consume(self._room())

    def _consume(self, wanted: int) -> None:
        if self._tag is not None:
            self._channel.basic_cancel(self._tag)
        self._prefetch = max(1, min(wanted, MAX_PREFETCH))
        self._channel.basic_qos(0, self._prefetch, False)
        self._tag = self._channel.basic_consume(self._name, callback=partial(self._came, self._channel))

    def _came(self, channel: Any, message: Any) -> None:
        if channel is self._channel:
            if not self._here:
                self._held_since = self._around.clock.monotonic()
            self._here.append(message)
            # It may have come while something else was waited for: nobody would look for it again.
            self._around.wake()

    def close(self) -> None:
        """Get no more; the broker has again what is not acknowledged."""
        channel, self._channel, self._tag = self._channel, None, None
        self._here.clear()
        self._unanswered = 0
        if channel is not None and channel.connection is not None:
            channel.close()

    def purge(self) -> int:
        """Delete what waits; how many went. What was offered stays."""
        self._channel.basic_cancel(self._tag)
        self._tag = None
        count = len(self._here)
        for message in self._here:
            self._channel.basic_ack(message.delivery_tag)
        self._here.clear()
        count += int(self._channel.queue_purge(self._name))
        self._has_acknowledged = True
        self._consume(self._room())
        return count

    def turn(self) -> float | None:
        """Offer what is here as far as there is room; in how many seconds it wants another turn, None: once asked."""
        if self._channel is None:
            return None
        now = self._around.clock.monotonic()
        while self._here and now >= self._not_before and (self._needs_no_room() or self._room() > 0):
            self._handle(self._here.popleft())
        self._commit()
        if not self._here:
            if self._unanswered >= self._prefetch < MAX_PREFETCH and (room := self._room()) > 0:
                self._consume(self._prefetch + room)
            return None
        if now - self._held_since > HOLD_SECONDS:
            self._give_back()
        return max(self._not_before - now, 0.0) or HOLD_SECONDS / 10

    def _needs_no_room(self) -> bool:
        return id_of(self._here[0]) is None

    def _handle(self, message: Any) -> None:
        queue, clock = self.queue, self._around.clock
        if id_of(message) is None:
            self._channel.basic_publish(named(message, clock.now()), "", self._name)
            self._acknowledge(message)
            return
        try:
            item = item_of(
                message,
                queue=queue,
                now=clock.now().timestamp(),
                max_bytes=self._around.max_item_bytes(queue),
            )
        except ContentRefused as why:
            self._around.refuse(queue, self.flow, message, why)
            self._acknowledge(message)
            return
        self._unanswered += 1
        offered = self._around.intake.offer(item, self.flow)
        offered.add_done_callback(partial(self._tell, self._channel, message))

    def _tell(self, channel: Any, message: Any, offered: Future[Offer]) -> None:
        self._around.post(lambda: self._answered(channel, message, offered.result()))

    def _answered(self, channel: Any, message: Any, offer: Offer) -> None:
        if channel is not self._channel:
            return  # the broker sends it again, and the intake knows it
        self._unanswered -= 1
        if offer is not Offer.LATER:
            self._pause = PAUSE_SECONDS[0]
            self._acknowledge(message)
            return
        if not self._here:
            self._held_since = self._around.clock.monotonic()
        self._here.appendleft(message)
        if self._around.clock.monotonic() >= self._not_before:
            self._not_before = self._around.clock.monotonic() + self._pause
            self._pause = min(self._pause * 2, PAUSE_SECONDS[1])

    def _acknowledge(self, message: Any) -> None:
        self._channel.basic_ack(message.delivery_tag)
        self._has_acknowledged = True

    def _commit(self) -> None:
        if self._has_acknowledged:
            self._has_acknowledged = False
            self._channel.tx_commit()

    def _give_back(self) -> None:
        """Let the broker have what is here; it comes again, to us or to others."""
        for message in self._here:
            self._channel.basic_reject(message.delivery_tag, requeue=True)
        self._here.clear()
        self._has_acknowledged = True
        self._commit()

    def _room(self) -> int:
        return self._around.intake.room(self.queue, self.flow)
