"""What the intake does now and then: ends that nobody told of, flows that listen no more, items done long ago."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial

from flow_processor.clock import Clock
from flow_processor.queues.backend import Source
from flow_processor.queues.endings import Endings
from flow_processor.queues.lane import Delivery, Lane, item_of
from flow_processor.spec.queue_settings import QueueSettings
from flow_processor.store import Store
from flow_processor.store.file_items import FILES
from flow_processor.store.items import ItemRow, fail_due, prune_items

logger = logging.getLogger("octospool.queues")

LOOK_SECONDS = 30.0
"""Pause between two looks."""

GONE_SECONDS = 60.0
"""What waits for a flow is failed when the flow has not listened for so long: its file may be away for a moment."""

AT_ONCE = 500
"""So many items of such a flow are failed, and rows pruned, in one look."""

LEAST_DAYS = 1.0
"""So long the ledger remembers what is done, however short files are kept: what comes twice (a broker delivers again, a
put is repeated) comes soon, and must start nothing."""

_EVER = 1e12
"""A moment that never comes, in seconds since 1970."""


class Upkeep:
    """Belongs to the intake's thread."""

    def __init__(
        self,
        store: Store,
        endings: Endings,
        source: Callable[[str], Source],
        *,
        settings_of: Callable[[str], QueueSettings],
        lane_of: Callable[[str, str], Lane],
        end_missed: Callable[[ItemRow], None],
        clock: Clock,
    ) -> None:
        """`end_missed`: the run of this row has ended, or is gone."""
        self._store = store
        self._endings = endings
        self._source = source
        self._settings_of = settings_of
        self._lane_of = lane_of
        self._end = end_missed
        self._clock = clock
        self._missed: frozenset[str] = frozenset()
        self._looked_at = clock.monotonic()

    def pause(self) -> float:
        """Seconds until the next look."""
        return LOOK_SECONDS - (self._clock.monotonic() - self._looked_at)

    def look(self) -> None:
        """Are there runs that have ended, and nobody told? Two looks in a row must say so."""
        self._looked_at = self._clock.monotonic()
        rows = self._store.items.missed_ends()
        for row in rows:
            if row.run_id in self._missed:
                logger.warning("the end of a run was not told; noted now", extra={"run": row.run_id})
                self._end(row)
        self._missed = frozenset(str(row.run_id) for row in rows)
        self._fail_gone()
        self._prune()

    def _fail_gone(self) -> None:
        """Items that were taken for a flow which listens no more have failed: a person decides what becomes of them."""
        now = self._clock.monotonic()
        for queue, flow in self._store.items.due_flows():
            lane = self._lane_of(queue, flow)
            lane.left_at = None if lane.is_listening else lane.left_at or now
            if lane.left_at is not None and now - lane.left_at >= GONE_SECONDS:
                self._fail_waiting(lane)

    def _fail_waiting(self, lane: Lane) -> None:
        why = f"the flow '{lane.flow}' listens to the queue no more"
        queue, flow, ledger = lane.queue, lane.flow, self._store.items
        for row in ledger.due(queue, flow, now=_EVER, limit=AT_ONCE, is_first=False):
            run = self._store.runs.get(str(row.run_id))
            delivery = Delivery(lane, item_of(row), row.attempt, row.run_id)
            if run is None:
                self._endings.add_gone(delivery)
            else:
                self._endings.add(delivery, run, final=why)
        rows = ledger.due(queue, flow, now=_EVER, limit=AT_ONCE, is_first=True)
        error, now = json.dumps({"code": "not_listening", "message": why}), self._clock.now().timestamp()
        if rows:
            logger.warning("queue '%s': %d items are failed: %s", queue, len(rows), why)
            self._store.writer.run(lambda connection: fail_due(connection, rows, error=error, at=now))
        for row in rows:
            self._source(queue).has_ended(queue, row.item, flow)

    def _prune(self) -> None:
        """Forget items that were done long ago; those of files are forgotten when the file is gone."""
        now = self._clock.now().timestamp()
        for queue in self._store.items.queues() - {FILES}:
            days = self._settings_of(queue).keep_done.days
            if days != "forever":
                before = now - max(days, LEAST_DAYS) * 86_400
                self._store.writer.run(partial(prune_items, queue=queue, before=before, limit=AT_ONCE))
