"""Flows in the scheduler: which ones, by which rule, and how far their slots were handled."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, delete, insert, select, update

from flow_processor.clock import from_epoch
from flow_processor.errors import FlowAlreadyAdded
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store.database import reading
from flow_processor.store.slots import SlotOutcome, SlotRow, claim_slot, newest_handled
from flow_processor.store.tables import schedules, slots
from flow_processor.store.writer import Writer


class Origin(StrEnum):
    """Where a schedule comes from."""

    FLOW = "flow"
    """The flow file; somebody put the flow into the scheduler by API."""
    AUTOSTART = "autostart"
    """config.yml names the flow."""
    API = "api"
    """A call that gave the rule."""


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A flow in the scheduler, as the store keeps it."""

    id: str
    flow: str
    """Path below the flows folder."""
    origin: Origin
    override: ScheduleSpec | None
    """The rule that config.yml gives; None where the flow file's own schedule counts."""
    in_force: ScheduleSpec | None
    """The rule that was last seen to count, time zone filled in; None if none was seen yet."""
    timeout_seconds: float | None
    params: Mapping[str, Any] | None
    """Values for the flow's parameters, where whoever added it gave some; they lie on top of the rule's own."""
    active: bool
    """False: an autostart entry that a person removed; it stays out until it is added again."""
    anchor: datetime
    """Since when the rule in force counts; intervals are counted from here, and no slot is before it."""
    last_slot: datetime | None
    """The slot that was handled last."""
    last_run_id: str | None = None
    """The run that the newest started slot became."""

    @property
    def handled_until(self) -> datetime:
        """Slots up to here are no longer of interest."""
        return self.anchor if self.last_slot is None else max(self.anchor, self.last_slot)


class ScheduleStore:
    """Reads and writes schedules and slots. Every call raises StoreUnavailable where the store cannot."""

    claim = staticmethod(claim_slot)
    """See `claim_slot`: for the transaction that inserts the run."""

    def __init__(self, writer: Writer, engine: Engine):
        self._writer = writer
        self._engine = engine

    def active(self) -> list[ScheduleRow]:
        """Every flow in the scheduler, in the order in which they were added."""
        query = _rows().where(schedules.c.active == 1).order_by(schedules.c.added_at, schedules.c.flow)
        with reading(self._engine) as connection:
            return [_to_row(row) for row in connection.execute(query)]

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
        """Put a flow into the scheduler.

        By API it must not be there yet (raises FlowAlreadyAdded). An autostart entry that is there is brought
        up to date, also if a person added it by API before; one that a person removed stays inactive.
        """

        def operation(connection: Connection) -> ScheduleRow:
            of_files = and_(schedules.c.flow == flow, schedules.c.origin != Origin.API.value)
            old = connection.execute(select(schedules).where(of_files)).one_or_none()
            if origin is Origin.AUTOSTART and old is not None:
                return _refresh(
                    connection, old, override=override, timeout_seconds=timeout_seconds, params=params
                )
            if old is not None and old.active:
                message = f"'{flow}' is in the scheduler already, as {old.id}"
                raise FlowAlreadyAdded(message, details={"flow_id": old.id})
            if old is not None:
                _delete(connection, old.id)
            return _insert(
                connection,
                flow,
                origin,
                override=override,
                timeout_seconds=timeout_seconds,
                params=params,
                at=at,
            )

        return self._writer.run(operation)

    def set_in_force(self, schedule_id: str, rule: ScheduleSpec | None, *, since: datetime) -> None:
        """Remember which rule counts, and since when."""

        def operation(connection: Connection) -> None:
            mine = schedules.c.id == schedule_id
            text = connection.scalar(select(schedules.c.rule).where(mine))
            kept = _Rules.read(text)
            values = {"rule": replace(kept, in_force=rule).text(), "anchor": since.timestamp()}
            connection.execute(update(schedules).where(mine).values(values))

        self._writer.run(operation)

    def remove(self, schedule_id: str) -> bool:
        """Take a flow out; once this returns no slot of it can be claimed. False if it was not there.

        An autostart entry is kept, switched off, so that the next start does not bring it back.
        """

        def operation(connection: Connection) -> bool:
            mine = and_(schedules.c.id == schedule_id, schedules.c.active == 1)
            kept = update(schedules).where(mine, schedules.c.origin == Origin.AUTOSTART.value)
            if connection.execute(kept.values(active=0)).rowcount:
                return True
            if connection.scalar(select(schedules.c.id).where(mine)) is None:
                return False
            _delete(connection, schedule_id)
            return True

        return self._writer.run(operation)

    def forget_autostart(self, *, except_flows: Collection[str]) -> list[str]:
        """Delete the autostart entries of flows that config.yml no longer names; their ids are returned."""

        def operation(connection: Connection) -> list[str]:
            query = select(schedules.c.id, schedules.c.flow)
            rows = connection.execute(query.where(schedules.c.origin == Origin.AUTOSTART.value))
            gone = [row.id for row in rows if row.flow not in except_flows]
            for schedule_id in gone:
                _delete(connection, schedule_id)
            return gone

        return self._writer.run(operation)

    def record_skipped(self, schedule_id: str, slot: datetime, *, reason: str, at: datetime) -> bool:
        """Record that a slot (and the missed ones before it that `reason` tells of) did not start."""
        return self._writer.run(
            lambda connection: claim_slot(
                connection, schedule_id, slot, outcome=SlotOutcome.SKIPPED, reason=reason, at=at
            )
        )

    def handled(self, schedule_id: str, *, limit: int = 100) -> list[SlotRow]:
        """At most `limit` slots of a schedule that were handled, newest first."""
        return newest_handled(self._engine, schedule_id, limit=limit)


def _rows() -> Any:
    newest = (
        select(slots.c.run_id)
        .where(slots.c.schedule_id == schedules.c.id, slots.c.outcome == SlotOutcome.STARTED.value)
        .order_by(slots.c.slot.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(schedules, newest.label("last_run_id"))


def _to_row(row: Row[Any]) -> ScheduleRow:
    rules = _Rules.read(row.rule)
    return ScheduleRow(
        id=row.id,
        flow=row.flow,
        origin=Origin(row.origin),
        override=rules.override,
        in_force=rules.in_force,
        timeout_seconds=row.timeout_seconds,
        params=rules.params,
        active=bool(row.active),
        anchor=from_epoch(row.anchor),
        last_slot=None if row.last_slot is None else from_epoch(row.last_slot),
        last_run_id=row.last_run_id,
    )


def _insert(
    connection: Connection,
    flow: str,
    origin: Origin,
    *,
    override: ScheduleSpec | None,
    timeout_seconds: float | None,
    params: Mapping[str, Any] | None,
    at: datetime,
) -> ScheduleRow:
    values = {
        "id": secrets.token_hex(6),
        "flow": flow,
        "origin": origin.value,
        "rule": _Rules(override, None, params).text(),
        "timeout_seconds": timeout_seconds,
        "active": 1,
        "added_at": at.timestamp(),
        "anchor": at.timestamp(),
    }
    connection.execute(insert(schedules).values(values))
    return _one(connection, values["id"])


def _refresh(
    connection: Connection,
    old: Row[Any],
    *,
    override: ScheduleSpec | None,
    timeout_seconds: float | None,
    params: Mapping[str, Any] | None,
) -> ScheduleRow:
    """Bring an entry up to what config.yml says now; one that is switched off stays so."""
    values = {
        "origin": Origin.AUTOSTART.value,
        "rule": _Rules(override, _Rules.read(old.rule).in_force, params).text(),
        "timeout_seconds": timeout_seconds,
    }
    connection.execute(update(schedules).where(schedules.c.id == old.id).values(values))
    return _one(connection, old.id)


def _delete(connection: Connection, schedule_id: str) -> None:
    connection.execute(delete(slots).where(slots.c.schedule_id == schedule_id))
    connection.execute(delete(schedules).where(schedules.c.id == schedule_id))


def _one(connection: Connection, schedule_id: Any) -> ScheduleRow:
    return _to_row(connection.execute(_rows().where(schedules.c.id == schedule_id)).one())


@dataclass(frozen=True, slots=True)
class _Rules:
    """The column `rule`: JSON `{"override", "in_force", "params"}`."""

    override: ScheduleSpec | None
    in_force: ScheduleSpec | None
    params: Mapping[str, Any] | None

    @classmethod
    def read(cls, text: str | None) -> _Rules:
        found = json.loads(text) if text else {}
        override, in_force = found.get("override"), found.get("in_force")
        return cls(
            None if override is None else ScheduleSpec.model_validate(override),
            None if in_force is None else ScheduleSpec.model_validate(in_force),
            found.get("params"),
        )

    def text(self) -> str:
        def plain(spec: ScheduleSpec | None) -> Any:
            return None if spec is None else spec.model_dump(mode="json", exclude_none=True)

        kept = {"override": plain(self.override), "in_force": plain(self.in_force)}
        return json.dumps(kept if self.params is None else {**kept, "params": self.params})
