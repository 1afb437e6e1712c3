"""`octospool flows`: what there is to run, and what runs by itself."""

from __future__ import annotations

from pathlib import Path

import click

from flow_processor.cli.options import data_path_option, existing_settings, json_option
from flow_processor.cli.output import echo_json, moment, table


@click.command("flows")
@data_path_option
@json_option
def command(data_path: Path | None, as_json: bool) -> None:
    """List the flow files, valid or not, and the schedules in force with their next run.

    \b
    Example:
      octospool flows --json
    """
    from flow_processor.cli.connect import reading
    from flow_processor.service import Service

    settings = existing_settings(data_path)
    with reading(settings) as spooler:
        files = spooler.flow_files()
        if isinstance(spooler, Service):
            spooler.scheduler.load()  # what the store remembers; nothing is fired
        added = spooler.added_flows()
    if as_json:
        echo_json(
            {
                "files": [file.model_dump(mode="json") for file in files],
                "added": [flow.model_dump(mode="json") for flow in added],
            }
        )
        return
    zone = settings.zone
    table(
        ("flow", "state", "own schedule", "name"),
        [
            (
                file.path,
                _state(file.valid, len(file.problems), last_good=file.last_good_in_force),
                _rule(file.cron, file.every_seconds),
                file.name or "",
            )
            for file in files
        ],
        empty=f"there are no flow files in {settings.flows_path}",
    )
    if any(file.problems for file in files):
        click.echo("\n'octospool check' tells what is wrong with the invalid ones.", err=True)
    if not added:
        return
    click.echo("\nIn the scheduler:")
    heads = ("flow", "rule", "next run", "last run", "id", "problem")
    rows = [
        (
            flow.path,
            _rule(flow.cron, flow.every_seconds),
            moment(flow.next_run, zone),
            moment(flow.last_run, zone) + (" (running)" if flow.running else ""),
            flow.flow_id,
            flow.problem or "",
        )
        for flow in added
    ]
    table(heads, rows, empty="")


def _state(valid: bool, problems: int, *, last_good: bool) -> str:
    if last_good:
        return "broken; the last good version runs"
    return "valid" if valid else f"{problems} problem{'s' if problems != 1 else ''}"


def _rule(cron: str | None, every_seconds: float | None) -> str:
    if cron is not None:
        return f"cron {cron}"
    return "-" if every_seconds is None else f"every {every_seconds:g} s"
