"""`octospool runs list`: which runs there were."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flow_processor.cli.options import (
    Length,
    Several,
    Since,
    check_bounds,
    data_path_option,
    existing_settings,
    in_zone,
    joined,
    json_option,
)
from flow_processor.cli.output import echo_json, say
from flow_processor.cli.run_text import show_list
from flow_processor.cli.values import typed_pairs
from flow_processor.run import ALL_RUNS, RunFilter, RunStatus, Trigger

if TYPE_CHECKING:
    from flow_processor.service.views import RunSummary
    from flow_processor.settings import Settings

PAGE = 200
"""Runs asked for at once."""


@click.command("list")
@click.option(
    "--flow", help="Of this flow (.yml may be left out), of a folder (sub/), or of a pattern ('sub/r*')."
)
@click.option(
    "--status", multiple=True, type=Several(RunStatus), callback=joined, help="Repeatable, or with commas."
)
@click.option(
    "--trigger", multiple=True, type=Several(Trigger), callback=joined, help="Repeatable, or with commas."
)
@click.option("--by", metavar="NAME", help="Caused by this caller, webhook or schedule.")
@click.option("--schedule", metavar="ID", help="Started by this schedule.")
@click.option("--queue", metavar="NAME", help="Started by items of this queue.")
@click.option("--item", metavar="ID", help="Started by this item of a queue.")
@click.option("--parent", metavar="ID", help="Part of this run (flow_loop with spread).")
@click.option("--retry-of", metavar="ID", help="Tries of this run.")
@click.option("--since", type=Since(), help="Accepted since: 90s, 30m, 2h, 7d, or an ISO time.")
@click.option("--until", type=Since(), help="Accepted before: likewise.")
@click.option("--started-since", type=Since(), help="Begun since: likewise.")
@click.option("--started-until", type=Since(), help="Begun before: likewise.")
@click.option("--ended-since", type=Since(), help="Ended since: likewise.")
@click.option("--ended-until", type=Since(), help="Ended before: likewise.")
@click.option("--longer-than", type=Length(), help="That took longer than 90, 90s, 30m, 2h.")
@click.option("--shorter-than", type=Length(), help="That took less.")
@click.option(
    "--error",
    multiple=True,
    metavar="CODE",
    type=Several(),
    callback=joined,
    help="Ended with this error; likewise.",
)
@click.option("--error-text", metavar="TEXT", help="Whose error says this.")
@click.option("--param", "-p", "pairs", multiple=True, metavar="K=V", help="With this parameter; repeatable.")
@click.option("--oldest", "oldest_first", is_flag=True, help="The oldest first.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 100_000), help="At most so many."
)
@data_path_option
@json_option
def list_runs(
    limit: int, data_path: Path | None, as_json: bool, pairs: tuple[str, ...], **given: Any
) -> None:
    """List runs, newest first.

    \b
    Example:
      octospool runs list --status failed --since 2h --json
      octospool runs list --flow 'reports/' --longer-than 10m --param level=long
    """
    from flow_processor.cli.connect import reading

    settings = existing_settings(data_path)
    wanted = _wanted(settings, {**given, "params": typed_pairs(pairs, hint="--param") or {}})
    found: list[RunSummary] = []
    cursor: str | None = None
    with reading(settings) as spooler:
        while len(found) < limit:
            page = spooler.runs(wanted, limit=min(PAGE, limit - len(found)), cursor=cursor)
            found += page.runs
            cursor = page.next_cursor
            if cursor is None:
                break
    if as_json:
        echo_json({"runs": [run.model_dump(mode="json") for run in found]})
        return
    show_list(found, zone=settings.zone, empty=_empty(settings, wanted))
    if cursor is not None:
        say(f"there are more; --limit {limit * 5} shows them")


def _wanted(settings: Settings, given: dict[str, Any]) -> RunFilter:
    from flow_processor.flow import name_below
    from flow_processor.flow_files import FlowLibrary

    for name, value in given.items():
        if isinstance(value, datetime):
            given[name] = in_zone(value, settings.zone)
    check_bounds(given)
    wanted = RunFilter(**given)
    if wanted.flow and wanted.flow_pattern is None:
        flow = FlowLibrary(settings.flows_path).name_of(name_below(wanted.flow, settings.flows_path))
        return RunFilter(**{**given, "flow": flow})
    return wanted


def _empty(settings: Settings, wanted: RunFilter) -> str:
    """What is said where nothing was found."""
    if wanted == ALL_RUNS:
        return "no runs yet"
    text = "no such runs" if wanted != RunFilter(flow=wanted.flow) else f"no runs of {wanted.flow}"
    if wanted.flow and wanted.flow_pattern is None and not (settings.flows_path / wanted.flow).is_file():
        text += f"; there is no flow {wanted.flow} either"
    return text
