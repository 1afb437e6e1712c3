"""Runs, their steps and their logs as text for people."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

import click

from flow_processor.cli.output import duration, moment, say, show_facts, table
from flow_processor.journal import Event
from flow_processor.logs import escape

if TYPE_CHECKING:
    from flow_processor.service.views import ErrorView, LogLine, RunDetail, RunSummary, WaitView

_USUAL = (Event.DISPATCHED, Event.PARKED, Event.ENDED)
"""What happens to most runs, and need not be told where nothing else has happened."""

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


def _params(values: dict[str, Any] | None) -> str | None:
    """The values as `--param` takes them."""
    if not values:
        return None
    shown = (
        f"{name}={value}" if isinstance(value, str) else f"{name}:={json.dumps(value, ensure_ascii=False)}"
        for name, value in values.items()
        if value is not None
    )
    return "  ".join(shown)


def show_run(run: RunDetail, *, zone: tzinfo, first: str = "") -> None:
    """A run's facts, then a line for each attempt of a step. `first`: what must be done before it can be told."""
    show_facts(_facts(run, zone), width=10)
    for wait in run.waiting:
        for line in wait_lines(run.run_id, wait, zone=zone, first=first):
            click.echo(escape(line))
    click.echo("")
    if any(event.event not in _USUAL for event in run.events):
        for event in run.events:
            by = f" by {event.by}" if event.by else ""
            click.echo(f"{moment(event.at, zone)}  {escape(event.text + by)}")
        click.echo("")
    _show_steps(run)


def _facts(run: RunDetail, zone: tzinfo) -> dict[str, str | None]:
    """What is known of a run as a whole; what is empty or None is not told."""
    facts = {
        "run": run.run_id,
        "flow": run.flow,
        "status": run.status.value,
        "trigger": run.trigger.value + (f", by {run.by}" if run.by not in ("", run.trigger.value) else ""),
        "params": _params(run.params),
        "accepted": moment(run.created_at, zone),
        "started": moment(run.started_at, zone),
        "ended": moment(run.ended_at, zone),
        "duration": duration(run.duration_seconds),
        "reason": _error(run.error) or run.reason,
        "at step": run.error.step if run.error else None,
    }
    facts["wakes"] = moment(run.wake_at, zone) if run.wake_at else None
    facts["attempt"] = f"{run.attempt}; tries {run.retry_of} again" if run.retry_of else None
    if run.parent:
        element = f", element {run.parent_index}" if run.parent_index else ""
        facts["part of"] = f"{run.parent}, step {run.parent_path}{element}"
    if run.children:
        counts = ", ".join(f"{count} {status.value}" for status, count in run.children.items())
        facts["runs in it"] = f"{counts}; octospool runs list --parent {run.run_id}"
    facts["retried by"] = ", ".join(run.retried_by)
    return facts


def _show_steps(run: RunDetail) -> None:
    rows = [
        (
            step.path,
            str(step.attempt),
            f"{step.status.value}{' (kept)' if step.kept else ''}",
            duration(step.duration_seconds),
            _error(step.error),
        )
        for step in run.steps
    ]
    empty = "no such step" if run.steps_by_status else "no step has begun"
    table(("step", "try", "status", "duration", "error"), rows, empty=empty)
    for step in run.steps:
        if step.sent is not None:
            number = {None: "its result", 1: "1 item"}.get(step.sent.items, f"{step.sent.items} items")
            click.echo(escape(f"{step.path}: {number} to the queue {step.sent.queue}"))
        if step.result is not None:
            click.echo(escape(f"{step.path}: {json.dumps(step.result, ensure_ascii=False)}"))
    if run.steps_total > len(run.steps):
        counts = ", ".join(f"{count} {status.value}" for status, count in run.steps_by_status.items())
        say(f"and {run.steps_total - len(run.steps)} more steps ({counts}); --failed and --path show fewer")


def wait_lines(run_id: str, wait: WaitView, *, zone: tzinfo, first: str = "") -> list[str]:
    """What a run waits for, and the command that ends it; `first` is what must be done before that."""
    until = "" if wait.until is None else f" until {moment(wait.until, zone)}"
    if wait.kind == "signal":
        return [
            f"waits for signal '{wait.signal}'{until} (step {wait.path})",
            f"  {first}send it: octospool runs signal {run_id} {shlex.quote(wait.signal or '')}",
        ]
    if wait.kind == "children":
        return [f"waits for the runs that are part of it (step {wait.path})"]
    if wait.kind != "approval":
        return [f"waits{until} (step {wait.path})"]
    fields = "".join(
        f" --field {shlex.quote(name)}=…" for name, field in wait.form.items() if field.get("required")
    )
    lines = [f"waits for an answer{until} (step {wait.path}): {wait.prompt}"]
    for name, field in wait.form.items():
        what = f", one of {', '.join(field['options'])}" if field.get("options") else ""
        need = "" if field.get("required") else _if_left_out(field)
        about = f": {field['description']}" if field.get("description") else ""
        lines.append(f"  field {name} ({field['type']}{what}{need}){about}")
    if wait.default is not None:
        lines.append(f"  if nobody answers: {wait.default}")
    answers = "|".join(wait.answers)
    lines.append(
        f"  {first}answer it: octospool runs answer {run_id} {answers}{fields} --step {shlex.quote(wait.path)}"
    )
    return lines


def _if_left_out(field: dict[str, Any]) -> str:
    if field.get("default") is None:
        return ", may be left out"
    return f", default {json.dumps(field['default'], ensure_ascii=False)}"


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
