"""Further attempts of items whose runs have failed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait

from flow_processor.queues.backend import Offer, Source
from flow_processor.queues.endings import Endings
from flow_processor.queues.item import Item
from flow_processor.queues.lane import Delivery, Lane, item_of
from flow_processor.store import Store
from flow_processor.store.items import ItemRow

ASK_AGAIN_SECONDS = 5.0
"""Pause before the ledger is asked again that could not be read."""


class FurtherAttempts:
    """Belongs to the intake's thread."""

    def __init__(
        self,
        store: Store,
        endings: Endings,
        source: Callable[[str], Source],
        *,
        begin: Callable[[Item, str, int], Future[Offer]],
        on_due: Callable[[Lane, float], None],
    ) -> None:
        """`begin` launches the attempt of that number of an item, for a flow. `on_due`: a further attempt of the lane
        is due at that moment, in seconds since 1970."""
        self._store = store
        self._endings = endings
        self._source = source
        self._begin = begin
        self._on_due = on_due

    def launch(self, lane: Lane, *, limit: int, now: float) -> None:
        """Launch those of the lane that are due at `now`, as far as the limit goes, and tell when the next one is: the
        lane knows none any more. Raises StoreUnavailable."""
        at: float | None = now + ASK_AGAIN_SECONDS
        try:
            rows = self._store.items.due(lane.queue, lane.flow, now=now, limit=limit, is_first=False)
            # Answered before it is looked for others: until then these are still due.
            wait([begun for row in rows if (begun := self._launch_one(lane, row)) is not None])
            at = self._store.items.next_due(lane.queue, lane.flow)
        finally:
            if at is not None:
                self._on_due(lane, at)

    def _launch_one(self, lane: Lane, row: ItemRow) -> Future[Offer] | None:
        run = self._store.runs.get(str(row.run_id))
        delivery = Delivery(lane, item_of(row), row.attempt, row.run_id)
        if run is None:
            self._endings.add_gone(delivery)
            return None
        item = item_of(row, run.input)
        why = self._source(lane.queue).may_try_again(item, lane.flow)
        if why is not None:
            self._endings.add(delivery, run, final=why)
            return None
        return self._begin(item, lane.flow, row.attempt + 1)
