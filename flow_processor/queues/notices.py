"""What the log says of attempts that failed."""

from __future__ import annotations

import logging

from flow_processor.queues.item import Item, Reason
from flow_processor.store.file_items import FILES
from flow_processor.store.items import ItemEnd, ItemState

logger = logging.getLogger("octospool.queues")


def tell_of_end(item: Item, end: ItemEnd, *, attempt: int, reason: Reason | None, now: float) -> None:
    """Log that the item is tried again, or given up and what a person can do; nothing of one that is done. `attempt`
    counts from 1, `now` is in seconds since 1970."""
    where = {"flow": end.flow, "run": end.run_id}
    if end.queue == FILES:
        which, way_out = f"file '{item.name}'", f"octospool runs retry {end.run_id}"
    else:
        name = f" ({item.name})" if item.name else ""
        which = f"queue '{end.queue}': item {item.id}{name}"
        way_out = f"octospool queue failed {end.queue} {item.id}, then queue retry or queue delete"
    if end.state is ItemState.DUE and end.next_at is not None:
        seconds = max(end.next_at - now, 0.0)
        logger.info("%s: attempt %d failed; tried again in %.0f s", which, attempt, seconds, extra=where)
    elif end.state is ItemState.FAILED:
        count = f"{attempt} attempt{'s' if attempt != 1 else ''}"
        why = "" if reason is None else f" ({reason.code}: {reason.message})"
        logger.warning("%s is given up after %s%s; %s", which, count, why, way_out, extra=where)
