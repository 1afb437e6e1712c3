"""How many items the ledger has, for people: from its index, so that a queue with a long past costs nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from flow_processor.store.database import reading
from flow_processor.store.items import NO_FLOW, OPEN_STATES, ItemState
from flow_processor.store.tables import items


@dataclass(frozen=True, slots=True)
class ListenerCounts:
    """What one flow has of one queue."""

    in_work: int
    failed: int
    again: int
    """Of those in work, how many wait for a further attempt."""
    next_at: float | None
    """When the first of these is due, in seconds since 1970."""


NOTHING = ListenerCounts(in_work=0, failed=0, again=0, next_at=None)


def listener_counts(engine: Engine, queue: str) -> dict[str, ListenerCounts]:
    """What each flow has of a queue, those that listen no more too; of items that are done nothing is said."""
    states = [state.value for state in (*OPEN_STATES, ItemState.FAILED)]
    is_again = ((items.c.state == ItemState.DUE.value) & (items.c.attempt > 0)).label("is_again")
    query = (
        select(items.c.flow, items.c.state, is_again, func.count(), func.min(items.c.next_at))
        .where(items.c.queue == queue, items.c.state.in_(states), items.c.flow != NO_FLOW)
        .group_by(items.c.flow, items.c.state, "is_again")
    )
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    in_work, failed, again = Counter[str](), Counter[str](), Counter[str]()
    next_at: dict[str, float] = {}
    for flow, state, waits_again, count, moment in rows:
        (failed if state == ItemState.FAILED else in_work)[flow] += count
        if waits_again:
            again[flow], next_at[flow] = count, moment
    return {
        flow: ListenerCounts(in_work[flow], failed[flow], again[flow], next_at.get(flow))
        for flow in in_work | failed
    }


def ended_count(engine: Engine, queue: str, *, since: float) -> int:
    """How often a flow was done with an item of the queue, or gave it up, since a moment (seconds since 1970)."""
    query = select(func.count()).where(
        items.c.queue == queue,
        items.c.flow != NO_FLOW,
        items.c.state.in_([ItemState.DONE.value, ItemState.FAILED.value]),
        items.c.ended_at >= since,
    )
    with reading(engine) as connection:
        return connection.execute(query).scalar_one()
