"""One schedule as the store keeps it, and how it is read and written."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select

from flow_processor.clock import from_epoch
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store.daemons import schedules_changed
from flow_processor.store.slots import SlotOutcome
from flow_processor.store.tables import schedules, slots


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
    """A schedule, as the store keeps it."""

    id: str
    flow: str
    """Path below the flows folder."""
    origin: Origin
    override: ScheduleSpec | None
    """The rule that config.yml or a call gives; None where the flow file's own schedule counts."""
    in_force: ScheduleSpec | None
    """The rule that was last seen to count, time zone filled in; None if none was seen yet."""
    timeout_seconds: float | None
    params: Mapping[str, Any] | None
    """Values for the flow's parameters, where whoever added it gave some; they lie on top of the rule's own."""
    active: bool
    """False: it never fires. An autostart entry that a person removed stays so until it is added again."""
    anchor: datetime
    """Since when the rule in force counts; intervals are counted from here, and no slot is before it."""
    last_slot: datetime | None
    """The slot that was handled last."""
    last_run_id: str | None = None
    """The run that the newest started slot became, where it was asked for."""
    skipped_reason: str | None = None
    """Why `last_slot` did not start, where it did not, and where it was asked for."""
    name: str | None = None
    has_input: bool = False
    """True: its runs get an `__input__`."""
    counted_from: datetime | None = None
    """When a rule in force with a number of runs first counted: if it names no begin, it begins here."""
    revision: int = 0
    """Rises with each change by a call."""
    added_by: str | None = None
    added_at: datetime | None = None

    @property
    def handled_until(self) -> datetime:
        """Slots up to here are no longer of interest."""
        return self.anchor if self.last_slot is None else max(self.anchor, self.last_slot)

    @property
    def last_failure(self) -> str | None:
        """Why the last slot of the rule in force did not start; None where it did, or there was none."""
        is_of_rule = self.last_slot is not None and self.last_slot > self.anchor
        return self.skipped_reason if is_of_rule else None


@dataclass(frozen=True, slots=True)
class Rules:
    """The column `rule`: JSON `{"override", "in_force", "params", "counted_from"}`."""

    override: ScheduleSpec | None = None
    in_force: ScheduleSpec | None = None
    params: Mapping[str, Any] | None = None
    counted_from: float | None = None

    @staticmethod
    @lru_cache(maxsize=4096)
    def read(text: str | None) -> Rules:
        """What the column says. Kept: of 10,000 schedules most share their rule with others."""
        found = json.loads(text) if text else {}
        override, in_force = found.get("override"), found.get("in_force")
        return Rules(
            None if override is None else ScheduleSpec.model_validate(override),
            None if in_force is None else ScheduleSpec.model_validate(in_force),
            found.get("params"),
            found.get("counted_from"),
        )

    def text(self) -> str:
        """As the column has it."""

        def plain(spec: ScheduleSpec | None) -> Any:
            return None if spec is None else spec.model_dump(mode="json", exclude_none=True)

        kept = {"override": plain(self.override), "in_force": plain(self.in_force)}
        others = {"params": self.params, "counted_from": self.counted_from}
        return json.dumps({**kept, **{key: value for key, value in others.items() if value is not None}})


_COLUMNS = [column for column in schedules.c if column.name != "input"]


def select_rows(*, with_last_run: bool = True) -> Select[Any]:
    """What `to_row` reads; the last run, and why the last slot was skipped, cost a look into the slots of each."""
    query = select(*_COLUMNS, schedules.c.input.is_not(None).label("has_input"))
    if not with_last_run:
        return query
    newest = (
        select(slots.c.run_id)
        .where(slots.c.schedule_id == schedules.c.id, slots.c.outcome == SlotOutcome.STARTED.value)
        .order_by(slots.c.slot.desc())
        .limit(1)
        .scalar_subquery()
    )
    skipped = (
        select(slots.c.reason)
        .where(
            slots.c.schedule_id == schedules.c.id,
            slots.c.slot == schedules.c.last_slot,
            slots.c.outcome == SlotOutcome.SKIPPED.value,
        )
        .scalar_subquery()
    )
    return query.add_columns(newest.label("last_run_id"), skipped.label("skipped_reason"))


def to_row(row: Row[Any]) -> ScheduleRow:
    """A row that `select_rows` found."""
    rules = Rules.read(row.rule)
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
        last_run_id=getattr(row, "last_run_id", None),
        skipped_reason=getattr(row, "skipped_reason", None),
        name=row.name,
        has_input=bool(row.has_input),
        counted_from=None if rules.counted_from is None else from_epoch(rules.counted_from),
        revision=row.revision,
        added_by=row.added_by,
        added_at=from_epoch(row.added_at),
    )


def one_row(connection: Connection, schedule_id: str) -> ScheduleRow | None:
    """The schedule of that id."""
    found = connection.execute(select_rows().where(schedules.c.id == schedule_id)).one_or_none()
    return None if found is None else to_row(found)


def the_row(connection: Connection, schedule_id: str) -> ScheduleRow:
    """The schedule of that id, which is there."""
    return to_row(connection.execute(select_rows().where(schedules.c.id == schedule_id)).one())


def insert_row(
    connection: Connection, flow: str, origin: Origin, *, rules: Rules, at: datetime, **columns: Any
) -> str:
    """A new schedule that counts from `at`; its id. `columns` may say `active` and those that may be null."""
    schedule_id = secrets.token_hex(6)
    values = {
        "id": schedule_id,
        "flow": flow,
        "origin": origin.value,
        "rule": rules.text(),
        "active": 1,
        "added_at": at.timestamp(),
        "anchor": at.timestamp(),
        **columns,
    }
    connection.execute(insert(schedules).values(values))
    schedules_changed(connection)
    return schedule_id


def delete_row(connection: Connection, schedule_id: str) -> None:
    """The schedule and its slots."""
    connection.execute(delete(slots).where(slots.c.schedule_id == schedule_id))
    connection.execute(delete(schedules).where(schedules.c.id == schedule_id))
    schedules_changed(connection)
