"""What a queue is called at the broker, and how it is made there.

For a queue `orders` there are:

- the exchange `octospool.orders`: everybody publishes there, and each listener gets its own copy (fan-out);
- a queue `octospool.orders:FLOW` for each flow that listens;
- the queue `octospool.orders.waiting`: what is published while nobody listens comes here, by an alternate exchange;
- the queue `octospool.orders.failed`: what flows have given up, and what was refused.

No name of a queue can hold a `:`, so none of these can be taken for another.
"""

from __future__ import annotations

import hashlib
from typing import Any

from flow_processor.queues.item import PRIORITIES

PREFIX = "octospool."
MAX_NAME_BYTES = 255
"""The protocol has no room for more."""

_WITH_PRIORITIES = {"x-max-priority": PRIORITIES[-1]}


def exchange_of(queue: str) -> str:
    """Where items are published."""
    return f"{PREFIX}{queue}"


def listener_queue(queue: str, flow: str) -> str:
    """What waits for one flow. The end of a very long path is its hash."""
    name = f"{PREFIX}{queue}:{flow}"
    raw = name.encode()
    if len(raw) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return f"{raw[: MAX_NAME_BYTES - 17].decode(errors='ignore')}~{digest}"


def waiting_queue(queue: str) -> str:
    """What was published while nobody listened."""
    return f"{PREFIX}{queue}.waiting"


def failed_queue(queue: str) -> str:
    """Dead letters."""
    return f"{PREFIX}{queue}.failed"


def declare(channel: Any, queue: str) -> None:
    """Make all that a queue needs, without listeners; what is there already stays. On a fresh channel."""
    alternate = f"{PREFIX}{queue}:waiting"
    channel.exchange_declare(alternate, "fanout", durable=True, auto_delete=False)
    channel.queue_declare(waiting_queue(queue), durable=True, auto_delete=False, arguments=_WITH_PRIORITIES)
    channel.queue_bind(waiting_queue(queue), alternate)
    channel.queue_declare(failed_queue(queue), durable=True, auto_delete=False)
    channel.exchange_declare(
        exchange_of(queue),
        "fanout",
        durable=True,
        auto_delete=False,
        arguments={"alternate-exchange": alternate},
    )


def declare_listener(channel: Any, queue: str, flow: str) -> None:
    """Make the queue of one flow; from now on it gets a copy of every item."""
    name = listener_queue(queue, flow)
    channel.queue_declare(name, durable=True, auto_delete=False, arguments=_WITH_PRIORITIES)
    channel.queue_bind(name, exchange_of(queue))
