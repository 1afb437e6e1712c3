"""The rows of the ledger that are about files in watched folders: there an item is one content of one file."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from sqlalchemy import ColumnElement, delete, select

from flow_processor.run import RunStatus
from flow_processor.store import Connection, Store
from flow_processor.store.database import reading
from flow_processor.store.items import OPEN_STATES, ItemRow
from flow_processor.store.mine import mine
from flow_processor.store.tables import items

FILES = "files:"
"""Stands in the ledger for the name of a queue; no queue can be called so."""

_MANY = 500
"""So many items one statement deletes."""

_IS_OPEN = items.c.state.in_([state.value for state in OPEN_STATES])


class FileItems:
    """Reads and forgets rows. Thread safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mine = (items.c.queue == FILES, *mine(items.c.daemon, store.daemon))

    def of(self, item: str) -> list[ItemRow]:
        """What the flows have come to with an item, by their paths."""
        rows = self._store.items.of_items(FILES, [item]).get(item, [])
        return sorted(rows, key=lambda row: row.flow)

    def is_interrupted(self, run_id: str) -> bool:
        """Is it open whether the run has failed, because a person may resume it?"""
        run = self._store.runs.get(run_id)
        return run is not None and run.status is RunStatus.INTERRUPTED

    def open_paths(self, flow: str) -> dict[str, str]:
        """Paths by item, of what the flow has begun and not ended."""
        return self._paths(flow, _IS_OPEN)

    def ended_paths(self, flow: str) -> dict[str, str]:
        """Paths by item, of what the flow has ended."""
        return self._paths(flow, ~_IS_OPEN)

    def ended_ids(self, flow: str, *, before: float | None = None) -> set[str]:
        """The items that the flow has ended, before that moment (seconds since 1970)."""
        query = select(items.c.item).where(*self._mine, items.c.flow == flow, ~_IS_OPEN)
        if before is not None:
            query = query.where(items.c.ended_at < before)
        with reading(self._store.engine) as connection:
            return set(connection.scalars(query))

    def forget(self, ids: Collection[str], *, flow: str | None = None) -> None:
        """The items may come again as new ones, for this flow or for all. Durable when this returns."""

        def work(connection: Connection) -> None:
            rest = iter(ids)
            while some := list(islice(rest, _MANY)):
                which = [items.c.queue == FILES, items.c.item.in_(some)]
                if flow is not None:
                    which.append(items.c.flow == flow)
                connection.execute(delete(items).where(*which))

        if ids:
            self._store.writer.run(work)

    def _paths(self, flow: str, which: ColumnElement[bool]) -> dict[str, str]:
        query = select(items.c.item, items.c.name).where(*self._mine, items.c.flow == flow, which)
        with reading(self._store.engine) as connection:
            return {row.item: row.name for row in connection.execute(query)}
