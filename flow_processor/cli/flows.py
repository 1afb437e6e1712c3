"""`octospool flows`: what there is to run, and what runs by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flow_processor.cli.flow_edits import put, restore, versions
from flow_processor.cli.flow_stats import stats
from flow_processor.cli.options import ListByDefault, data_path_option, existing_settings, json_option
from flow_processor.cli.output import echo_json, moment, show_facts, table
from flow_processor.errors import Problem
from flow_processor.logs import escape

if TYPE_CHECKING:
    from flow_processor.service.flow_views import AddedFlow, FlowFileView
    from flow_processor.settings import Settings


@click.group("flows", cls=ListByDefault)
def command() -> None:
    """List flow files and schedules (the default); show one flow, how it has been doing, its versions; or change one.

    \b
    Example:
      octospool flows
      octospool flows show report
    """


@command.command("list")
@data_path_option
@json_option
def list_flows(data_path: Path | None, as_json: bool) -> None:
    """List the flow files, valid or not, and the schedules in force with their next run.

    \b
    Example:
      octospool flows list --json
    """
    from flow_processor.cli.connect import looking_ahead

    settings = existing_settings(data_path)
    with looking_ahead(settings) as spooler:
        files = spooler.flow_files()
        added = spooler.added_flows()
    if as_json:
        echo_json(
            {
                "files": [file.model_dump(mode="json") for file in files],
                "added": [flow.model_dump(mode="json") for flow in added],
            }
        )
        return
    _list_files(files, settings.flows_path)
    if added:
        click.echo("\nIn the scheduler:")
        _list_added(added, settings.zone)


def _list_files(files: Sequence[FlowFileView], flows_path: Path) -> None:
    rows = [
        (
            file.path,
            _state(file.valid, len(file.problems), last_good=file.last_good_in_force),
            _rule(file.cron, file.every_seconds),
            file.name or "",
        )
        for file in files
    ]
    empty = f"there are no flow files in {flows_path}"
    table(("flow", "state", "own schedule", "name"), rows, empty=empty)
    if any(file.problems for file in files):
        click.echo("\n'octospool check' tells what is wrong with the invalid ones.", err=True)


def _list_added(added: Sequence[AddedFlow], zone: tzinfo) -> None:
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


@command.command("show")
@click.argument("flow")
@click.option("--effective", is_flag=True, help="The file itself, with the defaults of its steps filled in.")
@data_path_option
@json_option
def show(flow: str, effective: bool, data_path: Path | None, as_json: bool) -> None:
    """Show FLOW: what it is for, when it runs, what it takes as parameters, what is wrong with it.

    \b
    Example:
      octospool flows show report --json
    """
    from flow_processor.cli.connect import reading
    from flow_processor.flow import name_below

    settings = existing_settings(data_path)
    path = name_below(flow, settings.flows_path)
    if effective:
        click.echo(_effective(settings, path), nl=False)
        return
    with reading(settings) as spooler:
        file = spooler.flow_file(path)
    if as_json:
        echo_json(file.model_dump(mode="json"))
        return
    facts = {
        "flow": file.path,
        "name": file.name,
        "description": file.description,
        "schedule": _rule(file.cron, file.every_seconds),
        "webhook": file.webhook and f"POST /hooks/{file.webhook}",
        "queue": file.queue,
        "files": file.files,
        "state": _state(file.valid, len(file.problems), last_good=file.last_good_in_force),
    }
    show_facts(facts, width=12)
    for problem in file.problems:
        click.echo(f"  {escape(str(Problem(**problem)))}")
    if file.params is not None and file.params["properties"]:
        click.echo("")
        table(("parameter", "type", "default", "takes", "for"), _param_rows(file.params), empty="")


def _effective(settings: Settings, path: str) -> str:
    from flow_processor.flow_files.defaults import effective_text
    from flow_processor.service.own_code import flow_library

    found = flow_library(settings).load(path)
    return effective_text(found.text, found.path, found.defaults)


def _param_rows(schema: dict[str, Any]) -> list[tuple[str, ...]]:
    from flow_processor.spec.param_schema import flow_file_words

    rows: list[tuple[str, ...]] = []
    for name, spec in schema["properties"].items():
        default = "(required)" if name in schema["required"] else json.dumps(spec.get("default"))
        words = flow_file_words(spec)
        kind, options = words.pop("type"), words.pop("options", None)
        bounds = [f"{key} {value}" for key, value in words.items()]
        takes = ", ".join(bounds) if options is None else " | ".join(options)
        rows.append((name, kind, default, takes, spec.get("description", "")))
    return rows


def _state(valid: bool, problems: int, *, last_good: bool) -> str:
    if last_good:
        return "broken; the last good version runs"
    return "valid" if valid else f"{problems} problem{'s' if problems != 1 else ''}"


def _rule(cron: str | None, every_seconds: float | None) -> str:
    if cron is not None:
        return f"cron {cron}"
    return "-" if every_seconds is None else f"every {every_seconds:g} s"


for verb in (stats, put, versions, restore):
    command.add_command(verb)
