"""Queues at a RabbitMQ broker (BROKER_URL=amqp://…): the same flow files, and any program may publish.

Nothing is acknowledged to the broker before the store has it, and nothing counts as put before the broker has
confirmed it. What either side says twice is known by the item's id.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from pathlib import Path
from typing import Any

from flow_processor.clock import Clock
from flow_processor.errors import QueueUnavailable
from flow_processor.queues.amqp_address import BrokerAddress
from flow_processor.queues.amqp_consumer import Surroundings
from flow_processor.queues.amqp_dead_letters import DeadLetters
from flow_processor.queues.amqp_depths import Depths
from flow_processor.queues.amqp_failed import letter_of, refusal_of
from flow_processor.queues.amqp_known import KnownListeners
from flow_processor.queues.amqp_link import Link
from flow_processor.queues.amqp_listening import Listening
from flow_processor.queues.amqp_messages import body_of, properties_of
from flow_processor.queues.amqp_names import (
    declare,
    declare_listener,
    exchange_of,
    failed_queue,
    waiting_queue,
)
from flow_processor.queues.amqp_publisher import Outgoing, Publisher, Unroutable
from flow_processor.queues.amqp_waiting import bring_in
from flow_processor.queues.backend import Intake, Listeners, Purged
from flow_processor.queues.bounds import check_bounds
from flow_processor.queues.content import ContentRefused
from flow_processor.queues.item import Counts, FailedItem, Held, Item, Reason
from flow_processor.spec.queue_settings import QueueSettings

logger = logging.getLogger("octospool.queues")

ANSWER_SECONDS = 30.0
"""How long a call waits for what the listening thread does for it."""


class AmqpBackend:
    """Backend over one broker. Thread safe. It connects when it is needed, and again whenever that is lost."""

    def __init__(
        self,
        address: BrokerAddress,
        *,
        state_file: Path,
        in_work: Callable[[str], int],
        attempts: Callable[[str, str, str], int],
        settings_of: Callable[[str], QueueSettings],
        clock: Clock,
    ) -> None:
        """`state_file` remembers the flows for which there are queues at the broker; `in_work` counts the items of a
        queue of which not every run has ended; `attempts` those of an item (queue, id, flow)."""
        self._address = address
        self._in_work = in_work
        self._attempts = attempts
        self._settings_of = settings_of
        self._clock = clock
        self._publisher = Publisher(address, name="octospool publisher", clock=clock)
        self._control = Publisher(address, name="octospool control", clock=clock)
        self._declared: set[str] = set()
        """Queues that are made at the broker; emptied when one turns out not to be there."""
        self._known = KnownListeners(state_file)
        self._depths = Depths(self._control, self._made, clock=clock)
        self._letters = DeadLetters(self._control, self._publisher, self._made)
        self._ends = ThreadPoolExecutor(1, thread_name_prefix="amqp-failed")
        self._wanted: Listeners = {}
        self._paused: frozenset[str] = frozenset()
        self._intake: Intake | None = None
        self._listening: Listening | None = None

    def start(self, intake: Intake) -> None:
        """Begin to offer what waits."""
        self._intake = intake
        around = Surroundings(
            intake=intake,
            clock=self._clock,
            max_item_bytes=lambda queue: int(self._settings_of(queue).max_item_bytes),
            refuse=self._refuse,
            post=lambda work: listening.post(work),
            wake=lambda: listening.wake(),
        )
        listening = Listening(
            self._address,
            around,
            clock=self._clock,
            on_listening=self._listens,
            bring_in=self._bring_in,
        )
        self._listening = listening
        listening.listen(self._wanted)
        listening.set_paused(self._paused)
        listening.start()

    def stop(self) -> None:
        """Offer nothing more."""
        if self._listening is not None:
            self._listening.stop()

    def close(self) -> None:
        """Let go of the broker."""
        self._ends.shutdown(wait=True, cancel_futures=True)
        self._publisher.close()
        self._control.close()

    def listen(self, listeners: Listeners) -> None:
        """From now on these flows get the items of these queues."""
        before, self._wanted = self._wanted, {queue: tuple(flows) for queue, flows in listeners.items()}
        self._declared -= {queue for queue, flows in self._wanted.items() if flows != before.get(queue)}
        if self._listening is not None:
            self._listening.listen(self._wanted)

    def has_room(self, queue: str, flow: str) -> None:
        """The flow takes items again."""
        if self._listening is not None:
            self._listening.wake()

    def set_paused(self, queues: frozenset[str]) -> None:
        """Offer nothing of these queues."""
        self._paused = queues
        if self._listening is not None:
            self._listening.set_paused(queues)

    def give_up(self, item: Item, reason: Reason) -> Future[None]:
        """Make the item a dead letter."""
        return self._ends.submit(self._give_up, item, reason)

    def has_ended(self, queue: str, item_id: str, flow: str) -> None:
        """Nothing is left to do: the message was acknowledged when the ledger had it."""

    def may_try_again(self, item: Item, flow: str) -> str | None:
        """Always."""
        return None

    def put(self, queue: str, items: Sequence[Item], *, any_size: bool = False) -> None:
        """Publish items; the broker has confirmed that it keeps them when this returns."""
        bodies = [body_of(item) for item in items]
        waiting = self._depths.waiting(queue, self._listeners_of(queue))
        sizes, settings = [len(body) for body in bodies], self._settings_of(queue)
        check_bounds(queue, sizes, waiting=waiting, settings=settings, any_size=any_size)
        exchange = exchange_of(queue)
        messages = [
            Outgoing(exchange, body, properties_of(item)) for item, body in zip(items, bodies, strict=True)
        ]
        self._publish(queue, messages)
        self._depths.have_come(queue, len(items))

    def names(self) -> set[str]:
        """Queues that flows listen to or did, and those that were used since the start."""
        return {*self._wanted, *self._known.queues(), *self._declared}

    def counts(self, queue: str) -> Counts:
        """How full a queue is; where the broker does not tell, as it last was (`problems` says so)."""
        return self._depths.counts(queue, self._listeners_of(queue), in_work=self._in_work(queue))

    def failed(self, queue: str, *, limit: int, after: str | None = None) -> list[FailedItem]:
        """Failed items by their ids, those behind `after`; of very many the oldest. Raises QueueUnavailable."""
        found = self._letters.all(queue)
        return [item for item_id, item in found.items() if after is None or item_id > after][:limit]

    def failed_item(self, queue: str, item_id: str) -> FailedItem:
        """One failed item. Raises ItemNotFound, QueueUnavailable."""
        return self._letters.one(queue, item_id)

    def value(self, queue: str, item_id: str) -> Held:
        """What a failed item holds. Raises ItemNotFound, QueueUnavailable."""
        return self._letters.value(queue, item_id)

    def retry(self, queue: str, item_id: str) -> None:
        """Begin again with a failed item. Raises ItemNotFound, QueueUnavailable."""
        if self._intake is None:
            raise QueueUnavailable("no daemon is at work that could begin with it")
        self._letters.retry(queue, item_id, self._intake)

    def delete(self, queue: str, item_id: str) -> None:
        """Delete a failed item. Raises ItemNotFound, QueueUnavailable."""
        self._letters.delete(queue, item_id)

    def purge(self, queue: str, what: Purged) -> int:
        """Delete all these items. Raises QueueUnavailable."""
        if what is Purged.DONE:
            return 0  # the broker keeps nothing of what is done

        def work(channel: Any) -> int:
            self._made(queue, channel)
            name = failed_queue(queue) if what is Purged.FAILED else waiting_queue(queue)
            return int(channel.queue_purge(name))

        count = self._control.do(work)
        if what is Purged.FAILED:
            return count
        return count + self._purge_listeners(queue)

    def _purge_listeners(self, queue: str) -> int:
        consumed = 0
        if self._listening is not None and queue not in self._paused:
            try:
                consumed = self._listening.purge(queue).result(ANSWER_SECONDS)
            except FutureTimeoutError:
                raise QueueUnavailable(f"the message broker {self._address} does not answer") from None
        rest = self._depths.purge(queue, self._listeners_of(queue))
        return max(consumed, rest)  # each listener has its own copy of an item

    def forget(self, queue: str) -> None:
        """Name the queue no more if nothing is in it; what belongs to it at the broker stays."""
        with contextlib.suppress(QueueUnavailable):  # then it is named until the next purge, or start
            if self._depths.is_empty(queue, self._listeners_of(queue)):
                self._declared.discard(queue)

    def problems(self, queue: str) -> list[str]:
        """What keeps the queue from being worked off."""
        listening = self._listening
        told = (
            [self._depths.problem] if listening is None else [listening.problem, listening.refused.get(queue)]
        )
        return [*(problem for problem in told if problem), *self._known.problems(queue)]

    def _listeners_of(self, queue: str) -> list[str]:
        """Flows that have a queue at the broker."""
        return sorted({*self._wanted.get(queue, ()), *self._known.flows(queue)})

    def _made(self, queue: str, channel: Any) -> None:
        if queue not in self._declared:
            declare(channel, queue)
            # Before the first item is published: else it would miss those that are about to listen.
            for flow in self._wanted.get(queue, ()):
                declare_listener(channel, queue, flow)
            self._declared.add(queue)

    def _publish(self, queue: str, messages: Sequence[Outgoing]) -> None:
        """Publish to what belongs to the queue. Raises QueueUnavailable."""
        if queue not in self._declared:
            self._publisher.do(partial(self._made, queue))
        try:
            self._publisher.publish(messages)
        except Unroutable:  # somebody deleted it
            self._declared.discard(queue)
            self._publisher.do(partial(self._made, queue))
            self._publisher.publish(messages)

    def _give_up(self, item: Item, reason: Reason) -> None:
        attempts = self._attempts(item.queue, item.id, reason.flow or "")
        letter = letter_of(item, reason, attempts=attempts, at=self._clock.now().timestamp())
        self._publish(item.queue, [letter])

    def _refuse(self, queue: str, flow: str, message: Any, why: ContentRefused) -> None:
        logger.warning("queue '%s': a message is refused: %s", queue, why.message, extra={"flow": flow})
        reason = Reason(code=why.code, message=why.message, flow=flow, details=why.details)
        at = self._clock.now().timestamp()
        self._publish(queue, [refusal_of(queue, message, reason, at=at)])

    def _listens(self, link: Link, listeners: Listeners) -> None:
        with contextlib.closing(link.channel()) as channel:
            self._known.now(channel, listeners)

    def _bring_in(self, link: Link, queue: str) -> None:
        with contextlib.closing(link.channel()) as channel:
            bring_in(channel, queue, publish=partial(self._publish, queue), clock=self._clock)
