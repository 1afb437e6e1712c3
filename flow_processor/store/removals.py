"""Deleting runs: the run itself goes at once, its journal, log and files go in small steps after that.

A run that is deleted gets a row in `removals` in the transaction that takes its own row away. So whoever clears up
(`flow_processor.service.retention`) goes on after a crash where it was, and nobody has to wait for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, delete, func, insert, select

from flow_processor.clock import from_epoch
from flow_processor.run import TERMINAL_STATUSES, RunStatus
from flow_processor.store.child_runs import live_parents_of
from flow_processor.store.database import insert_or_ignore, reading
from flow_processor.store.items import runs_with_items
from flow_processor.store.outbox import runs_with_notes
from flow_processor.store.tables import flow_versions, journal, logs, removals, runs, slots

WALK_PAGE = 500
"""Runs that are looked at in one query."""

ROOM = 0.95
"""Of the bytes that runs may take, so much is left to them once they take too many."""

DELETE_BATCH = 100
"""Runs that are deleted in one transaction by somebody who waits for it; a launch may come between two."""


def delete_ended(connection: Connection, run_ids: Sequence[str]) -> int:
    """Delete runs; live ones, those that are part of a live one, those of which results are still to be sent to a
    queue, and those that tell what a queue's item holds that is tried again, are left alone. Returns how many went.

    Their journals and logs go bit by bit.
    """
    ended = [status.value for status in TERMINAL_STATUSES]
    query = select(runs.c.id).where(runs.c.id.in_(run_ids), runs.c.status.in_(ended))
    needed = {
        *live_parents_of(connection, run_ids),
        *runs_with_notes(connection, run_ids),
        *runs_with_items(connection, run_ids),
    }
    found = [run_id for run_id in connection.scalars(query) if run_id not in needed]
    if found:
        connection.execute(insert(removals), [{"run_id": run_id} for run_id in found])
        connection.execute(delete(runs).where(runs.c.id.in_(found)))
    return len(found)


def remove_rest(connection: Connection, run_ids: Collection[str]) -> None:
    """Note runs that are gone but left rows, so that these go too. Those that are there stay untouched."""
    there = set(connection.scalars(select(runs.c.id).where(runs.c.id.in_(run_ids))))
    rest = [{"run_id": run_id} for run_id in run_ids if run_id not in there]
    if rest:
        connection.execute(insert_or_ignore(connection, removals), rest)


def clear(connection: Connection, run_ids: Sequence[str], *, rows: int) -> int:
    """Delete what is left of deleted runs, at most `rows` rows; then they are forgotten. How many rows went.

    Several ids: all of them have no more than `rows` rows together. Their files must be gone.
    """
    cleared = 0
    for table in (journal, logs):
        mine = table.c.run_id.in_(run_ids)
        if len(run_ids) == 1:
            last = _one_run(table, run_ids[0]).offset(max(rows - cleared - 1, 0))
            if (seq := connection.scalar(last)) is not None:
                cleared += connection.execute(delete(table).where(mine, table.c.seq <= seq)).rowcount
                return cleared
        cleared += connection.execute(delete(table).where(mine)).rowcount
    connection.execute(delete(removals).where(removals.c.run_id.in_(run_ids)))
    return cleared


def _one_run(table: Table, run_id: str) -> Select[int]:
    return select(table.c.seq).where(table.c.run_id == run_id).order_by(table.c.seq).limit(1)


def delete_slots(connection: Connection, schedule_id: str, *, before: float, rows: int) -> int:
    """Delete at most `rows` of a schedule's oldest slots before a moment; how many went."""
    mine = slots.c.schedule_id == schedule_id
    query = select(slots.c.slot).where(mine, slots.c.slot < before).order_by(slots.c.slot).limit(rows)
    found = list(connection.scalars(query))
    if found:
        connection.execute(delete(slots).where(mine, slots.c.slot <= found[-1]))
    return len(found)


def delete_versions(connection: Connection, versions: Collection[str]) -> int:
    """Delete those of these flow texts that no run has; how many went."""
    used = select(runs.c.id).where(runs.c.flow_hash == flow_versions.c.hash).exists()
    gone = delete(flow_versions).where(flow_versions.c.hash.in_(versions), ~used)
    return connection.execute(gone).rowcount


def compact(connection: Connection, pages: int) -> None:
    """Give at most so many free pages of the store's file back to the file system."""
    cursor = connection.connection.cursor()
    for _ in range(pages):
        # Whatever number it is given: the driver lets this statement free one page, then takes it for done.
        cursor.execute("PRAGMA incremental_vacuum(1)")
    cursor.close()


@dataclass(frozen=True, slots=True)
class OldRun:
    """A run that has ended, and may have to go."""

    id: str
    ended_at: float


class RemovalReader:
    """Finds what has to go; every call uses a connection of its own."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def count(self) -> int:
        """How many deleted runs have something left."""
        with reading(self._engine) as connection:
            return connection.scalar(select(func.count()).select_from(removals)) or 0

    def unknown(self, run_ids: Iterable[str]) -> Iterator[str]:
        """Those of these runs that are not there."""
        remaining = iter(run_ids)
        while page := list(islice(remaining, WALK_PAGE)):
            with reading(self._engine) as connection:
                there = set(connection.scalars(select(runs.c.id).where(runs.c.id.in_(page))))
            yield from (run_id for run_id in page if run_id not in there)

    def newest(self) -> datetime | None:
        """When the newest run was accepted; None if there is none."""
        with reading(self._engine) as connection:
            found = connection.scalar(select(runs.c.created_at).order_by(runs.c.id.desc()).limit(1))
        return None if found is None else from_epoch(found)

    def next(self, rows: int) -> list[str]:
        """Deleted runs that have about `rows` rows left together, or one that has more; none if all is done."""
        with reading(self._engine) as connection:
            query = select(removals.c.run_id).order_by(removals.c.run_id).limit(max(1, rows // 10))
            found = list(connection.scalars(query))
            counts = dict.fromkeys(found, 1)
            for table in (journal, logs):
                per_run = select(table.c.run_id, func.count()).where(table.c.run_id.in_(found))
                for run_id, count in connection.execute(per_run.group_by(table.c.run_id)):
                    counts[run_id] += count
        total = 0
        chosen: list[str] = []
        for run_id in found:
            total += counts[run_id]
            if chosen and total > rows:
                break
            chosen.append(run_id)
        return chosen

    def flows(self) -> list[str]:
        """The path of every flow that has runs."""
        found: list[str] = []
        with reading(self._engine) as connection:
            # One look into the index for each flow, not one for each run.
            first = select(func.min(runs.c.flow))
            while (
                flow := connection.scalar(first.where(runs.c.flow > found[-1]) if found else first)
            ) is not None:
                found.append(flow)
        return found

    def walk(
        self, flow: str | None, *, up_to: str | None, status: Collection[RunStatus] = TERMINAL_STATUSES
    ) -> Iterator[list[OldRun]]:
        """The runs of a flow (None: of all) that have ended so, with an id up to that one (None: all), in pages."""
        query = select(runs.c.id, runs.c.ended_at).order_by(runs.c.id).limit(WALK_PAGE)
        if up_to is not None:
            query = query.where(runs.c.id <= up_to)
        if flow is not None:
            query = query.where(runs.c.flow == flow)
        # One status after the other, as they stand in the indexes; so live runs are not even looked at.
        for ended in sorted(status):
            mine = query.where(runs.c.status == ended.value)
            after = ""
            while page := self._old(mine.where(runs.c.id > after)):
                yield page
                after = page[-1].id

    def _old(self, query: Select[Any]) -> list[OldRun]:
        with reading(self._engine) as connection:
            return [OldRun(run_id, ended_at or 0.0) for run_id, ended_at in connection.execute(query)]

    def newest_beyond_count(self, flow: str | None, count: int) -> str | None:
        """The newest run of a flow (None: of all) that `count` newer ones follow; None if there are not so many."""
        query = select(runs.c.id).order_by(runs.c.id.desc()).limit(1).offset(count)
        if flow is not None:
            query = query.where(runs.c.flow == flow)
        with reading(self._engine) as connection:
            return connection.scalar(query)

    def newest_beyond_bytes(self, flow: str | None, size: int) -> str | None:
        """The newest run of a flow (None: of all) with which it and those after it take too many bytes.

        None if all together take no more than `size`; else so many have to go that there is some room again: to
        look for the bound costs some seconds with a million runs, and should not be needed each time.
        """
        mine = [] if flow is None else [runs.c.flow == flow]
        together = func.sum(runs.c.bytes).over(order_by=runs.c.id.desc())
        sums = select(runs.c.id, together.label("together")).where(*mine).subquery()
        bound = select(func.max(sums.c.id)).where(sums.c.together > size * ROOM)
        with reading(self._engine) as connection:
            if (connection.scalar(select(func.sum(runs.c.bytes)).where(*mine)) or 0) <= size:
                return None
            found: str | None = connection.scalar(bound)
        return found

    def slots_bounds(self, *, before: float, keep: int) -> list[tuple[str, float]]:
        """(schedule, moment) for each schedule that has slots before that moment beyond its last `keep`."""
        with reading(self._engine) as connection:
            bounds = []
            for schedule_id in list(connection.scalars(select(slots.c.schedule_id).distinct())):
                mine = select(slots.c.slot).where(slots.c.schedule_id == schedule_id)
                kept = connection.scalar(mine.order_by(slots.c.slot.desc()).limit(1).offset(keep - 1))
                if kept is not None and connection.scalar(mine.order_by(slots.c.slot).limit(1)) < min(
                    kept, before
                ):
                    bounds.append((schedule_id, min(kept, before)))
        return bounds

    def unused_versions(self) -> list[str]:
        """Hashes of flow texts that no run has."""
        used = select(runs.c.id).where(runs.c.flow_hash == flow_versions.c.hash).exists()
        with reading(self._engine) as connection:
            return list(connection.scalars(select(flow_versions.c.hash).where(~used)))

    def gives_space_back(self) -> bool:
        """Can the store's file become smaller bit by bit? One that version 1 made cannot, until it is rebuilt."""
        with reading(self._engine) as connection:
            return connection.dialect.name == "sqlite" and _pragma(connection, "auto_vacuum") == 2

    def free_pages(self) -> tuple[int, int]:
        """(free pages, all pages) of the store's file."""
        with reading(self._engine) as connection:
            return _pragma(connection, "freelist_count"), _pragma(connection, "page_count")


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
