"""Runs, their steps and their logs as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

import click

from flow_processor.cli.output import duration, moment, say, table
from flow_processor.logs import escape

if TYPE_CHECKING:
    from flow_processor.service.views import ErrorView, LogLine, RunDetail, RunSummary

_INDENT = " " * 21
"""As wide as a log line's time and level."""


def show_list(runs: Sequence[RunSummary], *, zone: tzinfo, empty: str) -> None:
    """A line for each run."""
    heads = ("run", "status", "accepted", "duration", "trigger", "flow", "reason")
    rows = [
        (
            run.run_id,
            run.status.value,
            moment(run.created_at, zone),
            duration(run.duration_seconds),
            run.trigger.value,
            run.flow,
            run.reason or "",
        )
        for run in runs
    ]
    table(heads, rows, empty=empty)


def show_run(run: RunDetail, *, zone: tzinfo) -> None:
    """A run's facts, then a line for each attempt of a step."""
    facts = {
        "run": run.run_id,
        "flow": run.flow,
        "status": run.status.value,
        "trigger": run.trigger.value,
        "accepted": moment(run.created_at, zone),
        "started": moment(run.started_at, zone),
        "ended": moment(run.ended_at, zone),
        "duration": duration(run.duration_seconds),
        "reason": _error(run.error) or run.reason,
        "at step": run.error.step if run.error else None,
    }
    for name, value in facts.items():
        if value:
            click.echo(f"{name:<9} {escape(value)}")
    click.echo("")
    rows = [
        (step.path, str(step.attempt), step.status.value, duration(step.duration_seconds), _error(step.error))
        for step in run.steps
    ]
    table(("step", "try", "status", "duration", "error"), rows, empty="no step has begun")
    if run.steps_total > len(run.steps):
        say(f"and {run.steps_total - len(run.steps)} more steps")


def log_line(line: LogLine, *, zone: tzinfo) -> str:
    """One message of a run's log. Its further lines are indented, so that none looks like a message of its own."""
    at = line.at.astimezone(zone).strftime("%H:%M:%S.%f")[:-3]
    step = f"{line.step}: " if line.step else ""
    first, *others = (step + line.message).split("\n")
    return "\n".join(
        [f"{at} {line.level.upper():<7} {escape(first)}", *(_INDENT + escape(one) for one in others)]
    )


def _error(error: ErrorView | None) -> str:
    return f"{error.message} ({error.code})" if error else ""
