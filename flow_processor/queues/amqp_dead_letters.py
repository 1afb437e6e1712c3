"""What people do with dead letters at the broker: look, try again, delete."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from flow_processor.errors import ItemNotFound, QueueUnavailable
from flow_processor.queues.amqp_failed import Letter, failed_items, letters
from flow_processor.queues.amqp_messages import raw_body
from flow_processor.queues.amqp_names import listener_queue
from flow_processor.queues.amqp_publisher import Outgoing, Publisher
from flow_processor.queues.backend import Intake, Offer
from flow_processor.queues.item import TEXT_CHARACTERS, FailedItem, Held

T = TypeVar("T")

ANSWER_SECONDS = 30.0
"""How long a call waits for the store to have a run."""


class DeadLetters:
    """The dead letters of all queues. Thread safe; one who looks at them at a time."""

    def __init__(self, control: Publisher, publisher: Publisher, made: Callable[[str, Any], None]) -> None:
        """`made` makes a queue at the broker if it is not there (name of the queue, channel)."""
        self._control = control
        self._publisher = publisher
        self._made = made
        self._lock = threading.Lock()

    def all(self, queue: str) -> dict[str, FailedItem]:
        """Items with dead letters, by their ids."""
        return self._with_letters(queue, lambda found, _: failed_items(iter(found)))

    def one(self, queue: str, item_id: str) -> FailedItem:
        """One item. Raises ItemNotFound."""
        found = self._with_letters(queue, lambda found, _: failed_items(iter(_of(found, queue, item_id))))
        return found[item_id]

    def value(self, queue: str, item_id: str) -> Held:
        """What an item holds; of one that was refused its text. Raises ItemNotFound."""

        def look(found: list[Letter], channel: Any) -> Held:
            first = _of(found, queue, item_id)[0]
            if first.is_refused:
                text = raw_body(first.message).decode(errors="replace")
                return Held(has_value=False, text=text[:TEXT_CHARACTERS])
            return Held(value=first.item().value)

        return self._with_letters(queue, look)

    def delete(self, queue: str, item_id: str) -> None:
        """Delete an item's letters. Raises ItemNotFound."""
        self._with_letters(queue, lambda found, channel: _remove(channel, _of(found, queue, item_id)))

    def retry(self, queue: str, item_id: str, intake: Intake) -> None:
        """Have the flows that gave it up begin again; then its letters go. Raises ItemNotFound, QueueUnavailable."""

        def again(found: list[Letter], channel: Any) -> None:
            for letter in _of(found, queue, item_id):
                if letter.is_refused:
                    body = raw_body(letter.message)
                    self._publisher.publish(
                        [Outgoing("", body, letter.original(), listener_queue(queue, letter.flow))]
                    )
                else:
                    _begin_again(letter, intake)
                _remove(channel, [letter])

        self._with_letters(queue, again)

    def _with_letters(self, queue: str, work: Callable[[list[Letter], Any], T]) -> T:
        """What `work` makes of the letters; those that it does not remove stay as they are."""

        def look(channel: Any) -> T:
            self._made(queue, channel)
            return work(list(letters(channel, queue)), channel)

        with self._lock:
            return self._control.do(look)


def _of(found: list[Letter], queue: str, item_id: str) -> list[Letter]:
    mine = [letter for letter in found if letter.id == item_id]
    if not mine:
        raise ItemNotFound(
            f"the queue '{queue}' has no failed item '{item_id}'", details={"queue": queue, "item": item_id}
        )
    return mine


def _remove(channel: Any, found: list[Letter]) -> None:
    for letter in found:
        channel.basic_ack(letter.message.delivery_tag)


def _begin_again(letter: Letter, intake: Intake) -> None:
    try:
        offer = intake.again(letter.item(), letter.flow).result(ANSWER_SECONDS)
    except FutureTimeoutError:
        offer = Offer.LATER
    if offer is Offer.LATER:
        raise QueueUnavailable(f"flow '{letter.flow}' cannot begin with it now; the log and /readyz tell why")
