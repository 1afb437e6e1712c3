"""Which rule counts for a schedule, and since when.

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
from flow_processor.scheduling.moments import SlotRule, rule_of_spec
from flow_processor.spec.schedule import KINDS_TEXT, ScheduleSpec
from flow_processor.store.schedule_rows import Origin, ScheduleRow
from flow_processor.store.schedules import ScheduleStore


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
        (no_schedule) or a cron text or moment that is wrong (invalid_schedule).
        """
        spec = override or self._rule_of(flow)
        if spec is None:
            raise InvalidRequest(f"'{flow}' has no schedule; give it {KINDS_TEXT}", code="no_schedule")
        self._check_params(flow, values_of(spec, params))
        spec = self.in_zone(spec)
        try:
            return spec, rule_of_spec(spec, anchor=anchor)
        except ValueError as error:
            raise InvalidRequest(f"'{flow}': {error}", code="invalid_schedule") from error

    def in_zone(self, spec: ScheduleSpec) -> ScheduleSpec:
        """The rule, its time zone filled in."""
        return spec.model_copy(update={"timezone": spec.timezone or self._zone.key})

    def entry(self, row: ScheduleRow, handled_until: datetime, *, now: datetime) -> Entry:
        """The entry for a row, by what its flow file says now. Where there is no rule it has a problem instead; a rule
        that a call gave goes on beside the problem of its flow, so that its slots are recorded with the reason.

        Raises StoreUnavailable.
        """
        problem = None
        try:
            spec, _ = self.rule(row.flow, row.override, params=row.params, anchor=row.anchor)
        except OctospoolError as error:
            problem = error.message
            given = self._given_rule(row)
            if given is None:
                return Entry(row, None, None, handled_until, problem=problem)
            spec = given
        is_new = row.in_force is None
        is_same = is_new or moments_said(spec) == moments_said(row.in_force)
        since = row.anchor if is_same and not counts_anew(spec, handled_until, now=now) else now
        handled_until = min(handled_until, now) if since == row.anchor else now
        if is_new or since != row.anchor:
            self._schedules.set_in_force(row, spec, since=since)
            is_given = row.origin is Origin.API and row.counted_from is not None
            row = replace(
                row, in_force=spec, anchor=since, counted_from=row.counted_from if is_given else since
            )
        rule = rule_of_spec(spec, anchor=begin_of(spec, row))
        return Entry(row, spec, rule, handled_until, problem=problem)

    def _given_rule(self, row: ScheduleRow) -> ScheduleSpec | None:
        """The rule that a call gave, if it yields moments."""
        if row.origin is not Origin.API or row.override is None:
            return None
        spec = self.in_zone(row.override)
        try:
            rule_of_spec(spec, anchor=row.anchor)
        except ValueError:
            return None
        return spec

    def remembered(self, row: ScheduleRow, *, now: datetime) -> Entry:
        """The entry for a row as the store has it: no flow file is read, so that a start is quick.

        It has to be checked, unless its rule stands in the store alone and the clock has not gone back.
        """
        given = None if row.override is None else self.in_zone(row.override)
        is_checked = (
            given is not None
            and row.handled_until <= now
            and moments_said(given) == moments_said(row.in_force)
        )
        spec = given if is_checked else row.in_force
        try:
            rule = None if spec is None else rule_of_spec(spec, anchor=begin_of(spec, row))
        except (
            ValueError
        ):  # the time zone database has changed: what to say of it is found when it is checked
            return Entry(row, None, None, row.handled_until, is_checked=False)
        return Entry(row, spec, rule, row.handled_until, is_checked=is_checked)


def values_of(spec: ScheduleSpec, params: Mapping[str, Any] | None) -> dict[str, Any]:
    """The values for the flow's parameters: those of the rule, and on top those of whoever added the flow."""
    return {**spec.params, **(params or {})}


def begin_of(spec: ScheduleSpec, row: ScheduleRow) -> datetime:
    """Since when the rule is counted. The number of runs of a counted one is not begun again by a pause."""
    return row.counted_from if spec.is_counted and row.counted_from is not None else row.anchor


def counts_anew(spec: ScheduleSpec, handled_until: datetime, *, now: datetime) -> bool:
    """True for an interval whose last slot lies further ahead than one interval, because the clock went back.

    It goes on from now at its pace, instead of being silent until the clock is there again. A small correction
    does not shift it.
    """
    return spec.every_seconds is not None and (handled_until - now).total_seconds() > spec.every_seconds


_MOMENT_KEYS = (
    "cron",
    "every_seconds",
    "at",
    "interval",
    "repeat_count",
    "starts_at",
    "ends_at",
)


def moments_said(spec: ScheduleSpec | None) -> tuple[Any, ...] | None:
    """What decides the moments of a schedule: its catchup does not, nor a time zone in which nothing is read."""
    if spec is None:
        return None
    zone = spec.timezone if spec.reads_zone else None
    return (zone, *(getattr(spec, key) for key in _MOMENT_KEYS))
