"""Rules of schedules on the command line, and schedules as they are shown there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import click

from flow_processor.cli.options import Length
from flow_processor.cli.output import echo_json, show_facts
from flow_processor.logs import escape

if TYPE_CHECKING:
    from flow_processor.service.schedule_views import RuleView, ScheduleDetail

_Command = TypeVar("_Command", bound=Callable[..., Any])


def rule_options(command: _Command) -> _Command:
    """The keys of a rule, passed by their names."""
    for name, kind, text in reversed(
        (
            ("--cron", str, "Five fields, or six with seconds first."),
            ("--every-seconds", Length(), "Time between two starts, without an end, such as 90s or 2h."),
            ("--at", str, "One start at this moment, such as 2026-12-24T18:00."),
            ("--interval", Length(), "With --repeat-count: time between two starts, such as 90s or 2h."),
            ("--repeat-count", int, "How many starts follow the first: 2 makes three runs."),
            ("--starts-at", str, "No start before this moment."),
            ("--ends-at", str, "No start after this moment."),
            ("--timezone", str, "Where cron and moments are read, such as Europe/Berlin."),
            ("--catchup", click.Choice(["none", "latest", "all"]), "Which missed slots are made up for."),
            ("--catchup-max", int, "With --catchup all: how many of them at most."),
        )
    ):
        command = click.option(name, type=kind, help=text)(command)
    return command


def given(keys: dict[str, Any]) -> dict[str, Any]:
    """The keys that were given."""
    return {key: value for key, value in keys.items() if value is not None}


def when(value: datetime | None, zone: str) -> str:
    """A moment in the zone of the rule, which is named: `2026-11-23 06:30:00 +01:00 Europe/Berlin`."""
    if value is None:
        return "-"
    local = value.astimezone(ZoneInfo(zone))
    offset = local.isoformat(timespec="seconds")[19:]
    return f"{local:%Y-%m-%d %H:%M:%S} {offset} {zone}"


def tell(found: ScheduleDetail, *, as_json: bool) -> None:
    """One schedule, its next slots, and those that started nothing."""
    if as_json:
        echo_json(found.model_dump(mode="json"))
        return
    facts = {
        "schedule": found.schedule_id,
        "flow": found.flow,
        "name": found.name,
        "rule": words(found),
        "timezone": found.timezone,
        "state": found.state.value,
        "origin": found.origin.value,
        "problem": found.problem,
        "last run": when(found.last_run, found.timezone) if found.last_run else None,
    }
    show_facts(facts, width=10)
    for number, slot in enumerate(found.next):
        click.echo(f"{'' if number else 'next':<10} {when(slot, found.timezone)}")
    for number, skipped in enumerate(found.skipped):
        name = "" if number else "skipped"
        click.echo(f"{name:<10} {when(skipped.slot, found.timezone)}: {escape(skipped.reason or '')}")


def words(rule: RuleView) -> str:
    """The rule as people say it."""
    if rule.cron is not None:
        said = f"cron {rule.cron}"
    elif rule.every_seconds is not None:
        said = f"every {rule.every_seconds:g} s"
    elif rule.at is not None:
        said = f"at {rule.at}"
    elif rule.repeat_count is None:
        said = "-"
    elif rule.interval is None or not rule.repeat_count:
        said = "once"
    else:
        said = f"every {rule.interval:g} s, {rule.repeat_count + 1} times"
    if rule.starts_at is not None:
        said += f", from {rule.starts_at}"
    return said if rule.ends_at is None else f"{said}, until {rule.ends_at}"
