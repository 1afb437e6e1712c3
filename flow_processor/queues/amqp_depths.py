"""How many messages wait at the broker. Each answer counts for a moment, so that asking often costs little."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flow_processor.clock import Clock
from flow_processor.errors import QueueUnavailable
from flow_processor.queues.amqp_link import depth
from flow_processor.queues.amqp_messages import told_of
from flow_processor.queues.amqp_names import failed_queue, listener_queue, waiting_queue
from flow_processor.queues.amqp_publisher import Publisher
from flow_processor.queues.item import Counts

FRESH_SECONDS = 1.0
"""So long an answer counts."""


@dataclass(frozen=True, slots=True)
class _Depth:
    at: float
    """Of the monotonic clock."""
    counts: Counts


class Depths:
    """What waits in queues. Thread safe."""

    def __init__(self, control: Publisher, made: Callable[[str, Any], None], *, clock: Clock) -> None:
        self._control = control
        self._made = made
        self._clock = clock
        self._found: dict[str, _Depth] = {}
        self.problem: str | None = None
        """Why the broker did not tell; None: it did."""
        self._lock = threading.Lock()

    def counts(self, queue: str, flows: Sequence[str], *, in_work: int) -> Counts:
        """How full the queue is; `waiting` is what the flow has before it that is furthest behind. Where the broker
        does not tell: as it was when it last did (`problem` says so)."""
        try:
            found = self._fresh(queue, flows)
        except QueueUnavailable as error:
            self.problem = error.message
            with self._lock:
                known = self._found.get(queue)
            found = Counts() if known is None else known.counts
        return replace(found, in_work=in_work)

    def waiting(self, queue: str, flows: Sequence[str]) -> int:
        """How many items wait. Raises QueueUnavailable."""
        return self._fresh(queue, flows).waiting

    def is_empty(self, queue: str, flows: Sequence[str]) -> bool:
        """Is nothing there now, not even a dead letter? Raises QueueUnavailable."""
        with self._lock:
            self._found.pop(queue, None)
        counts = self._fresh(queue, flows)
        return not (counts.waiting or counts.failed)

    def have_come(self, queue: str, count: int) -> None:
        """So many more wait now."""
        with self._lock:
            known = self._found.get(queue)
            if known is not None:
                counts = replace(known.counts, waiting=known.counts.waiting + count)
                self._found[queue] = replace(known, counts=counts)

    def purge(self, queue: str, flows: Sequence[str]) -> int:
        """Delete what waits for these flows; how many items that were."""

        def work(channel: Any) -> int:
            self._made(queue, channel)
            there = [flow for flow in flows if depth(channel, listener_queue(queue, flow)) is not None]
            return max((int(channel.queue_purge(listener_queue(queue, flow))) for flow in there), default=0)

        return self._control.do(work)

    def _fresh(self, queue: str, flows: Sequence[str]) -> Counts:
        now = self._clock.monotonic()
        with self._lock:
            known = self._found.get(queue)
        if known is None or now - known.at > FRESH_SECONDS:
            known = _Depth(now, self._control.do(lambda channel: self._ask(channel, queue, flows)))
            self.problem = None
            with self._lock:
                self._found[queue] = known
        return known.counts

    def _ask(self, channel: Any, queue: str, flows: Sequence[str]) -> Counts:
        self._made(queue, channel)
        names = [listener_queue(queue, flow) for flow in flows]
        depths = {name: depth(channel, name) or 0 for name in (waiting_queue(queue), *names)}
        name, deepest = max(depths.items(), key=lambda pair: pair[1])
        return Counts(
            waiting=deepest,
            failed=depth(channel, failed_queue(queue)) or 0,
            oldest_at=self._oldest(channel, queue, name) if deepest else None,
        )

    def _oldest(self, channel: Any, queue: str, name: str) -> float | None:
        """When the message at the head was put: it is taken, and goes back to its place."""
        message = channel.basic_get(name)
        if message is None:
            return None
        channel.basic_reject(message.delivery_tag, requeue=True)
        return told_of(message, queue=queue, now=self._clock.now().timestamp()).put_at
