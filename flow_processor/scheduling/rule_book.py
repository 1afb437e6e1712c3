"""Which rule counts for a flow in the scheduler, and since when.

A rule that changed counts from the moment at which the change was noticed: its earlier slots never were. That is
remembered in the store, so it also holds for a flow file that was edited while the daemon was down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from flow_processor.errors import InvalidRequest, OctospoolError
from flow_processor.scheduling.agenda import Entry
from flow_processor.scheduling.slots import SlotRule, rule_of_spec
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store.schedules import ScheduleRow, ScheduleStore


class RuleBook:
    """Makes agenda entries of the store's rows."""

    def __init__(
        self,
        schedules: ScheduleStore,
        rule_of: Callable[[str], ScheduleSpec | None],
        check_params: Callable[[str, Mapping[str, Any]], None],
        zone: ZoneInfo,
    ):
        self._schedules = schedules
        self._rule_of = rule_of
        self._check_params = check_params
        self._zone = zone

    def rule(
        self,
        flow: str,
        override: ScheduleSpec | None,
        *,
        params: Mapping[str, Any] | None,
        anchor: datetime,
    ) -> tuple[ScheduleSpec, SlotRule]:
        """The rule that counts, its time zone filled in.

        Raises what `rule_of` and `check_params` raise, and InvalidRequest for a flow without a schedule
        (no_schedule) or a cron text that is wrong (invalid_schedule).
        """
        spec = override or self._rule_of(flow)
        if spec is None:
            raise InvalidRequest(
                f"'{flow}' has no schedule; give it 'cron' or 'every_seconds'", code="no_schedule"
            )
        self._check_params(flow, values_of(spec, params))
        spec = spec.model_copy(update={"timezone": spec.timezone or self._zone.key})
        try:
            return spec, rule_of_spec(spec, anchor=anchor)
        except ValueError as error:
            raise InvalidRequest(f"'{flow}': {error}", code="invalid_schedule") from error

    def entry(self, row: ScheduleRow, handled_until: datetime, *, now: datetime) -> Entry:
        """The entry for a row. Where there is no rule it has a problem instead. Raises StoreUnavailable."""
        try:
            spec, rule = self.rule(row.flow, row.override, params=row.params, anchor=row.anchor)
        except OctospoolError as error:
            return Entry(row, None, None, handled_until, problem=error.message)
        is_new = row.in_force is None
        is_same = is_new or _moments(spec) == _moments(row.in_force)
        since = row.anchor if is_same and not counts_anew(spec, handled_until, now=now) else now
        handled_until = min(handled_until, now) if since == row.anchor else now
        if not is_new and since == row.anchor:
            return Entry(row, spec, rule, handled_until)
        self._schedules.set_in_force(row.id, spec, since=since)
        row = replace(row, in_force=spec, anchor=since)
        return Entry(row, spec, rule_of_spec(spec, anchor=since), handled_until)


def values_of(spec: ScheduleSpec, params: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values for the flow's parameters: those of the rule, and on top those of whoever added the flow."""
    return {**spec.params, **(params or {})}


def counts_anew(spec: ScheduleSpec, handled_until: datetime, *, now: datetime) -> bool:
    """True for an interval whose last slot lies further ahead than one interval, because the clock went back.

    It goes on from now at its pace, instead of being silent until the clock is there again. A small correction
    does not shift it.
    """
    return spec.every_seconds is not None and (handled_until - now).total_seconds() > spec.every_seconds


def _moments(spec: ScheduleSpec | None) -> tuple[str | None, float | None, str | None] | None:
    """What decides the moments of a schedule; its catchup does not."""
    return None if spec is None else (spec.cron, spec.every_seconds, spec.timezone)
