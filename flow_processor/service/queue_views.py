"""What the service answers about queues."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flow_processor.clock import from_epoch
from flow_processor.service.views import Moment, View

if TYPE_CHECKING:
    from flow_processor.queues.item import FailedItem
    from flow_processor.spec.queue import QueueSpec
    from flow_processor.store.item_counts import ListenerCounts


class ListenerView(View):
    """A flow that listens to a queue."""

    flow: str
    """Path of the flow below the flows folder."""
    attempts: int
    """How many runs an item may have until one of them succeeds."""
    in_work: int
    """Items that it has and is not done with: runs under way, and those whose next attempt is due later."""
    again: int
    """Of those in work, how many wait for a further attempt: their last run failed."""
    next_at: Moment | None
    """When the first of these is tried again; null: none waits for that."""
    failed: int
    """Items that it has given up."""
    last_good_in_force: bool
    """True: its file is wrong now, and items start the version from before."""


class QueueView(View):
    """A queue, as lists show it."""

    queue: str
    """Its name."""
    depth: int
    """Items that wait: no flow has them yet. At a broker: those of the listener that is furthest behind."""
    in_work: int
    """Items that were taken and are not done."""
    failed: int
    """Items that some flow has given up, or that were refused; they stay until somebody retries or deletes them."""
    oldest_at: Moment | None
    """When the oldest of those that wait was put there."""
    oldest_seconds: float | None
    """How long it has waited."""
    unsent: int
    """Results of steps that are still to be put here."""
    per_minute: int
    """How often a listener has been done with an item, or has given it up, in the last minute."""
    listeners: list[str]
    """The flows that get its items, each of them each item; with none they wait."""
    paused: bool
    """Somebody has paused it: it takes items, but none of them begins."""
    paused_by: str | None
    """Who has."""
    paused_at: Moment | None
    """Since when."""
    problems: list[str]
    """What keeps its items from being worked off."""


class QueueDetail(QueueView):
    """One queue."""

    max_items: int
    """So many items may wait; over that a call is answered 429."""
    rate_per_second: float | None
    """At most so many items begin in a second, for each listener; null: no limit."""
    prefetch: int | None
    """So many items each listener has at once; null: 20, or as many as end in a quarter of a second."""
    max_item_bytes: int
    """The largest item."""
    listening: list[ListenerView]
    """More about its listeners."""


class ItemsPut(View):
    """Items that are now on a queue, safely."""

    queue: str
    """The queue's name."""
    ids: list[str]
    """Their ids, in the order in which they were sent. With `Idempotency-Key` the same key gives the same ids."""
    listeners: list[str]
    """The flows that get them; with none they wait until a flow listens."""
    paused: bool
    """True: they wait until somebody lets the queue go on."""


class ReasonView(View):
    """Why an item failed."""

    flow: str | None
    """The flow that gave it up; null: it was refused before any flow had it."""
    run_id: str | None
    """The last run that the flow had for it."""
    code: str
    """Stable code: that of the run's error, or why it was refused."""
    message: str
    """For people."""
    details: dict[str, Any]
    """Whatever the error knows."""


class FailedItemView(View):
    """An item that has failed."""

    id: str
    """Its id."""
    name: str | None
    """What people know it by: the name of its file."""
    put_at: Moment
    """When it was put there; of a file: when it was last changed."""
    failed_at: Moment
    """When it was given up."""
    attempts: int
    """How many runs the flow had for it that tried most often; 0: it was refused."""
    size: int | None
    """Bytes, where that is known."""
    file: str | None
    """Where its file lies, below the data folder; null: at a broker, or somebody has taken it away."""
    reasons: list[ReasonView]
    """One for each flow that has given it up."""


class FailedItemDetail(FailedItemView):
    """One of them with what it holds."""

    value: Any
    """What its runs had as `__input__`."""
    has_value: bool
    """False: it was refused, so no run had it (or its file can be read no more); `value` is null then."""
    text: str | None
    """Without a value: what stands in it, as far as it is text, up to 10,000 characters."""


class FailedItems(View):
    """A page of them."""

    items: list[FailedItemView]
    """In the order of their ids: the oldest first."""
    next_cursor: str | None
    """For the next page; null: there is none."""


class ItemVerb(StrEnum):
    """What became of a failed item."""

    RETRIED = "retried"
    DELETED = "deleted"


class ItemDone(View):
    """A failed item of which something has become."""

    queue: str
    """The queue's name."""
    id: str
    """The item's id."""
    status: ItemVerb
    """`retried`: it waits or runs again. `deleted`: it is gone."""


class ItemsPurged(View):
    """Items that were deleted."""

    queue: str
    """The queue's name."""
    purged: int
    """How many."""


def listener_view(flow: str, spec: QueueSpec, counts: ListenerCounts, *, is_wrong_now: bool) -> ListenerView:
    """A flow that listens, and how it is doing. `is_wrong_now`: its last good version counts."""
    return ListenerView(
        flow=flow,
        attempts=spec.attempts,
        in_work=counts.in_work,
        again=counts.again,
        next_at=None if counts.next_at is None else from_epoch(counts.next_at),
        failed=counts.failed,
        last_good_in_force=is_wrong_now,
    )


def failed_item_view(item: FailedItem) -> FailedItemView:
    """A failed item without what it holds."""
    return FailedItemView(
        id=item.id,
        name=item.name,
        put_at=from_epoch(item.put_at),
        failed_at=from_epoch(item.failed_at),
        attempts=item.attempts,
        size=item.size,
        file=item.file,
        reasons=[
            ReasonView(
                flow=reason.flow,
                run_id=reason.run_id,
                code=reason.code,
                message=reason.message,
                details=reason.details,
            )
            for reason in item.reasons
        ],
    )
