"""`octospool schedules`: when flows run by themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flow_processor.cli.options import (
    Length,
    ListByDefault,
    data_path_option,
    existing_settings,
    json_option,
    params_options,
)
from flow_processor.cli.output import echo_json, moment, say, table
from flow_processor.cli.values import json_value, params_given
from flow_processor.logs import escape

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from flow_processor.service.schedule_views import RuleView, ScheduleDetail

_Command = TypeVar("_Command", bound=Callable[..., Any])

PAGE = 500


@click.group("schedules", cls=ListByDefault)
def command() -> None:
    """List the schedules (the default), look ahead, add one, switch one off and on, remove one.

    \b
    Example:
      octospool schedules
      octospool schedules add report --cron "30 6 * * MON" --timezone Europe/Berlin
    """


def rule_options(command: _Command) -> _Command:
    """The keys of a rule, passed by their names."""
    for name, kind, text in reversed(
        (
            ("--cron", str, "Five fields, or six with seconds first."),
            ("--every-seconds", float, "Seconds between two starts, without an end."),
            ("--at", str, "One start at this moment, such as 2026-12-24T18:00."),
            ("--interval", Length(), "With --repeat-count: time between two starts, such as 90s or 2h."),
            ("--repeat-count", int, "How many starts follow the first: 2 makes three runs."),
            ("--starts-at", str, "No start before this moment."),
            ("--ends-at", str, "No start after this moment."),
            ("--timezone", str, "Where cron and moments are read, such as Europe/Berlin."),
            ("--catchup", click.Choice(["none", "latest", "all"]), "Which missed slots are made up for."),
        )
    ):
        command = click.option(name, type=kind, help=text)(command)
    return command


@command.command("list")
@click.option("--flow", metavar="FLOW", help="Only those of this flow.")
@data_path_option
@json_option
def list_schedules(flow: str | None, data_path: Path | None, as_json: bool) -> None:
    """List the schedules of every origin, with their next and last run.

    \b
    Example:
      octospool schedules list --flow report
    """
    from flow_processor.cli.connect import looking_ahead

    settings = existing_settings(data_path)
    found = []
    with looking_ahead(settings) as spooler:
        cursor = None
        while True:
            page = spooler.schedules.page(flow=flow, limit=PAGE, cursor=cursor)
            found += page.schedules
            cursor = page.next_cursor
            if cursor is None:
                break
    if as_json:
        echo_json({"schedules": [one.model_dump(mode="json") for one in found]})
        return
    heads = ("id", "flow", "rule", "state", "next run", "last run", "origin", "name", "problem")
    rows = [
        (
            one.schedule_id,
            one.flow,
            _words(one),
            one.state.value,
            moment(one.next_run, settings.zone),
            moment(one.last_run, settings.zone) + (" (running)" if one.running else ""),
            one.origin.value,
            one.name or "",
            one.problem or "",
        )
        for one in found
    ]
    table(heads, rows, empty="there are no schedules")


@command.command("show")
@click.argument("schedule_id", metavar="ID")
@click.option("--next", "number", type=click.IntRange(0, PAGE), default=10, help="How far to look ahead.")
@data_path_option
@json_option
def show(schedule_id: str, number: int, data_path: Path | None, as_json: bool) -> None:
    """Show schedule ID and its next runs.

    \b
    Example:
      octospool schedules show 0e66e04bad3a --next 20
    """
    from flow_processor.cli.connect import looking_ahead

    settings = existing_settings(data_path)
    with looking_ahead(settings) as spooler:
        found = spooler.schedules.one(schedule_id, number=number)
    _tell(found, settings.zone, as_json=as_json)


@command.command("preview")
@rule_options
@click.option("--next", "number", type=click.IntRange(0, PAGE), default=10, help="How far to look ahead.")
@data_path_option
@json_option
def preview(number: int, data_path: Path | None, as_json: bool, **keys: Any) -> None:
    """Say when a rule would start a flow if it began now. Nothing is saved.

    \b
    Example:
      octospool schedules preview --cron "0 2 * * *" --timezone Europe/Berlin
    """
    from flow_processor.cli.connect import looking_ahead

    settings = existing_settings(data_path)
    with looking_ahead(settings) as spooler:
        found = spooler.schedules.preview(_given(keys), number=number)
    if as_json:
        echo_json(found.model_dump(mode="json"))
        return
    for slot in found.next:
        click.echo(moment(slot, settings.zone))
    if not found.next:
        say("it would never start anything: all its moments are past, or there are none")


@command.command("add")
@click.argument("flow")
@rule_options
@click.option("--name", help="What people call it.")
@click.option("--data", "-d", metavar="JSON|@FILE|@-", help="The __input__ of its runs.")
@params_options
@click.option("--inactive", is_flag=True, help="Switched off, until it is activated.")
@data_path_option
@json_option
def add(
    flow: str,
    name: str | None,
    data: str | None,
    pairs: tuple[str, ...],
    params: str | None,
    inactive: bool,
    data_path: Path | None,
    as_json: bool,
    **keys: Any,
) -> None:
    """Add a schedule to FLOW, by one of --cron, --every-seconds, --at, --repeat-count.

    \b
    Example:
      octospool schedules add report --at 2026-12-24T18:00 --param level=long
      octospool schedules add report --interval 10m --repeat-count 5
    """
    from flow_processor.cli.connect import changing

    settings = existing_settings(data_path)
    rule = {**_given(keys), **_given({"params": params_given(pairs, params)})}
    value = json_value(data, hint="--data")
    with changing(settings) as spooler:
        made = spooler.schedules.add(flow, rule, name=name, data=value, active=not inactive, by="cli")
    _tell(made, settings.zone, as_json=as_json)


@command.command("activate")
@click.argument("schedule_id", metavar="ID")
@data_path_option
def activate(schedule_id: str, data_path: Path | None) -> None:
    """Switch schedule ID on. Moments up to now are not made up for.

    \b
    Example:
      octospool schedules activate 0e66e04bad3a
    """
    from flow_processor.cli.connect import changing

    settings = existing_settings(data_path)
    with changing(settings) as spooler:
        found = spooler.schedules.activate(schedule_id)
    say(f"{found.flow}: next run {moment(found.next_run, settings.zone)}")


@command.command("deactivate")
@click.argument("schedule_id", metavar="ID")
@data_path_option
def deactivate(schedule_id: str, data_path: Path | None) -> None:
    """Switch schedule ID off: it never fires. A run under way goes on.

    \b
    Example:
      octospool schedules deactivate 0e66e04bad3a
    """
    from flow_processor.cli.connect import changing

    with changing(existing_settings(data_path)) as spooler:
        found = spooler.schedules.deactivate(schedule_id)
    say(f"{found.flow}: the schedule {found.schedule_id} is switched off")


@command.command("remove")
@click.argument("schedule_id", metavar="ID")
@data_path_option
def remove(schedule_id: str, data_path: Path | None) -> None:
    """Remove schedule ID. A run under way goes on.

    \b
    Example:
      octospool schedules remove 0e66e04bad3a
    """
    from flow_processor.cli.connect import changing

    with changing(existing_settings(data_path)) as spooler:
        spooler.schedules.remove(schedule_id)
    say(f"removed the schedule {schedule_id}")


def _given(keys: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def _tell(found: ScheduleDetail, zone: ZoneInfo, *, as_json: bool) -> None:
    if as_json:
        echo_json(found.model_dump(mode="json"))
        return
    facts = {
        "schedule": found.schedule_id,
        "flow": found.flow,
        "name": found.name,
        "rule": _words(found),
        "timezone": found.timezone,
        "state": found.state.value,
        "origin": found.origin.value,
        "problem": found.problem,
        "last run": moment(found.last_run, zone) if found.last_run else None,
    }
    for name, value in facts.items():
        if value:
            click.echo(f"{name:<10} {escape(value)}")
    for number, slot in enumerate(found.next):
        click.echo(f"{'' if number else 'next':<10} {moment(slot, zone)}")


def _words(rule: RuleView) -> str:
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
