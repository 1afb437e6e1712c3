"""Slots that were handled: each moment of a schedule that became a run, or is recorded as skipped.

A slot is handled by inserting its row: the table's key lets that happen once, whoever tries. The row, the
schedule's `last_slot` and the run that starts are written in one transaction: a crash leaves all or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Engine, and_, bindparam, delete, select, update

from flow_processor.clock import from_epoch
from flow_processor.store.database import insert_or_ignore, reading
from flow_processor.store.statements import Statement
from flow_processor.store.tables import schedules, slots


class SlotOutcome(StrEnum):
    """What became of a slot."""

    STARTED = "started"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class SlotRow:
    """A slot that was handled."""

    slot: datetime
    outcome: SlotOutcome
    run_id: str | None
    """The run it became; for an overlap the skipped run that tells of it."""
    reason: str | None
    """Why it did not start, and how many missed slots before it this row stands for."""
    at: datetime
    """When it was handled."""


_TAKE = Statement(
    lambda connection: insert_or_ignore(connection, slots), columns=[column.name for column in slots.c]
)
_IS_ACTIVE = (schedules.c.id == bindparam("of_schedule"), schedules.c.active == 1)
_IS_UNCHANGED = schedules.c.revision == bindparam("of_revision")
_MOVE_ON = Statement(update(schedules).where(*_IS_ACTIVE).values(last_slot=bindparam("of_slot")))
_MOVE_ON_UNCHANGED = Statement(
    update(schedules).where(*_IS_ACTIVE, _IS_UNCHANGED).values(last_slot=bindparam("of_slot"))
)


def claim_slot(
    connection: Connection,
    schedule_id: str,
    slot: datetime,
    *,
    outcome: SlotOutcome,
    at: datetime,
    run_id: str | None = None,
    reason: str | None = None,
    revision: int | None = None,
) -> bool:
    """Take a slot, inside the transaction that also inserts its run, and move the schedule's `last_slot`.

    False (and nothing written) if the slot was taken before, or the schedule was removed, switched off, or changed
    since `revision`: then there must be no run. Of several that try at once, in any number of processes, one gets
    True.
    """
    taken = {
        "schedule_id": schedule_id,
        "slot": slot.timestamp(),
        "outcome": outcome.value,
        "run_id": run_id,
        "reason": reason,
        "at": at.timestamp(),
    }
    if _TAKE.execute(connection, taken) != 1:
        return False
    moved = {"of_schedule": schedule_id, "of_revision": revision, "of_slot": slot.timestamp()}
    move_on = _MOVE_ON if revision is None else _MOVE_ON_UNCHANGED
    if move_on.execute(connection, moved) == 1:
        return True
    this_slot = and_(slots.c.schedule_id == schedule_id, slots.c.slot == slot.timestamp())
    connection.execute(delete(slots).where(this_slot))
    return False


LOOK_BACK = 200
"""Slots among which those are looked for that did not start."""


def newest_skipped(engine: Engine, schedule_id: str, *, limit: int) -> list[SlotRow]:
    """At most `limit` of the newest LOOK_BACK slots: those that did not start, newest first."""
    newest = newest_handled(engine, schedule_id, limit=LOOK_BACK)
    return [row for row in newest if row.outcome is SlotOutcome.SKIPPED][:limit]


def newest_handled(engine: Engine, schedule_id: str, *, limit: int) -> list[SlotRow]:
    """At most `limit` slots that were handled, newest first."""
    columns = slots.c
    query = (
        select(columns.slot, columns.outcome, columns.run_id, columns.reason, columns.at)
        .where(columns.schedule_id == schedule_id)
        .order_by(columns.slot.desc())
        .limit(limit)
    )
    with reading(engine) as connection:
        return [
            SlotRow(from_epoch(slot), SlotOutcome(outcome), run_id, reason, from_epoch(at))
            for slot, outcome, run_id, reason, at in connection.execute(query)
        ]
