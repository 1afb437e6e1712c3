"""Results of steps that are to be put on queues: noted in the transaction that writes the journal row which holds them.

So a result is sent exactly if its step is journaled as succeeded, whoever writes that row and when. A note is deleted
once its items are on the queue; `flow_processor.queues.outbox` sees to that.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, func, select

from flow_processor.journal import OUTPUT_FIRST, Event
from flow_processor.store.database import reading
from flow_processor.store.mine import mine
from flow_processor.store.statements import Statement
from flow_processor.store.tables import journal, outbox, runs
from flow_processor.store.writer import Rows

_SUCCEEDED = Event.SUCCEEDED.value


def notes_of(run_id: str, rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Those of the journal rows whose result is to be sent, as rows of the table."""
    return [
        {"run_id": run_id, "seq": seq, "queue": json.loads(data)["output"]["queue"], "at": at}
        for seq, _path, _attempt, event, at, data in rows
        if event == _SUCCEEDED and data and data.startswith(OUTPUT_FIRST)
    ]


def forget_notes(connection: Connection, notes: Collection[Note]) -> None:
    """Delete the notes of what has been sent."""
    _FORGET.execute_each(connection, [{"of_run": note.run_id, "of_seq": note.seq} for note in notes])


def runs_with_notes(connection: Connection, run_ids: Collection[str]) -> set[str]:
    """Those of these runs of which something is still to be sent."""
    return set(connection.scalars(select(outbox.c.run_id).where(outbox.c.run_id.in_(run_ids)).distinct()))


# Made once: making a statement costs more than running it.
_FORGET = Statement(
    delete(outbox).where(outbox.c.run_id == bindparam("of_run"), outbox.c.seq == bindparam("of_seq"))
)
_OLDEST = (
    select(outbox.c.run_id, outbox.c.seq, outbox.c.queue, outbox.c.at)
    .where(outbox.c.queue == bindparam("of_queue"))
    .order_by(outbox.c.at, outbox.c.run_id, outbox.c.seq)
    .limit(bindparam("count"))
)
_SUCCESS = (
    select(runs.c.flow, journal.c.path, journal.c.data)
    .select_from(journal.join(runs, runs.c.id == journal.c.run_id))
    .where(journal.c.run_id == bindparam("of_run"), journal.c.seq == bindparam("of_seq"))
)


@dataclass(frozen=True, slots=True)
class Note:
    """Row `seq` of a run's journal holds a result that is to be put on a queue."""

    run_id: str
    seq: int
    queue: str
    at: float
    """When the step succeeded, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Success:
    """What is to be sent."""

    flow: str
    """The flow of the run."""
    path: str
    """The step."""
    data: str
    """The data of its journal row, as JSON text."""


class Outbox:
    """Reads what is to be sent; every call uses a connection of its own."""

    def __init__(self, engine: Engine, daemon: str | None = None):
        """`daemon`: see `Store`; each sends what its own runs have made, for the files of large results are there."""
        self._engine = engine
        own = select(runs.c.id).where(*mine(runs.c.daemon, daemon))
        self._mine = () if daemon is None else (outbox.c.run_id.in_(own),)
        self.has_more = threading.Event()
        """Set after the commit of notes (`follow`); whoever sends them clears it."""

    def follow(self, written: Future[Any], values: Rows) -> None:
        """Tell of what is to be sent of these rows, once they are written."""
        if values[outbox]:
            written.add_done_callback(lambda _done: self.has_more.set())

    def queues(self) -> list[str]:
        """Names of the queues for which there is something."""
        found: list[str] = []
        with reading(self._engine) as connection:
            # One look into the index for each queue, not one for each note.
            first = select(func.min(outbox.c.queue)).where(*self._mine)
            while (
                queue := connection.scalar(first.where(outbox.c.queue > found[-1]) if found else first)
            ) is not None:
                found.append(queue)
        return found

    def oldest(self, queue: str, count: int) -> list[Note]:
        """The first `count` notes of a queue, oldest first."""
        with reading(self._engine) as connection:
            query = _OLDEST.where(*self._mine) if self._mine else _OLDEST
            return [Note(*row) for row in connection.execute(query, {"of_queue": queue, "count": count})]

    def success(self, note: Note) -> Success | None:
        """What the note is about; None if it is gone."""
        with reading(self._engine) as connection:
            row = connection.execute(_SUCCESS, {"of_run": note.run_id, "of_seq": note.seq}).one_or_none()
        return None if row is None else Success(*row)

    def counts(self) -> dict[str, int]:
        """For each queue how many results are still to be sent to it; queues without any are left out."""
        query = select(outbox.c.queue, func.count()).where(*self._mine).group_by(outbox.c.queue)
        with reading(self._engine) as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def of_run(self, run_id: str) -> list[str]:
        """Names of the queues that still have to get something of a run."""
        query = select(outbox.c.queue).where(outbox.c.run_id == run_id).distinct().order_by(outbox.c.queue)
        with reading(self._engine) as connection:
            return list(connection.scalars(query))
