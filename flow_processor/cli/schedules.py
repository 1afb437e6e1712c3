"""`octospool schedules`: when flows run by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flow_processor.cli.options import (
    ListByDefault,
    data_path_option,
    existing_settings,
    json_option,
    params_options,
)
from flow_processor.cli.output import echo_json, moment, say, table
from flow_processor.cli.schedule_rules import given, rule_options, tell, when, words
from flow_processor.cli.values import json_value, params_given

PAGE = 500


@click.group("schedules", cls=ListByDefault)
def command() -> None:
    """List the schedules (the default), look ahead; add, change, switch off and on, remove one.

    \b
    Example:
      octospool schedules
      octospool schedules add report --cron "30 6 * * MON" --timezone Europe/Berlin
    """


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
    zone = settings.zone.key
    heads = (
        "id",
        "flow",
        "rule",
        "state",
        f"next run ({zone})",
        f"last run ({zone})",
        "origin",
        "name",
        "problem",
    )
    rows = [
        (
            one.schedule_id,
            one.flow,
            words(one),
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
    tell(found, as_json=as_json)


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
        found = spooler.schedules.preview(given(keys), number=number)
    if as_json:
        echo_json(found.model_dump(mode="json"))
        return
    for slot in found.next:
        click.echo(when(slot, found.timezone))
    if found.problem is not None:
        say(f"it would be refused: {found.problem}")


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
    rule = {**given(keys), **given({"params": params_given(pairs, params)})}
    value = json_value(data, hint="--data")
    with changing(settings) as spooler:
        made = spooler.schedules.add(flow, rule, name=name, data=value, active=not inactive, by="cli")
    tell(made, as_json=as_json)


@command.command("change")
@click.argument("schedule_id", metavar="ID")
@rule_options
@click.option("--name", help="What people call it.")
@click.option("--data", "-d", metavar="JSON|@FILE|@-", help="The __input__ of its runs.")
@params_options
@data_path_option
@json_option
def change(
    schedule_id: str,
    name: str | None,
    data: str | None,
    pairs: tuple[str, ...],
    params: str | None,
    data_path: Path | None,
    as_json: bool,
    **keys: Any,
) -> None:
    """Change what is given of schedule ID; all else stays. Other moments count from now.

    \b
    Example:
      octospool schedules change 0e66e04bad3a --cron "0 7 * * MON" --catchup none
    """
    from flow_processor.cli.connect import changing

    settings = existing_settings(data_path)
    rule = {**given(keys), **given({"params": params_given(pairs, params)})}
    others = given({"name": name})
    if data is not None:
        others["data"] = json_value(data, hint="--data")
    with changing(settings) as spooler:
        found = spooler.schedules.change(schedule_id, rule, others)
    tell(found, as_json=as_json)


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
    say(f"{found.flow}: next run {when(found.next_run, found.timezone)}")


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
