"""The ledger of items: which item of which queue started which flow, and what came of it.

A row is inserted in the transaction that inserts the item's first run of a flow: the table's key makes a second one
impossible, however often the item is offered. A row of state `due` and attempt 0 is an item that was taken, but waits
for its first run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from flow_processor.store.database import insert_of
from flow_processor.store.statements import Statement
from flow_processor.store.tables import items
from flow_processor.store.writer import Rows


class ItemState(StrEnum):
    """Where an item stands with one flow."""

    DUE = "due"
    """It waits for its next attempt, or for its first one."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """The flow has given it up; or it was refused before any flow had it."""


OPEN_STATES = (ItemState.DUE, ItemState.RUNNING)
NO_FLOW = ""
"""Stands in the place of a flow for an item that was refused before any flow had it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """An item and one flow; see the table."""

    queue: str
    item: str
    flow: str
    state: ItemState
    attempt: int
    """How many runs it has had, that of `run_id` included."""
    run_id: str | None = None
    name: str | None = None
    put_at: float
    """Seconds since 1970, as all moments here."""
    priority: int = 0
    next_at: float | None = None
    error: str | None = None
    """Why the newest attempt failed, as JSON: `{code, message}`."""
    ended_at: float | None = None
    daemon: str | None = None

    @property
    def has_ended(self) -> bool:
        """Is the flow done with the item, or has it given it up?"""
        return self.state not in OPEN_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemEnd:
    """What came of one attempt."""

    queue: str
    item: str
    flow: str
    run_id: str
    state: ItemState
    next_at: float | None = None
    """When it is tried again."""
    error: str | None = None
    ended_at: float | None = None


ITEM_COLUMNS = tuple(field.name for field in fields(ItemRow))
"""The columns of an ItemRow."""


def _is(queue: str = "of_queue", item: str = "of_item", flow: str = "of_flow") -> tuple[Any, ...]:
    return (
        items.c.queue == bindparam(queue),
        items.c.item == bindparam(item),
        items.c.flow == bindparam(flow),
    )


# Statements of the hot path are made once: making one costs more than running it.
_BEGIN = Statement(
    update(items)
    .where(*_is(), items.c.state == ItemState.DUE.value, items.c.attempt == bindparam("before"))
    .values(
        state=ItemState.RUNNING.value,
        attempt=bindparam("before") + 1,
        run_id=bindparam("new_run"),
        next_at=None,
        error=None,
        daemon=bindparam("by_daemon"),
    )
)
_END = Statement(
    update(items)
    .where(*_is(), items.c.run_id == bindparam("of_run"))
    .values(
        state=bindparam("new_state"),
        next_at=bindparam("new_next"),
        error=bindparam("new_error"),
        ended_at=bindparam("new_end"),
    )
)
_FAIL_DUE = Statement(
    update(items)
    .where(*_is(), items.c.state == ItemState.DUE.value)
    .values(
        state=ItemState.FAILED.value,
        next_at=None,
        error=bindparam("new_error"),
        ended_at=bindparam("new_end"),
    )
)
_FORGET_FAILED = Statement(delete(items).where(*_is(), items.c.state == ItemState.FAILED.value))


def begin_first(connection: Connection, row: ItemRow) -> bool:
    """Note that the first run begins, inside the transaction that inserts it. False (and nothing written) where the
    flow had the item before: then there must be no run."""
    if insert_of(items).execute(connection, _values(row)) == 1:
        return True
    return begin_next(connection, row)


def begin_next(connection: Connection, row: ItemRow) -> bool:
    """Note that the run `row.run_id` begins as attempt `row.attempt`; False where it is not due."""
    values = {
        "of_queue": row.queue,
        "of_item": row.item,
        "of_flow": row.flow,
        "before": row.attempt - 1,
        "new_run": row.run_id,
        "by_daemon": row.daemon,
    }
    return _BEGIN.execute(connection, values) == 1


def begin_again(connection: Connection, row: ItemRow) -> bool:
    """As `begin_first`, for an item that may have failed: as if the flow had never had it."""
    values = {"of_queue": row.queue, "of_item": row.item, "of_flow": row.flow}
    _FORGET_FAILED.execute(connection, values)
    return begin_first(connection, row)


def record_ends(connection: Connection, ends: Sequence[ItemEnd]) -> None:
    """Note what came of attempts; of one that is not the newest of its item nothing is noted."""
    _END.execute_each(
        connection,
        [
            {
                "of_queue": end.queue,
                "of_item": end.item,
                "of_flow": end.flow,
                "of_run": end.run_id,
                "new_state": end.state.value,
                "new_next": end.next_at,
                "new_error": end.error,
                "new_end": end.ended_at,
            }
            for end in ends
        ],
    )


def fail_due(connection: Connection, rows: Sequence[ItemRow], *, error: str, at: float) -> None:
    """Note that items which wait for an attempt get none."""
    values = {"new_error": error, "new_end": at}
    keys = [{"of_queue": row.queue, "of_item": row.item, "of_flow": row.flow} for row in rows]
    _FAIL_DUE.execute_each(connection, [{**key, **values} for key in keys])


def forget_items(connection: Connection, queue: str, item_ids: Collection[str], *states: ItemState) -> int:
    """Delete the rows of these items that have one of the states; how many went."""
    if not item_ids:
        return 0
    wanted = [state.value for state in states]
    where = (items.c.queue == queue, items.c.item.in_(item_ids), items.c.state.in_(wanted))
    return connection.execute(delete(items).where(*where)).rowcount


def prune_items(connection: Connection, queue: str, *, before: float, limit: int) -> int:
    """Delete at most `limit` rows of items that were done before that moment; how many went.

    As long as another flow is not done with an item, its file or message is there: it would come again as a new one.
    """
    other = items.alias()
    is_kept = (
        select(other.c.item)
        .where(other.c.queue == items.c.queue, other.c.item == items.c.item)
        .where((other.c.state != ItemState.DONE.value) | (other.c.ended_at >= before))
        .exists()
    )
    is_old = (items.c.state == ItemState.DONE.value, items.c.ended_at < before)
    old = select(items.c.item, items.c.flow).where(items.c.queue == queue, *is_old, ~is_kept).limit(limit)
    found = connection.execute(old).all()
    one = delete(items).where(items.c.queue == queue, *_is()[1:])
    if found:
        connection.execute(one, [{"of_item": item, "of_flow": flow} for item, flow in found])
    return len(found)


def runs_with_items(connection: Connection, run_ids: Collection[str]) -> set[str]:
    """Those of these runs whose item has not ended: who tries it again, or gives it up, takes its value from there."""
    is_open = items.c.state.in_([state.value for state in OPEN_STATES])
    return set(connection.scalars(select(items.c.run_id).where(items.c.run_id.in_(run_ids), is_open)))


def _values(row: ItemRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in ITEM_COLUMNS}
    values["state"] = row.state.value
    return values


def ledger_rows(rows: Iterable[ItemRow]) -> Rows:
    """Rows for the store's writer; those whose key is there already are left alone."""
    return {items: [_values(row) for row in rows]}
