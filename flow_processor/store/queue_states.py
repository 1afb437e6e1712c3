"""What people have told queues to do: paused or not, by whom and since when."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, select, update

from flow_processor.store.database import insert_or_ignore, reading
from flow_processor.store.tables import queue_states


@dataclass(frozen=True, slots=True)
class QueueState:
    """What was said last of one queue."""

    is_paused: bool
    by: str | None
    """Who said it."""
    at: float
    """When, in seconds since 1970."""


def set_queue_state(connection: Connection, queue: str, state: QueueState) -> QueueState:
    """Say it, unless that is said already: then whoever said it first did it. What is in force now."""
    values = {"is_paused": int(state.is_paused), "by": state.by, "at": state.at}
    row = insert_or_ignore(connection, queue_states).values(queue=queue, **values)
    if connection.execute(row).rowcount != 1:
        is_other = queue_states.c.is_paused != values["is_paused"]
        connection.execute(
            update(queue_states).where(queue_states.c.queue == queue, is_other).values(**values)
        )
    found = connection.execute(select(queue_states).where(queue_states.c.queue == queue)).one()
    return QueueState(bool(found.is_paused), found.by, found.at)


def forget_queue_state(connection: Connection, queue: str) -> None:
    """Nothing was ever said of this queue."""
    connection.execute(delete(queue_states).where(queue_states.c.queue == queue))


def read_queue_states(engine: Engine) -> dict[str, QueueState]:
    """What was said last of each queue that anything was ever said of."""
    with reading(engine) as connection:
        rows = connection.execute(select(queue_states)).all()
    return {row.queue: QueueState(bool(row.is_paused), row.by, row.at) for row in rows}
