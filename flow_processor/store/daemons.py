"""Daemons that share a store: which live, what a dead one leaves to others, and who holds the locks of flows.

A daemon that lives says so every few seconds in its row, and holds a lock of the database that goes with its
connection. Dead is one whose row is older than its lease and whose lock is free: one that only stands still, or that
the network hides from its peers, is not.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, delete, func, select, update

from flow_processor.run import LIVE_STATUSES, RunStatus, Trigger
from flow_processor.store.database import insert_or_ignore, reading
from flow_processor.store.tables import daemons, flow_locks, meta, runs

LEASE_SECONDS = 15.0
"""A daemon that has not been seen for so long may be dead."""

LIVING = 0x0C71
"""The first number of the lock that a living daemon holds; the second one stands for its id."""

DECLARED_DEAD = -1.0
"""When a daemon was seen from which another one has taken runs over."""

_ANYWHERE = (Trigger.API, Trigger.SCHEDULE, Trigger.WEBHOOK)
"""Runs with these triggers need nothing of the data folder in which they were accepted."""

_LIVE = [status.value for status in LIVE_STATUSES]


def take_over(connection: Connection, dead: str, daemon: str) -> list[str] | None:
    """Make the runs that a dead daemon accepted and never began this one's; their ids, oldest first.

    None if it is not dead after all. What has begun waits for it, and so does what needs its data folder. From then
    on it writes nothing more: if it should live after all, it ends.
    """
    is_dead = connection.exec_driver_sql(
        f"SELECT pg_try_advisory_xact_lock({LIVING}, hashtext(%s))", (dead,)
    ).scalar_one()
    if not is_dead:
        return None
    never_begun = (
        runs.c.daemon == dead,
        runs.c.status == RunStatus.QUEUED.value,
        runs.c.started_at.is_(None),
        runs.c.parent.is_(None),
        runs.c.retry_of.is_(None),
        runs.c.trigger.in_([trigger.value for trigger in _ANYWHERE]),
    )
    found = list(connection.scalars(select(runs.c.id).where(*never_begun).order_by(runs.c.id)))
    if found:
        connection.execute(update(daemons).where(daemons.c.id == dead).values(seen_at=DECLARED_DEAD))
        connection.execute(update(runs).where(runs.c.id.in_(found)).values(daemon=daemon))
        connection.execute(delete(flow_locks).where(flow_locks.c.run_id.in_(found)))
    return found


def left_by(connection: Connection, daemon: str) -> int:
    """How many runs of a daemon have not ended."""
    query = select(func.count()).where(runs.c.daemon == daemon, runs.c.status.in_(_LIVE))
    return connection.scalar(query) or 0


def lock_flow(
    connection: Connection, flow: str, run_id: str, *, daemon: str, limit: int, at: float
) -> str | None:
    """Take a flow's lock for a run, over all daemons: None when it has it, else the id of a holder."""
    holders: list[str] = list(
        connection.scalars(
            select(flow_locks.c.run_id)
            .where(flow_locks.c.flow == flow, flow_locks.c.run_id != run_id)
            .order_by(flow_locks.c.at)
        )
    )
    if len(holders) >= limit:
        return holders[0]
    values = {"flow": flow, "run_id": run_id, "daemon": daemon, "at": at}
    connection.execute(insert_or_ignore(connection, flow_locks).values(values))
    return None


def free_flow(connection: Connection, flow: str, run_id: str | None = None) -> None:
    """Give a run's lock of a flow back; None: take it from whoever has it."""
    mine = flow_locks.c.flow == flow
    if run_id is not None:
        mine &= flow_locks.c.run_id == run_id
    connection.execute(delete(flow_locks).where(mine))


def free_ended(connection: Connection, daemon: str) -> None:
    """Free what runs of this daemon held that have ended: it died before it could."""
    live = select(runs.c.id).where(runs.c.status.in_(_LIVE))
    connection.execute(
        delete(flow_locks).where(flow_locks.c.daemon == daemon, flow_locks.c.run_id.not_in(live))
    )


def flow_holders(engine: Engine) -> list[tuple[str, str, str, float]]:
    """(flow, run, daemon, since) of every lock that is held."""
    query = select(flow_locks.c.flow, flow_locks.c.run_id, flow_locks.c.daemon, flow_locks.c.at)
    with reading(engine) as connection:
        return [
            (row[0], row[1], row[2], row[3]) for row in connection.execute(query.order_by(flow_locks.c.at))
        ]


_SCHEDULES = "schedules_changed"


def schedules_changed(connection: Connection) -> None:
    """Note that a schedule was made, changed or deleted, for the other daemons."""
    if connection.dialect.name != "postgresql":
        return  # there is no other
    connection.execute(insert_or_ignore(connection, meta).values(key=_SCHEDULES, value="0"))
    connection.exec_driver_sql(
        "UPDATE meta SET value = (value::bigint + 1)::text WHERE key = %s", (_SCHEDULES,)
    )


def schedule_changes(connection: Connection) -> str:
    """What is another text after each change of a schedule."""
    return connection.scalar(select(meta.c.value).where(meta.c.key == _SCHEDULES)) or ""
