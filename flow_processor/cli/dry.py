"""`octospool run --dry`: what a run would do, as far as that can be told without doing it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from flow_processor.cli.output import say
from flow_processor.errors import OctospoolError
from flow_processor.logs import escape

if TYPE_CHECKING:
    from flow_processor.secrets.redaction import Redactor
    from flow_processor.settings import Settings

MAX_LINES = 30
"""Of a value that is shown; more are counted."""


def dry_run(settings: Settings, path: str, *, payload: Any, params: Mapping[str, Any]) -> bool:
    """Print what the flow's steps would do; False if one of them would fail. Nothing is called, written or recorded.

    Raises FlowNotFound, SpecError, InvalidRequest.
    """
    from flow_processor.rehearsal import Rehearsal, rehearse
    from flow_processor.service.own_code import flow_library
    from flow_processor.spec.params import clean_params

    bundle = flow_library(settings).bundle(path)
    rehearsal = Rehearsal(
        flow=bundle.path,
        flows=bundle.flows,
        payload=payload,
        params=clean_params(bundle.spec.params, params),
        timestamp=datetime.now(settings.zone).strftime("%Y%m%d%H%M%S"),
        api_url=settings.api_url,
        templates_path=str(settings.templates_path),
        data_path=str(settings.data_path),
        memory_mb=settings.worker_memory_mb,
    )
    steps = _redactor(settings).value(rehearse(rehearsal, settings.environment or os.environ))
    for line in _lines(steps):
        click.echo(escape(line))
    failing = sum(1 for step in _all(steps) if step["problem"] is not None)
    verdict = (
        "no step fails by what is known"
        if not failing
        else f"{failing} step{'s' if failing != 1 else ''} would fail"
    )
    say(f"dry run of {bundle.path}: {verdict}; nothing was called, written or recorded")
    return not failing


def _redactor(settings: Settings) -> Redactor:
    """Knows the values of secrets.yml; those of Vault are not fetched, so nothing here can hold them."""
    from flow_processor.secrets.redaction import Redactor
    from flow_processor.service.secret_store import secret_store

    redactor = Redactor()
    redactor.add(settings.api_token)
    store = secret_store(settings, asks_vault=False)
    for name in store.names():
        try:
            redactor.add_secret(store.get(name))
        except OctospoolError:  # of Vault, or of a variable that is not set
            continue
    return redactor


def _all(steps: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        yield from _all(step["inner"])


def _lines(steps: Sequence[dict[str, Any]], indent: str = "") -> Iterator[str]:
    inside = indent and indent + "  "
    for step in steps:
        if step["title"]:
            yield f"{indent}{step['title']}:"
            inside = indent + "  "  # and those after it, up to the next title
        when = "" if step["when"] is None else f"  (when {step['when']})"
        skipped = "  skipped" if step["when"] == "does not hold" else ""
        yield f"{inside}{step['name']}  {step['type']}{skipped}{when}"
        if isinstance(step["options"], dict):
            yield from _value(step["options"], f"{inside}    ")
        if step["sends"] is not None:
            yield f"{inside}  would put: {step['sends']}"
        for remark in step["remarks"]:
            yield f"{inside}  remark: {remark}"
        if step["problem"] is not None:
            yield f"{inside}  would fail: {step['problem']}"
        elif step["has_result"]:
            yield from _value({"result": step["result"]}, f"{inside}  ")
        yield from _lines(step["inner"], inside + "  ")


def _value(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    """`key: value`, a text of several lines as it stands."""
    from flow_processor.documents import dump_yaml

    for key, value in values.items():
        is_block = isinstance(value, str) and "\n" in value
        text = f"{key}: |\n{value}" if is_block else dump_yaml({key: value})
        first, *lines = text.rstrip("\n").splitlines()
        yield indent + first
        for line in lines[:MAX_LINES]:
            yield indent + ("  " if is_block else "") + line
        if len(lines) > MAX_LINES:
            yield f"{indent}  … {len(lines) - MAX_LINES} lines more"
