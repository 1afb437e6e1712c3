"""Schedules whose rule a call gave: made, changed, switched on and off; and pages of all schedules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, select, tuple_, update

from flow_processor.errors import InvalidRequest
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store.daemons import schedules_changed
from flow_processor.store.database import reading
from flow_processor.store.schedule_rows import (
    Origin,
    Rules,
    ScheduleRow,
    insert_row,
    one_row,
    select_rows,
    the_row,
    to_row,
)
from flow_processor.store.slots import SlotRow, newest_skipped
from flow_processor.store.tables import schedules
from flow_processor.store.writer import Writer


@dataclass(frozen=True, slots=True)
class Given:
    """What a call says of a schedule beside its rule."""

    name: str | None = None
    input: Any = None
    """Its runs' `__input__`."""


class GivenScheduleStore:
    """Reads and writes schedules of origin `api`. Every call raises StoreUnavailable where the store cannot."""

    def __init__(self, writer: Writer, engine: Engine):
        self._writer = writer
        self._engine = engine

    def add(
        self,
        flow: str,
        rule: ScheduleSpec,
        given: Given,
        *,
        in_force: ScheduleSpec | None,
        by: str,
        at: datetime,
    ) -> ScheduleRow:
        """A new schedule of a flow, which may have others. `in_force`: the rule with its time zone filled in; None
        for a schedule that is switched off."""

        def operation(connection: Connection) -> ScheduleRow:
            new = insert_row(
                connection,
                flow,
                Origin.API,
                rules=_begun(rule, in_force, at),
                at=at,
                active=int(in_force is not None),
                added_by=by,
                name=given.name,
                input=_input_text(given.input),
            )
            return the_row(connection, new)

        return self._writer.run(operation)

    def change(
        self,
        schedule_id: str,
        rule: ScheduleSpec,
        given: Mapping[str, Any],
        *,
        active: bool,
        since: datetime | None,
        has_moved: bool,
        in_force: ScheduleSpec | None,
    ) -> ScheduleRow:
        """Write all that was changed: `given` may hold `name` and `input`. `since`: it counts from then on, because it
        is switched on, or because its moments are others (`has_moved`): then `in_force` is the new rule (see `add`).
        Once this returns no slot is claimed by what was before."""

        def operation(connection: Connection) -> ScheduleRow:
            mine = schedules.c.id == schedule_id
            values: dict[str, Any] = {"revision": schedules.c.revision + 1, "active": int(active)}
            if since is not None:
                values["anchor"] = since.timestamp()
            if since is not None and has_moved:
                values["rule"] = _begun(rule, in_force, since).text()
            else:
                kept = Rules.read(connection.scalar(select(schedules.c.rule).where(mine)))
                values["rule"] = replace(kept, override=rule).text()
            if "name" in given:
                values["name"] = given["name"]
            if "input" in given:
                values["input"] = _input_text(given["input"])
            connection.execute(update(schedules).where(mine).values(values))
            schedules_changed(connection)
            return the_row(connection, schedule_id)

        return self._writer.run(operation)

    def find(self, schedule_id: str) -> ScheduleRow | None:
        """The schedule of that id, whatever its origin."""
        with reading(self._engine) as connection:
            return one_row(connection, schedule_id)

    def input_of(self, schedule_id: str) -> Any:
        """What its runs get as `__input__`."""
        query = select(schedules.c.input).where(schedules.c.id == schedule_id)
        with reading(self._engine) as connection:
            text = connection.scalar(query)
        return None if text is None else json.loads(text)

    def skipped(self, schedule_id: str, *, limit: int) -> list[SlotRow]:
        """At most `limit` of its newest slots that did not start, newest first."""
        return newest_skipped(self._engine, schedule_id, limit=limit)

    def page(
        self, *, flow: str | None, limit: int, cursor: str | None
    ) -> tuple[list[ScheduleRow], str | None]:
        """Schedules of every origin, switched on or off, in the order in which they were added; and where the next
        page begins, None on the last one. Raises InvalidRequest for a cursor that no page gave."""
        order = (schedules.c.added_at, schedules.c.id)
        query = select_rows().order_by(*order).limit(limit + 1)
        if flow is not None:
            query = query.where(schedules.c.flow == flow)
        if cursor is not None:
            query = query.where(tuple_(*order) > tuple_(*_place(cursor)))
        with reading(self._engine) as connection:
            found = connection.execute(query).all()
        rows = [to_row(row) for row in found[:limit]]
        if len(found) <= limit:
            return rows, None
        last = found[limit - 1]
        return rows, f"{last.added_at!r}_{last.id}"


def _begun(rule: ScheduleSpec, in_force: ScheduleSpec | None, at: datetime) -> Rules:
    """A rule that counts from now, or that will when it is switched on."""
    is_counted = in_force is not None and in_force.is_counted
    return Rules(rule, in_force, counted_from=at.timestamp() if is_counted else None)


def _place(cursor: str) -> tuple[float, str]:
    at, _, schedule_id = cursor.partition("_")
    try:
        return float(at), schedule_id
    except ValueError:
        raise InvalidRequest("no page gave this cursor; begin without one") from None


def _input_text(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
