"""Dead letters: what flows have given up, and what was refused, in a queue of its own at the broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flow_processor.queues.amqp_messages import body_of, id_of, properties_of, raw_body, told_of
from flow_processor.queues.amqp_names import failed_queue
from flow_processor.queues.amqp_publisher import Outgoing
from flow_processor.queues.item import FailedItem, Item, Reason

MAX_LETTERS = 10_000
"""Letters of a queue that are looked through, the oldest; nobody reads more."""

FLOW, RUN, CODE, MESSAGE, DETAILS, ATTEMPTS, FAILED_AT, REFUSED = (
    f"octospool-{name}"
    for name in ("flow", "run", "code", "message", "details", "attempts", "failed-at", "refused")
)
"""Headers of a dead letter. `failed-at` is in milliseconds; `refused` is there where no flow could have it."""

MAX_MESSAGE = 2000
"""Characters of a reason that fit into a header; the run has all of it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter at the broker. It goes back there when its channel is closed, unless it is acknowledged."""

    queue: str
    message: Any = field(repr=False)

    @property
    def id(self) -> str:
        """Of the item."""
        return id_of(self.message) or ""

    @property
    def flow(self) -> str:
        """The flow that gave it up."""
        return str(self.headers.get(FLOW) or "")

    @property
    def headers(self) -> dict[str, Any]:
        """What the message says beside its body."""
        return self.message.headers or {}

    @property
    def is_refused(self) -> bool:
        """Could no flow have it?"""
        return bool(self.headers.get(REFUSED))

    @property
    def failed_at(self) -> float:
        """In seconds since 1970."""
        at = self.headers.get(FAILED_AT)
        return at / 1000 if isinstance(at, int) else 0.0

    @property
    def details(self) -> dict[str, Any]:
        """What the reason says beside its message."""
        return dict(json.loads(self.headers.get(DETAILS) or "{}"))

    def item(self) -> Item:
        """The item as its flow had it, or (refused) without a value."""
        value = None if self.is_refused else json.loads(raw_body(self.message))
        return told_of(self.message, queue=self.queue, now=self.failed_at, value=value)

    def original(self) -> dict[str, Any]:
        """The properties that the message had before it became a letter."""
        ours = (FLOW, RUN, CODE, MESSAGE, DETAILS, ATTEMPTS, FAILED_AT, REFUSED)
        headers = {name: value for name, value in self.headers.items() if name not in ours}
        return {**self.message.properties, "application_headers": headers}


def letter_of(item: Item, reason: Reason, *, attempts: int, at: float) -> Outgoing:
    """What is published when a flow gives an item up; `at` is in seconds since 1970."""
    return _letter(item.queue, body_of(item), properties_of(item), reason, at=at, **{ATTEMPTS: attempts})


def refusal_of(queue: str, message: Any, reason: Reason, *, at: float) -> Outgoing:
    """What is published of a message that no flow can have: its body as it came."""
    return _letter(queue, raw_body(message), dict(message.properties), reason, at=at, **{REFUSED: True})


def _letter(
    queue: str, body: bytes, properties: dict[str, Any], reason: Reason, *, at: float, **more: Any
) -> Outgoing:
    headers = {
        **(properties.get("application_headers") or {}),
        FLOW: reason.flow or "",
        RUN: reason.run_id or "",
        CODE: reason.code,
        MESSAGE: reason.message[:MAX_MESSAGE],
        DETAILS: json.dumps(reason.details)[: 10 * MAX_MESSAGE] if reason.details else "{}",
        FAILED_AT: int(at * 1000),
        **more,
    }
    properties = {**properties, "application_headers": headers, "delivery_mode": 2}
    properties.pop("expiration", None)  # nobody wants it to go before it was seen
    return Outgoing("", body, properties, failed_queue(queue))


def letters(channel: Any, queue: str) -> Iterator[Letter]:
    """The dead letters of a queue, oldest first. They are nobody else's until the channel is closed."""
    for _ in range(MAX_LETTERS):
        message = channel.basic_get(failed_queue(queue))
        if message is None:
            return
        yield Letter(queue, message)


def failed_items(found: Iterator[Letter]) -> dict[str, FailedItem]:
    """The items of these letters by id: one has as many letters as flows gave it up (after a crash: more)."""
    by_item: dict[str, dict[str, Letter]] = {}
    for letter in found:
        by_item.setdefault(letter.id, {})[letter.flow] = letter
    return {item_id: _failed_item(list(of_flows.values())) for item_id, of_flows in sorted(by_item.items())}


def _failed_item(found: list[Letter]) -> FailedItem:
    first = found[0]
    told = told_of(first.message, queue=first.queue, now=first.failed_at)
    return FailedItem(
        id=first.id,
        queue=first.queue,
        name=told.name,
        put_at=told.put_at,
        failed_at=max(letter.failed_at for letter in found),
        reasons=tuple(_reason(letter) for letter in found),
        attempts=max(_attempts(letter) for letter in found),
        size=len(raw_body(first.message)),
    )


def _reason(letter: Letter) -> Reason:
    said = letter.headers
    return Reason(
        code=str(said.get(CODE) or "failed"),
        message=str(said.get(MESSAGE) or ""),
        flow=letter.flow or None,
        run_id=str(said.get(RUN) or "") or None,
        details=letter.details,
    )


def _attempts(letter: Letter) -> int:
    said = letter.headers.get(ATTEMPTS)
    return said if isinstance(said, int) else 0
