"""Calls of webhooks that were accepted, for as long as the same one may come again.

A call is known by its marks: the id that its sender gave it, its signature. They are written in the transaction that
inserts the run: a call that became no run leaves no mark.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, Select, delete, insert, select

from flow_processor.store.database import reading
from flow_processor.store.tables import deliveries


def claim_delivery(
    connection: Connection, hook: str, marks: Sequence[str], *, run_id: str, at: float, expires_at: float
) -> bool:
    """Remember a call until `expires_at`, inside the transaction that inserts its run; both in seconds since 1970.

    False (and nothing written) if one of its marks is there already: then there must be no run.
    """
    connection.execute(delete(deliveries).where(deliveries.c.expires_at <= at))
    if not marks:
        return True
    if connection.scalar(_first_run(hook, marks, at)) is not None:
        return False
    rows = [{"hook": hook, "mark": mark, "run_id": run_id, "expires_at": expires_at} for mark in marks]
    connection.execute(insert(deliveries), rows)
    return True


def run_of_delivery(engine: Engine, hook: str, marks: Sequence[str], *, at: float) -> str | None:
    """The run that a call with one of these marks became; None if there was none, or it is forgotten."""
    if not marks:
        return None
    with reading(engine) as connection:
        return connection.scalar(_first_run(hook, marks, at))


def _first_run(hook: str, marks: Sequence[str], at: float) -> Select[str]:
    return (
        select(deliveries.c.run_id)
        .where(deliveries.c.hook == hook, deliveries.c.mark.in_(marks), deliveries.c.expires_at > at)
        .limit(1)
    )
