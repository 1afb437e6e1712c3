"""What keeps the items of all queues, and what takes them in.

The way of an item, whatever keeps it:

1. `Backend.put`, or somebody drops a file: it waits.
2. While `Intake.room` says so, the backend offers it, once for each flow that listens (`Intake.offer`). Once the offer
   is answered, the ledger has it: the same offer again is `repeated` and starts nothing. The backend may forget what it
   must not offer again (a broker's message is acknowledged).
3. Its runs, one after the other as far as the flow wants further attempts: that is the intake's and the ledger's.
4. A flow gives it up: `Source.give_up`, before the ledger says so. Each end is told: `Source.has_ended`, after that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from enum import StrEnum
from typing import Protocol

from flow_processor.queues.item import Counts, FailedItem, Held, Item, Reason


class Offer(StrEnum):
    """What became of an offer."""

    TAKEN = "taken"
    """There is a run for it."""
    REPEATED = "repeated"
    """The flow had it before; nothing was started now."""
    LATER = "later"
    """Not now: keep it and offer it again in a while (`Intake.problems` tells why)."""


class Purged(StrEnum):
    """Which items of a queue are to go."""

    WAITING = "waiting"
    FAILED = "failed"
    DONE = "done"


Listeners = Mapping[str, Sequence[str]]
"""For each queue the paths of the flows that listen to it, sorted; a queue may have none."""


class Intake(Protocol):
    """Takes items in: starts their runs and follows them. Thread safe."""

    def offer(self, item: Item, flow: str) -> Future[Offer]:
        """Start a run of the flow with the item. The future is done when the outcome is durable; it never has an
        exception. Does not wait for anything. Its callbacks run in threads that must not be held up."""
        ...

    def room(self, queue: str, flow: str) -> int:
        """How many more items of the queue the flow takes now: as its `concurrency`, the queue's `prefetch`, its rate
        and whether it is paused admit. 0 or less: none. Offers that are not answered yet count as taken. The backend
        hears of it (`Backend.has_room`) when it becomes more than none."""
        ...

    def problems(self, queue: str) -> list[str]:
        """Why flows take nothing of the queue, for people."""
        ...

    def again(self, item: Item, flow: str) -> Future[Offer]:
        """As `offer`, for an item that the flow has given up: it begins as if the flow had never had it."""
        ...


class Source(Protocol):
    """Where items come from, as the intake knows it. Thread safe; called by threads that must not be held up."""

    def has_room(self, queue: str, flow: str) -> None:
        """`Intake.room` says more than none again. Returns at once."""
        ...

    def give_up(self, item: Item, reason: Reason) -> Future[None]:
        """A flow (`reason.flow`) gives the item up: keep it where people find it. Done when that is durable, and the
        ledger says so afterwards; called again after a crash in between. An exception: it is tried again later."""
        ...

    def has_ended(self, queue: str, item_id: str, flow: str) -> None:
        """The ledger says that this flow is done with the item, or has given it up. Returns at once. Not told again
        after a crash: a source that needs it looks into the ledger at its start."""
        ...

    def may_try_again(self, item: Item, flow: str) -> str | None:
        """A further attempt is due: None, or why there is none (then the flow gives the item up)."""
        ...


class Backend(Source, Protocol):
    """Keeps the items of all queues. Thread safe."""

    def start(self, intake: Intake) -> None:
        """Begin to offer what waits. `listen` was called before. Returns at once, also where a broker is away."""
        ...

    def stop(self) -> None:
        """Offer nothing more; returns when no thread of it is at work. Nothing that was accepted gets lost."""
        ...

    def close(self) -> None:
        """Let go of everything: the last call, after the last `give_up` and `put`."""
        ...

    def listen(self, listeners: Listeners) -> None:
        """From now on these flows get the items of these queues: called at start and whenever flow files change.

        A flow that listens anew gets what comes from now on, and what still waits.
        """
        ...

    def set_paused(self, queues: frozenset[str]) -> None:
        """Offer nothing of these queues, and everything of the others again; what is in work goes on."""
        ...

    def put(self, queue: str, items: Sequence[Item], *, any_size: bool = False) -> None:
        """Put items on a queue: durable when this returns. An id again that is known there is harmless:
        an item that waits stays as it is. With `any_size` one that is too large is put too, and fails when it is
        taken.

        Works without `start`, and without a listener. Raises QueueFull (nothing was put), QueueUnavailable (unknown
        how much was put: do it again with the same ids), ItemTooLarge (never works).
        """
        ...

    def names(self) -> set[str]:
        """The queues that it knows: those that flows listen to, and those that are there."""
        ...

    def counts(self, queue: str) -> Counts:
        """How full a queue is; cheap enough to be asked each second."""
        ...

    def failed(self, queue: str, *, limit: int, after: str | None = None) -> list[FailedItem]:
        """Failed items by their ids, those behind `after`."""
        ...

    def failed_item(self, queue: str, item_id: str) -> FailedItem:
        """One failed item. Raises ItemNotFound."""
        ...

    def value(self, queue: str, item_id: str) -> Held:
        """What a failed item holds, as its runs got it. Raises ItemNotFound."""
        ...

    def retry(self, queue: str, item_id: str) -> None:
        """Begin again with a failed item for the flows that have given it up, as if they had never had it; one that
        was refused is taken like a new one. Raises ItemNotFound, ItemInWork."""
        ...

    def delete(self, queue: str, item_id: str) -> None:
        """Delete a failed item. Raises ItemNotFound, ItemInWork."""
        ...

    def purge(self, queue: str, what: Purged) -> int:
        """Delete all these items; how many went. What is in work is never touched."""
        ...

    def forget(self, queue: str) -> None:
        """No flow listens to the queue: if nothing is in it either, it is not there any more."""
        ...

    def problems(self, queue: str) -> list[str]:
        """What keeps the queue from being worked off, for people."""
        ...
