"""What was published while nobody listened, and its way to the first listeners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flow_processor.clock import Clock
from flow_processor.queues.amqp_messages import id_of, named, raw_body
from flow_processor.queues.amqp_names import exchange_of, waiting_queue
from flow_processor.queues.amqp_publisher import Outgoing

BATCH = 200
"""So many messages are moved at once."""


def bring_in(
    channel: Any, queue: str, *, publish: Callable[[Sequence[Outgoing]], None], clock: Clock
) -> None:
    """Publish anew what waits, for the listeners that are there now. On a fresh channel.

    A message is forgotten only once its copy is confirmed; what is published twice by a crash has the same id.
    """
    name = waiting_queue(queue)
    channel.tx_select()
    while found := _some(channel, name):
        known = [message for message in found if id_of(message) is not None]
        publish([Outgoing(exchange_of(queue), raw_body(message), message.properties) for message in known])
        for message in found:
            if id_of(message) is None:  # it comes again, with an id
                channel.basic_publish(named(message, clock.now()), "", name)
            channel.basic_ack(message.delivery_tag)
        channel.tx_commit()


def _some(channel: Any, name: str) -> list[Any]:
    found: list[Any] = []
    while len(found) < BATCH and (message := channel.basic_get(name)) is not None:
        found.append(message)
    return found
