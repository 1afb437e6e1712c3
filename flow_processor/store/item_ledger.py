"""Reading the ledger of items (see `items`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Engine, func, select

from flow_processor.run import TERMINAL_STATUSES
from flow_processor.store.database import reading
from flow_processor.store.items import ITEM_COLUMNS, OPEN_STATES, ItemRow, ItemState
from flow_processor.store.mine import mine
from flow_processor.store.tables import items, runs

_ROW = select(*(items.c[name] for name in ITEM_COLUMNS))


class ItemLedger:
    """Reads the ledger; every call uses a connection of its own."""

    def __init__(self, engine: Engine, daemon: str | None = None) -> None:
        self._engine = engine
        self._mine = mine(items.c.daemon, daemon)

    def get(self, queue: str, item_id: str, flow: str) -> ItemRow | None:
        """One row."""
        found = self._rows(items.c.queue == queue, items.c.item == item_id, items.c.flow == flow)
        return found[0] if found else None

    def attempts(self, queue: str, item_id: str, flow: str) -> int:
        """How many runs of a flow the item has had."""
        row = self.get(queue, item_id, flow)
        return 0 if row is None else row.attempt

    def of_items(self, queue: str, item_ids: Collection[str]) -> dict[str, list[ItemRow]]:
        """All rows of some items of a queue, by item; items without any are left out."""
        found: dict[str, list[ItemRow]] = {}
        if item_ids:
            for row in self._rows(items.c.queue == queue, items.c.item.in_(item_ids)):
                found.setdefault(row.item, []).append(row)
        return found

    def of_run(self, run_id: str) -> ItemRow | None:
        """The row whose newest attempt is this run."""
        found = self._rows(items.c.run_id == run_id)
        return found[0] if found else None

    def running(self) -> list[ItemRow]:
        """Rows that this daemon has under way."""
        return self._rows(items.c.state == ItemState.RUNNING.value, *self._mine)

    def missed_ends(self) -> list[ItemRow]:
        """Rows that are under way although their run has ended, or is gone."""
        ended = [status.value for status in TERMINAL_STATUSES]
        joined = items.outerjoin(runs, runs.c.id == items.c.run_id)
        query = (
            select(*(items.c[name] for name in ITEM_COLUMNS))
            .select_from(joined)
            .where(
                items.c.state == ItemState.RUNNING.value,
                *self._mine,
                runs.c.id.is_(None) | runs.c.status.in_(ended),
            )
        )
        return self._read(query)

    def due(self, queue: str, flow: str, *, now: float, limit: int, is_first: bool) -> list[ItemRow]:
        """Rows whose next attempt is due, most urgent first; with `is_first` those that wait for their first run, else
        those that have had one."""
        query = (
            _ROW.where(
                items.c.queue == queue,
                items.c.flow == flow,
                items.c.next_at <= now,
                items.c.attempt == 0 if is_first else items.c.attempt > 0,
                items.c.state == ItemState.DUE.value,
                *self._mine,
            )
            .order_by(items.c.priority.desc(), items.c.next_at)
            .limit(limit)
        )
        return self._read(query)

    def next_due(self, queue: str, flow: str) -> float | None:
        """When the next further attempt of an item is due; None: there is none."""
        query = select(func.min(items.c.next_at)).where(
            items.c.queue == queue,
            items.c.flow == flow,
            items.c.next_at.is_not(None),
            items.c.attempt > 0,
            items.c.state == ItemState.DUE.value,
            *self._mine,
        )
        with reading(self._engine) as connection:
            moment: float | None = connection.scalar(query)
        return moment

    def due_flows(self) -> list[tuple[str, str]]:
        """(queue, flow) of all rows that wait for an attempt."""
        query = (
            select(items.c.queue, items.c.flow).where(items.c.next_at.is_not(None), *self._mine).distinct()
        )
        with reading(self._engine) as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]

    def failed(self, queue: str, *, limit: int, after: str | None = None) -> dict[str, list[ItemRow]]:
        """Failed rows of the first items behind `after`, by item, in the order of their ids."""
        wanted = (items.c.queue == queue, items.c.state == ItemState.FAILED.value)
        ids = select(items.c.item).where(*wanted).distinct().order_by(items.c.item).limit(limit)
        with reading(self._engine) as connection:
            chosen = list(connection.scalars(ids if after is None else ids.where(items.c.item > after)))
        found = self.of_items(queue, chosen)
        return {
            item: [row for row in rows if row.state is ItemState.FAILED]
            for item, rows in sorted(found.items())
        }

    def open_count(self, queue: str) -> int:
        """How many items of a queue wait for an attempt, or are under way."""
        return self._count(queue, *OPEN_STATES)

    def failed_count(self, queue: str) -> int:
        """How many items of a queue some flow has given up, or were refused."""
        return self._count(queue, ItemState.FAILED)

    def queues(self) -> set[str]:
        """Queues of which there are rows."""
        found: set[str] = set()
        with reading(self._engine) as connection:
            # One look into the index for each queue, not one for each row.
            first = select(func.min(items.c.queue))
            while (
                queue := connection.scalar(first.where(items.c.queue > max(found)) if found else first)
            ) is not None:
                found.add(queue)
        return found

    def _count(self, queue: str, *states: ItemState) -> int:
        wanted = [state.value for state in states]
        counted = select(func.count(items.c.item.distinct()))
        with reading(self._engine) as connection:
            return connection.scalar(counted.where(items.c.queue == queue, items.c.state.in_(wanted))) or 0

    def _rows(self, *where: Any) -> list[ItemRow]:
        return self._read(_ROW.where(*where))

    def _read(self, query: Any) -> list[ItemRow]:
        with reading(self._engine) as connection:
            return [_row(values) for values in connection.execute(query)]


def _row(values: Iterable[Any]) -> ItemRow:
    named = dict(zip(ITEM_COLUMNS, values, strict=True))
    return ItemRow(**{**named, "state": ItemState(named["state"])})
