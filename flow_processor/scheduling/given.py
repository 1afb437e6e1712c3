"""Schedules whose rule a call gave: made, changed, switched on and off. Once a call returns, what was before fires no
more, also where a tick is under way: the claim of a slot looks at the schedule's revision."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from flow_processor.clock import Clock, to_text
from flow_processor.errors import InvalidRequest, ScheduleFinished, ScheduleNotFound
from flow_processor.scheduling.agenda import Agenda
from flow_processor.scheduling.moments import SlotRule, rule_of_spec
from flow_processor.scheduling.rule_book import RuleBook, begin_of, moments_said
from flow_processor.spec.moments import EXAMPLE, moment_of
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store.given_schedules import Given, GivenScheduleStore
from flow_processor.store.schedule_rows import ScheduleRow


class GivenSchedules:
    """Their verbs. May be called from any thread."""

    def __init__(
        self,
        store: GivenScheduleStore,
        agenda: Agenda,
        rules: RuleBook,
        *,
        wake: Callable[[], None],
        clock: Clock,
        lock: threading.RLock,
    ):
        """`lock` keeps what the store has and what the agenda has the same; `wake` has the scheduler look again."""
        self._store = store
        self._agenda = agenda
        self._rules = rules
        self._wake = wake
        self._clock = clock
        self._lock = lock

    def add(self, flow: str, rule: ScheduleSpec, given: Given, *, active: bool, by: str) -> ScheduleRow:
        """A new schedule. Raises what `RuleBook.rule` raises, and InvalidRequest (schedule_in_past)."""
        now = self._clock.now()
        spec = self._check(flow, rule, now)
        with self._lock:
            row = self._store.add(flow, rule, given, in_force=spec if active else None, by=by, at=now)
            self._take_in(row, now)
        return row

    def change(
        self,
        schedule_id: str,
        edit: Callable[[ScheduleSpec], ScheduleSpec],
        given: Mapping[str, Any],
        *,
        active: bool | None = None,
    ) -> ScheduleRow:
        """Give it the rule that `edit` makes of the one it has, and what `given` holds of `name` and `input`; `active`
        switches it on or off too. Other moments count from now. All of it, or, where it raises, nothing.

        Raises as `add`, what `edit` raises, ScheduleFinished and ScheduleNotFound. What leaves the rule as it is, and
        switches nothing on, does not look at the flow.
        """
        with self._lock:
            now = self._clock.now()
            row, old = self._found(schedule_id)
            rule = edit(old)
            has_moved = moments_said(rule) != moments_said(old)
            if has_moved:
                spec = self._check(row.flow, rule, now)
            elif active:
                spec = self._check_begin(row, rule, now)
            elif rule != old:
                spec, _ = self._rules.rule(row.flow, rule, params=None, anchor=now)
            else:
                spec = self._rules.in_zone(rule)
            is_on = row.active if active is None else active
            begins = has_moved or (is_on and not row.active)
            changed = self._store.change(
                row.id,
                rule,
                given,
                active=is_on,
                since=now if begins else None,
                has_moved=has_moved,
                in_force=spec if is_on else None,
            )
            self._take_in(changed, now)
        return changed

    def activate(self, schedule_id: str) -> ScheduleRow:
        """Switch it on; moments up to now never were. Raises ScheduleFinished where none is left, ScheduleNotFound."""
        return self.change(schedule_id, lambda rule: rule, {}, active=True)

    def deactivate(self, schedule_id: str) -> ScheduleRow:
        """Switch it off: once this returns it never fires. Raises ScheduleNotFound."""
        return self.change(schedule_id, lambda rule: rule, {}, active=False)

    def _check_begin(self, row: ScheduleRow, rule: ScheduleSpec, now: datetime) -> ScheduleSpec:
        """The rule with its time zone filled in. Raises what is wrong with it, and ScheduleFinished where it has no
        moment left if it is switched on now."""
        spec, _ = self._rules.rule(row.flow, rule, params=None, anchor=now)
        begin = begin_of(spec, replace(row, anchor=now))
        if next(rule_of_spec(spec, anchor=begin).slots_after(now), None) is None:
            message = "all moments of this schedule are past; give it another rule first (PATCH)"
            raise ScheduleFinished(message, details={"schedule_id": row.id})
        return spec

    def _found(self, schedule_id: str) -> tuple[ScheduleRow, ScheduleSpec]:
        row = self._store.find(schedule_id)
        if row is None or row.override is None:
            raise ScheduleNotFound(f"there is no schedule '{schedule_id}'")
        return row, row.override

    def preview(
        self, spec: ScheduleSpec, *, number: int, flow: str | None = None
    ) -> tuple[ScheduleSpec, list[datetime], str | None]:
        """The rule with its zone, the first moments that it would have if it began now, and what of it is past. Raises
        as `add`, but for moments in the past; without a flow its params are not looked at."""
        now = self._clock.now()
        if flow is not None:
            self._rules.rule(flow, spec, params=None, anchor=now)
        spec = self._rules.in_zone(spec)
        rule = self._rule(spec, now)
        return spec, list(islice(rule.slots_after(now), number)), _past(spec, rule, now)

    def _check(self, flow: str, spec: ScheduleSpec, now: datetime) -> ScheduleSpec:
        """A rule that is to begin now, its time zone filled in. Raises what is wrong with it."""
        spec, rule = self._rules.rule(flow, spec, params=None, anchor=now)
        past = _past(spec, rule, now)
        if past is not None:
            message = f"{past}. It is {to_text(now)}; write a later moment, such as {EXAMPLE}"
            raise InvalidRequest(message, code="schedule_in_past")
        return spec

    def _rule(self, spec: ScheduleSpec, anchor: datetime) -> SlotRule:
        try:
            return rule_of_spec(spec, anchor=anchor)
        except ValueError as error:
            raise InvalidRequest(str(error), code="invalid_schedule") from error

    def _take_in(self, row: ScheduleRow, now: datetime) -> None:
        if not row.active:
            self._agenda.drop(row.id)
            return
        self._agenda.put(self._rules.entry(row, row.handled_until, now=now))
        self._wake()


def _past(spec: ScheduleSpec, rule: SlotRule, now: datetime) -> str | None:
    """What is past of a rule that is to begin now; None if nothing that it needs is."""
    if spec.is_counted and spec.starts_at is not None:
        begin = moment_of(spec.starts_at, ZoneInfo(spec.timezone or "UTC"))
        if begin <= now:
            return f"starts_at ({spec.starts_at}) lies in the past; leave it out to begin now"
    if next(rule.slots_after(now), None) is not None:
        return None
    return f"'at' ({spec.at}) lies in the past" if spec.at else "all its moments are past, or there is none"
