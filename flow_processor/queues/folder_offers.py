"""Offers of taken files to the flows that listen, and those that wait in the ledger until a flow has room."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from flow_processor.clock import Clock
from flow_processor.queues.backend import Intake, Offer
from flow_processor.queues.folder_names import Named
from flow_processor.queues.item import Item
from flow_processor.store import Store
from flow_processor.store.items import ItemRow, ItemState, ledger_rows

Taken = tuple[Item, Named]
"""An item, and what the name of its file tells."""


@dataclass(slots=True)
class Listener:
    """A flow that listens."""

    flow: str
    waits: bool = True
    """The ledger may have items that were taken and wait for this flow: they come before those that were not."""
    offered: set[str] = field(default_factory=set)
    """Ids of the items whose offer is not answered yet."""


class FolderOffers:
    """Offers of one queue. Belongs to one thread; only what is marked so may be called from others."""

    def __init__(
        self, queue: str, *, store: Store, intake: Intake, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self.listeners: list[Listener] = []
        self._queue = queue
        self._store = store
        self._intake = intake
        self._clock = clock
        self._wake = wake
        self._open: Counter[str] = Counter()
        """Offers and rows on their way into the ledger, by item."""
        self.repeated: dict[str, Named] = {}
        """Names of files whose item a flow had before, by item: it may have come under another name."""
        self._answers: deque[tuple[Listener, Taken, Offer]] = deque()
        self._inserted: deque[tuple[Listener | None, Sequence[ItemRow]]] = deque()

    def listen(self, flows: Sequence[str]) -> None:
        """From now on these flows get the items."""
        before = {listener.flow: listener for listener in self.listeners}
        self.listeners = [before.get(flow) or Listener(flow) for flow in flows]

    def is_open(self, item_id: str) -> bool:
        """Is something about the item on its way into the ledger? Then nobody can tell whether it has ended."""
        return self._open[item_id] > 0

    def room(self, listener: Listener) -> int:
        """How many more items the flow takes now."""
        return self._intake.room(self._queue, listener.flow)

    def most_room(self) -> int:
        """How many more items are to be taken: as many as the flow has room for that is furthest."""
        return max((self.room(listener) for listener in self.listeners if not listener.waits), default=0)

    def offer_all(self, taken: Sequence[Taken]) -> None:
        """Offer items that were taken, to each flow as many as it has room for; the others wait for it."""
        for listener in self.listeners:
            room = 0 if listener.waits else self.room(listener)
            for item, name in taken[:room]:
                self.offer(listener, item, name)
            self.keep_waiting(listener, taken[room:])

    def offer(self, listener: Listener, item: Item, name: Named) -> None:
        """Offer an item to a flow."""
        self._open[item.id] += 1
        listener.offered.add(item.id)
        self._intake.offer(item, listener.flow).add_done_callback(
            partial(self._answered, listener, (item, name))
        )

    def keep_waiting(self, listener: Listener, taken: Sequence[Taken]) -> None:
        """These were taken, but the flow has no room: the ledger keeps them until it has."""
        if taken:
            listener.waits = True
            self.insert([self.row(name, listener.flow, item.put_at) for item, name in taken], listener)

    def insert(self, rows: Sequence[ItemRow], listener: Listener | None = None) -> None:
        """Put rows into the ledger, however long that takes; after a crash a start does it again."""
        if not rows:
            return
        for row in rows:
            self._open[row.item] += 1
        written: Future[object] = self._store.writer.submit(None, rows=ledger_rows(rows), keep=True)
        written.add_done_callback(lambda _done: self._note_inserted(rows, listener))

    def row(self, name: Named, flow: str, put_at: float) -> ItemRow:
        """The row of an item that waits for its first run of the flow."""
        return ItemRow(
            queue=self._queue,
            item=name.id,
            flow=flow,
            state=ItemState.DUE,
            attempt=0,
            name=name.name,
            put_at=put_at,
            priority=name.priority,
            next_at=put_at,
            daemon=self._store.daemon,
        )

    def waiting(self, listener: Listener) -> list[ItemRow]:
        """Items that wait for the flow, as many as it has room for."""
        room = self.room(listener)
        if room <= 0:
            return []
        limit = room + len(listener.offered)
        now = self._clock.now().timestamp()
        rows = self._store.items.due(self._queue, listener.flow, now=now, limit=limit, is_first=True)
        # Set again by whoever adds some; nobody does meanwhile, but rows on their way tell when they are there.
        listener.waits = len(rows) == limit or bool(listener.offered)
        return [row for row in rows if row.item not in listener.offered][:room]

    def take_answers(self) -> list[str]:
        """Note what became of offers and rows; ids of the items that may have ended."""
        settled: list[str] = []
        for _ in range(len(self._inserted)):
            inserted_for, rows = self._inserted.popleft()
            if inserted_for is not None:
                inserted_for.waits = True  # it may have been looked for too early
            for row in rows:
                self._close(row.item)
                settled.append(row.item)
        later: list[tuple[Listener, Taken]] = []
        for _ in range(len(self._answers)):
            listener, taken, offer = self._answers.popleft()
            listener.offered.discard(taken[0].id)
            self._close(taken[0].id)
            if offer is Offer.REPEATED:
                self.repeated[taken[0].id] = taken[1]
            if offer is Offer.LATER:
                later.append((listener, taken))
            else:
                settled.append(taken[0].id)
        for listener, taken in later:
            self.keep_waiting(listener, [taken])  # one that waited already is left as it is
        return settled

    def _close(self, item_id: str) -> None:
        self._open[item_id] -= 1
        if self._open[item_id] <= 0:
            del self._open[item_id]

    def _answered(self, listener: Listener, taken: Taken, answer: Future[Offer]) -> None:
        """Called from any thread."""
        self._answers.append((listener, taken, answer.result()))
        self._wake()

    def _note_inserted(self, rows: Sequence[ItemRow], listener: Listener | None) -> None:
        """Called from any thread."""
        self._inserted.append((listener, rows))
        self._wake()
