"""Flows in the scheduler: which ones, by which rule, and how far their slots were handled."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, select, update

from flow_processor.errors import FlowAlreadyAdded
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store.daemons import schedules_changed
from flow_processor.store.database import reading
from flow_processor.store.schedule_rows import (
    Origin,
    Rules,
    ScheduleRow,
    delete_row,
    insert_row,
    one_row,
    select_rows,
    the_row,
    to_row,
)
from flow_processor.store.slots import SlotOutcome, SlotRow, claim_slot, newest_handled
from flow_processor.store.tables import schedules
from flow_processor.store.writer import Writer


class ScheduleStore:
    """Reads and writes schedules and slots. Every call raises StoreUnavailable where the store cannot."""

    claim = staticmethod(claim_slot)
    """See `claim_slot`: for the transaction that inserts the run."""

    def __init__(self, writer: Writer, engine: Engine):
        self._writer = writer
        self._engine = engine

    def active(self, *, with_last_run: bool = True) -> list[ScheduleRow]:
        """Every schedule that is switched on, in the order in which they were added."""
        query = select_rows(with_last_run=with_last_run).where(schedules.c.active == 1)
        with reading(self._engine) as connection:
            ordered = query.order_by(schedules.c.added_at, schedules.c.flow)
            return [to_row(row) for row in connection.execute(ordered)]

    def add(
        self,
        flow: str,
        origin: Origin,
        *,
        override: ScheduleSpec | None,
        timeout_seconds: float | None,
        params: Mapping[str, Any] | None = None,
        at: datetime,
    ) -> ScheduleRow:
        """Put a flow into the scheduler by its file's schedule, or by config.yml's.

        By its file's it must not be there yet (raises FlowAlreadyAdded). An autostart entry that is there is
        brought up to date, also if a person added the flow before; one that a person removed stays inactive.
        """
        rules = Rules(override, None, params)

        def operation(connection: Connection) -> ScheduleRow:
            of_files = and_(schedules.c.flow == flow, schedules.c.origin != Origin.API.value)
            old = connection.execute(select(schedules).where(of_files)).one_or_none()
            if origin is Origin.AUTOSTART and old is not None:
                _refresh(connection, old, rules, timeout_seconds=timeout_seconds)
                return the_row(connection, old.id)
            if old is not None and old.active:
                message = f"'{flow}' is in the scheduler already, as {old.id}"
                raise FlowAlreadyAdded(message, details={"flow_id": old.id})
            if old is not None:
                delete_row(connection, old.id)
            new = insert_row(connection, flow, origin, rules=rules, timeout_seconds=timeout_seconds, at=at)
            return the_row(connection, new)

        return self._writer.run(operation)

    def set_in_force(self, row: ScheduleRow, rule: ScheduleSpec | None, *, since: datetime) -> None:
        """Remember which rule counts, and since when; not if a call has changed the schedule meanwhile, or another
        daemon has noticed the new rule before: then it counts since that moment.

        The number of runs of a rule that a call gave is counted from its begin whatever happens around it.
        """

        def operation(connection: Connection) -> None:
            mine = and_(schedules.c.id == row.id, schedules.c.revision == row.revision)
            kept = Rules.read(connection.scalar(select(schedules.c.rule).where(mine)))
            if kept.in_force != row.in_force and kept.in_force == rule:
                schedules_changed(connection)  # so that the moment is looked up
                return
            begin = kept.counted_from if row.origin is Origin.API else None
            if begin is None and rule is not None and rule.is_counted:
                begin = since.timestamp()
            rules = replace(kept, in_force=rule, counted_from=begin)
            values = {"rule": rules.text(), "anchor": since.timestamp()}
            connection.execute(update(schedules).where(mine).values(values))
            schedules_changed(connection)

        self._writer.run(operation)

    def remove(self, schedule_id: str) -> bool:
        """Take a schedule out; once this returns no slot of it can be claimed. False if it was not there.

        An autostart entry is kept, switched off, so that the next start does not bring it back.
        """

        def operation(connection: Connection) -> bool:
            row = one_row(connection, schedule_id)
            if row is None or (row.origin is not Origin.API and not row.active):
                return False
            if row.origin is Origin.AUTOSTART:
                mine = schedules.c.id == schedule_id
                connection.execute(update(schedules).where(mine).values(active=0))
                schedules_changed(connection)
            else:
                delete_row(connection, schedule_id)
            return True

        return self._writer.run(operation)

    def forget_autostart(self, *, except_flows: Collection[str]) -> list[str]:
        """Delete the autostart entries of flows that config.yml no longer names; their ids are returned."""

        def operation(connection: Connection) -> list[str]:
            query = select(schedules.c.id, schedules.c.flow)
            rows = connection.execute(query.where(schedules.c.origin == Origin.AUTOSTART.value))
            gone = [row.id for row in rows if row.flow not in except_flows]
            for schedule_id in gone:
                delete_row(connection, schedule_id)
            return gone

        return self._writer.run(operation)

    def record_skipped(
        self, schedule_id: str, slot: datetime, *, reason: str, at: datetime, revision: int | None = None
    ) -> Future[bool]:
        """Record that a slot (and the missed ones before it that `reason` tells of) did not start.

        The future is done when that is durable. False, and nothing is written: see `claim_slot`.
        """
        skipped = SlotOutcome.SKIPPED
        return self._writer.submit(
            lambda connection: claim_slot(
                connection, schedule_id, slot, outcome=skipped, reason=reason, at=at, revision=revision
            )
        )

    def handled(self, schedule_id: str, *, limit: int = 100) -> list[SlotRow]:
        """At most `limit` slots of a schedule that were handled, newest first."""
        return newest_handled(self._engine, schedule_id, limit=limit)


def _refresh(connection: Connection, old: Row[Any], rules: Rules, *, timeout_seconds: float | None) -> None:
    """Bring an entry up to what config.yml says now; one that is switched off stays so."""
    kept = Rules.read(old.rule)
    values = {
        "origin": Origin.AUTOSTART.value,
        "rule": replace(rules, in_force=kept.in_force, counted_from=kept.counted_from).text(),
        "timeout_seconds": timeout_seconds,
    }
    connection.execute(update(schedules).where(schedules.c.id == old.id).values(values))
    schedules_changed(connection)
