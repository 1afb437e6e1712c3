"""Journal rows and log lines of runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, insert, select

from flow_processor.journal import DISPATCH_SPAN, Event, WireLog, WireRow, dispatch_of
from flow_processor.run import RunStatus
from flow_processor.store.database import insert_of, reading
from flow_processor.store.outbox import notes_of
from flow_processor.store.tables import journal, logs, outbox, runs
from flow_processor.store.writer import Rows


def history_rows(run_id: str, rows: Iterable[Sequence[Any]], lines: Iterable[Sequence[Any]] = ()) -> Rows:
    """Journal rows and log lines of a run as the writer takes them, and notes of results that are to be sent. Those
    that are there already stay."""
    rows = list(rows)
    return {
        journal: [
            {
                "run_id": run_id,
                "seq": seq,
                "path": path,
                "attempt": attempt,
                "event": event,
                "at": at,
                "data": data,
            }
            for seq, path, attempt, event, at, data in rows
        ],
        logs: [
            {"run_id": run_id, "seq": seq, "at": at, "level": level, "step": step, "message": message}
            for seq, at, level, step, message in lines
        ],
        outbox: notes_of(run_id, rows),
    }


def insert_late(connection: Connection, run_id: str, values: Rows) -> None:
    """Rows of which the store may have some: what those have to send was noted then, and may be sent by now."""
    ours = journal.c.run_id == run_id
    seqs = [note["seq"] for note in values[outbox]]
    known = (
        set(connection.scalars(select(journal.c.seq).where(ours, journal.c.seq.in_(seqs)))) if seqs else set()
    )
    for table, rows in values.items():
        new = [row for row in rows if table is not outbox or row["seq"] not in known]
        if new:
            insert_of(table).execute_each(connection, new)


def insert_rows(connection: Connection, run_id: str, rows: Iterable[Sequence[Any]]) -> None:
    """Journal rows of a run, in a transaction that may also come to nothing."""
    for table, values in history_rows(run_id, rows).items():
        if values:
            connection.execute(insert(table), values)


# Made once: making a statement costs more than running it.
_READ_ROWS = (
    select(journal.c.seq, journal.c.path, journal.c.attempt, journal.c.event, journal.c.at, journal.c.data)
    .where(journal.c.run_id == bindparam("run_id"))
    .order_by(journal.c.seq)
)


def read_rows(connection: Connection, run_id: str) -> list[WireRow]:
    """The whole journal of a run, in order."""
    return [tuple(row) for row in connection.execute(_READ_ROWS, {"run_id": run_id})]


class JournalReader:
    """Reads journals and logs; every call uses a connection of its own."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def rows(self, run_id: str) -> list[WireRow]:
        """The whole journal of a run, in order."""
        with reading(self._engine) as connection:
            return read_rows(connection, run_id)

    def last_dispatched_to(self, run_id: str) -> str | None:
        """Id of the worker that the run was last handed to, as far as the store knows."""
        columns = journal.c
        with reading(self._engine) as connection:
            last = connection.scalar(select(func.max(columns.seq)).where(columns.run_id == run_id))
            first = dispatch_of(last or 0) * DISPATCH_SPAN
            query = select(columns.data).where(columns.run_id == run_id, columns.seq == first)
            data = connection.scalar(query.where(columns.event == Event.DISPATCHED.value))
        return None if data is None else str(json.loads(data).get("worker"))

    def often_lost(self, times: int) -> list[str]:
        """Ids of runs that have a worker, as far as the store knows, and have lost so many or more."""
        lost = (runs.c.status == RunStatus.RUNNING.value, journal.c.event == Event.WORKER_LOST.value)
        query = (
            select(journal.c.run_id)
            .select_from(runs.join(journal, journal.c.run_id == runs.c.id))
            .where(*lost)
            .group_by(journal.c.run_id)
            .having(func.count() >= times)
        )
        with reading(self._engine) as connection:
            return list(connection.scalars(query))

    def log_lines(self, run_id: str, *, after: int, limit: int) -> list[WireLog]:
        """At most `limit` lines with a seq over `after`, in order."""
        columns = logs.c
        query = (
            select(columns.seq, columns.at, columns.level, columns.step, columns.message)
            .where(columns.run_id == run_id, columns.seq > after)
            .order_by(columns.seq)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [tuple(row) for row in connection.execute(query)]

    def log_bytes(self, run_id: str) -> int:
        """About how much of a log the run has, in characters."""
        query = select(func.coalesce(func.sum(func.length(logs.c.message)), 0)).where(logs.c.run_id == run_id)
        with reading(self._engine) as connection:
            return int(connection.scalar(query) or 0)
