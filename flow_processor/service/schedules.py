"""Schedules as callers see them: of every origin in one list, those of origin `api` to be changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from typing import Any

from pydantic import ValidationError

from flow_processor.errors import InvalidRequest, Problem, ScheduleFromFile, ScheduleNotFound
from flow_processor.flow_files import FlowLibrary
from flow_processor.flow_files.schedule_place import schedule_place
from flow_processor.scheduling.agenda import Entry
from flow_processor.scheduling.flow_scheduler import FlowScheduler
from flow_processor.scheduling.rule_book import values_of
from flow_processor.service.live_runs import LiveRuns
from flow_processor.service.schedule_views import (
    ScheduleDetail,
    SchedulePage,
    SchedulePreview,
    ScheduleState,
    ScheduleView,
    SkippedSlot,
)
from flow_processor.settings import Settings
from flow_processor.spec.schedule import KINDS, ScheduleKeys, ScheduleSpec
from flow_processor.store.given_schedules import Given, GivenScheduleStore
from flow_processor.store.schedule_rows import Origin, ScheduleRow

MAX_DATA = 65_536
"""Characters of a schedule's `data` as JSON: it is written anew for each run."""

SKIPPED_SHOWN = 10
"""Skipped slots that are shown of a schedule."""

NEVER_FIRED = "none of its moments was left when it was added, so it never fires"


class Schedules:
    """The verbs of schedules."""

    def __init__(
        self,
        library: FlowLibrary,
        store: GivenScheduleStore,
        scheduler: FlowScheduler,
        *,
        live: LiveRuns,
        settings: Settings,
        check_flow: Callable[[str], object],
    ):
        """`check_flow` raises what a launch of the flow would raise, as far as it can be told now."""
        self._check_flow = check_flow
        self._library = library
        self._store = store
        self._scheduler = scheduler
        self._live = live
        self._settings = settings

    def page(self, *, flow: str | None = None, limit: int = 100, cursor: str | None = None) -> SchedulePage:
        """A page of the schedules of all flows, or of one. Raises InvalidRequest, and FlowNotFound for a flow that is
        neither there nor has schedules."""
        name = None if flow is None else self._library.name_of(flow)
        rows, next_cursor = self._store.page(flow=name, limit=limit, cursor=cursor)
        if name is not None and not rows and cursor is None:
            self._library.status(name)
        return SchedulePage(schedules=self._views(rows), next_cursor=next_cursor)

    def of_flow(self, flow: str) -> list[ScheduleView]:
        """Those of a flow, by its normal path, at most 500; it need not be there."""
        rows, _ = self._store.page(flow=flow, limit=500, cursor=None)
        return self._views(rows)

    def _views(self, rows: Iterable[ScheduleRow]) -> list[ScheduleView]:
        live = self._live.flows()
        return [ScheduleView(**self._values(row, is_running=row.flow in live)) for row in rows]

    def one(self, schedule_id: str, *, number: int = 10) -> ScheduleDetail:
        """One schedule with its next `number` slots. Raises ScheduleNotFound."""
        row = self._row(schedule_id)
        slots = _next_slots(row, self._scheduler.entry(row.id), number)
        return ScheduleDetail(
            **self._values(row, is_running=row.flow in self._live.flows()),
            data=self._store.input_of(row.id) if row.has_input else None,
            next=slots,
            skipped=[
                SkippedSlot(slot=one.slot, at=one.at, reason=one.reason, run_id=one.run_id)
                for one in self._store.skipped(row.id, limit=SKIPPED_SHOWN)
            ],
        )

    def flow_of(self, schedule_id: str) -> str:
        """The flow that a schedule starts. Raises ScheduleNotFound."""
        return self._row(schedule_id).flow

    def next_run_of(self, flow: str) -> datetime | None:
        """When the flow, by its normal path, starts by itself next; None if it does not."""
        return self._scheduler.next_slot_of(flow)

    def preview(
        self, keys: Mapping[str, Any], *, flow: str | None = None, number: int = 10
    ) -> SchedulePreview:
        """When a rule would start a flow if it began now. Raises InvalidRequest, FlowNotFound, SpecError."""
        name = None if flow is None else self._library.status(flow).path
        spec, slots, past = self._scheduler.given.preview(read_rule(keys), number=number, flow=name)
        return SchedulePreview(**_rule_values(spec), next=slots, problem=past)

    def add(
        self,
        flow: str,
        keys: Mapping[str, Any],
        *,
        name: str | None = None,
        data: Any = None,
        active: bool = True,
        by: str = "api",
    ) -> ScheduleDetail:
        """A new schedule of a flow; `keys` are those of a rule.

        Raises FlowNotFound, SpecError, InvalidRequest (also `params_invalid`, `schedule_in_past`).
        """
        path = self._library.status(flow).path
        self._check_flow(path)
        rule, given = read_rule(keys), Given(name, _checked_data(data))
        row = self._scheduler.given.add(path, rule, given, active=active, by=by)
        return self.one(row.id)

    def change(
        self,
        schedule_id: str,
        keys: Mapping[str, Any],
        given: Mapping[str, Any],
        *,
        active: bool | None = None,
    ) -> ScheduleDetail:
        """Change some keys of the rule, and the `name` and `data` that `given` holds; `active` switches it too. All of
        it, or nothing.

        A key that is None is taken out; one of another kind of rule takes the place of the old kind. Raises as
        `add`, ScheduleNotFound, ScheduleFromFile, ScheduleFinished.
        """
        self._check_is_given(schedule_id)
        columns = {"input" if key == "data" else key: value for key, value in given.items()}
        if "input" in columns:
            _checked_data(columns["input"])
        self._scheduler.given.change(
            schedule_id, lambda old: _merged(old, keys) if keys else old, columns, active=active
        )
        return self.one(schedule_id)

    def activate(self, schedule_id: str) -> ScheduleDetail:
        """Switch it on. Raises ScheduleNotFound, ScheduleFromFile, ScheduleFinished, and as `add`."""
        self._check_is_given(schedule_id)
        self._scheduler.given.activate(schedule_id)
        return self.one(schedule_id)

    def deactivate(self, schedule_id: str) -> ScheduleDetail:
        """Switch it off: it never fires. Raises ScheduleNotFound, ScheduleFromFile."""
        self._check_is_given(schedule_id)
        self._scheduler.given.deactivate(schedule_id)
        return self.one(schedule_id)

    def remove(self, schedule_id: str) -> None:
        """Take it out: it never fires again. Raises ScheduleNotFound, ScheduleFromFile."""
        self._check_is_given(schedule_id)
        self._scheduler.remove(schedule_id)

    def _row(self, schedule_id: str) -> ScheduleRow:
        row = self._store.find(schedule_id)
        if row is None:
            raise ScheduleNotFound(f"there is no schedule '{schedule_id[:100]}'")
        return row

    def _check_is_given(self, schedule_id: str) -> None:
        row = self._row(schedule_id)
        if row.origin is Origin.API:
            return
        places = [] if row.override is not None else [schedule_place(self._library, row.flow)]
        if row.origin is Origin.AUTOSTART:
            places.append((self._settings.config_file.name, self._autostart_line(row.flow)))
        file, line = places[0]
        shown = " and ".join(f"{file}:{line}" if line else file for file, line in places)
        way = f"DELETE /api/flows/{row.id} takes the flow out of the scheduler"
        raise ScheduleFromFile(
            f"this schedule stands in {shown}: edit it there; {way}", details={"file": file, "line": line}
        )

    def _autostart_line(self, flow: str) -> int | None:
        entries = self._settings.autostart
        return next((one.line for one in entries if self._library.name_of(one.path) == flow), None)

    def _values(self, row: ScheduleRow, *, is_running: bool) -> dict[str, Any]:
        entry = self._scheduler.entry(row.id)
        spec = (entry.spec if entry else None) or row.override or row.in_force
        return {
            **(_rule_values(spec) if spec else {}),
            "timezone": (spec.timezone if spec else None) or self._settings.timezone,
            "params": values_of(spec, row.params) if spec else dict(row.params or {}),
            "schedule_id": row.id,
            "flow": row.flow,
            "name": row.name,
            "origin": row.origin,
            "state": _state(row, entry),
            "next_run": next(iter(_next_slots(row, entry, 1)), None),
            "last_run": row.last_slot,
            "last_run_id": row.last_run_id,
            "running": is_running,
            "problem": _problem(row, entry),
            "added_at": row.added_at,
            "added_by": row.added_by,
        }


def read_rule(keys: Mapping[str, Any]) -> ScheduleSpec:
    """The rule that these keys make. Raises InvalidRequest (invalid_schedule)."""
    try:
        return ScheduleSpec.model_validate({key: value for key, value in keys.items() if value is not None})
    except ValidationError as error:
        problems = [
            Problem(
                "invalid_value",
                "body",
                None,
                None,
                ".".join(map(str, entry["loc"])),
                entry["msg"].removeprefix("Value error, "),
            )
            for entry in error.errors(include_url=False)
        ]
        message = "; ".join(str(problem) for problem in problems)
        details = {"problems": [asdict(problem) for problem in problems]}
        raise InvalidRequest(message, code="invalid_schedule", details=details) from None


def _merged(old: ScheduleSpec, keys: Mapping[str, Any]) -> ScheduleSpec:
    """The old rule with these keys changed."""
    kept = old.model_dump(mode="json", exclude_none=True)
    for kind in KINDS:
        if any(keys.get(key) is not None for key in kind):
            others = [key for other in KINDS if other is not kind for key in other]
            kept = {key: value for key, value in kept.items() if key not in others}
            break
    return read_rule({**kept, **keys})


def _checked_data(data: Any) -> Any:
    size = len(json.dumps(data))
    if size > MAX_DATA:
        raise InvalidRequest(
            f"data has {size:,} characters as JSON; a schedule keeps at most {MAX_DATA:,}. Put it into a file "
            "that the flow reads",
            code="data_too_large",
        )
    return data


def _rule_values(spec: ScheduleSpec) -> dict[str, Any]:
    return {key: getattr(spec, key) for key in ScheduleKeys.model_fields}


def _state(row: ScheduleRow, entry: Entry | None) -> ScheduleState:
    if not row.active:
        return ScheduleState.INACTIVE
    is_finished = entry is not None and entry.rule is not None and not _next_slots(row, entry, 1)
    return ScheduleState.FINISHED if is_finished else ScheduleState.ACTIVE


def _next_slots(row: ScheduleRow, entry: Entry | None, number: int) -> list[datetime]:
    """The next slots; `row` may know of one that was handled a moment ago, and `entry` not yet."""
    if entry is None or entry.rule is None:
        return []
    after = max(entry.handled_until, row.last_slot or entry.handled_until)
    return list(islice(entry.rule.slots_after(after), number))


def _problem(row: ScheduleRow, entry: Entry | None) -> str | None:
    if entry is not None and entry.problem is not None:
        return entry.problem
    if row.last_failure is not None:
        return row.last_failure
    never = row.last_slot is None and _state(row, entry) is ScheduleState.FINISHED
    return NEVER_FIRED if never else None
