"""`octospool flows stats`: how a flow has been doing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flow_processor.cli.options import (
    Since,
    check_bounds,
    data_path_option,
    existing_settings,
    in_zone,
    json_option,
)
from flow_processor.cli.output import echo_json, moment, show_facts

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from flow_processor.service.flow_stats import FlowStats
    from flow_processor.service.views import RunSummary


@click.command("stats")
@click.argument("flow")
@click.option("--since", type=Since(), help="Runs accepted since: 2h, 7d, or an ISO time.")
@click.option("--until", type=Since(), help="Runs accepted before: likewise.")
@data_path_option
@json_option
def stats(
    flow: str, since: datetime | None, until: datetime | None, data_path: Path | None, as_json: bool
) -> None:
    """Show how FLOW has been doing: runs by status, durations, errors, the last runs and the next one.

    \b
    Example:
      octospool flows stats report --since 30d
    """
    from flow_processor.cli.connect import looking_ahead
    from flow_processor.flow import name_below

    settings = existing_settings(data_path)
    bounds = {"since": in_zone(since, settings.zone), "until": in_zone(until, settings.zone)}
    check_bounds(bounds)
    path = name_below(flow, settings.flows_path)
    with looking_ahead(settings) as spooler:
        found = spooler.flow_stats(path, **bounds)
    if as_json:
        echo_json(found.model_dump(mode="json"))
        return
    show_facts(_facts(found, settings.zone), width=14)


def _facts(found: FlowStats, zone: ZoneInfo) -> dict[str, str]:
    counts = ", ".join(f"{count} {status.value}" for status, count in found.by_status.items())
    took = found.duration_seconds
    times = [] if took is None else [f"{name} {seconds:g} s" for name, seconds in dict(took).items()]
    return {
        "flow": found.flow,
        "runs": f"{found.runs}{'' if found.complete else ' (the newest; there are more)'}",
        "by status": counts,
        "success rate": "" if found.success_rate is None else f"{found.success_rate:.2%}",
        "took": ", ".join(times),
        "waited": "" if found.average_wait_seconds is None else f"average {found.average_wait_seconds:g} s",
        "errors": ", ".join(f"{error.runs} {error.code}" for error in found.errors),
        "failed in": ", ".join(f"{step.runs} {step.step}" for step in found.failing_steps),
        "last run": _run(found.last_run, zone),
        "last success": _run(found.last_success, zone),
        "last failure": _run(found.last_failure, zone),
        "next run": moment(found.next_run, zone),
    }


def _run(run: RunSummary | None, zone: ZoneInfo) -> str:
    if run is None:
        return "-"
    reason = f" ({run.reason})" if run.reason else ""
    return f"{moment(run.created_at, zone)}  {run.status.value}  {run.run_id}{reason}"
