"""`octospool locks`: which flows are running, as their lock files say."""

from __future__ import annotations

from pathlib import Path

import click

from flow_processor.cli.options import ListByDefault, data_path_option, existing_settings, json_option
from flow_processor.cli.output import echo_json, moment, say, table
from flow_processor.errors import InvalidRequest


@click.group("locks", cls=ListByDefault)
def command() -> None:
    """List the locks that are held (the default), or remove some.

    \b
    Example:
      octospool locks
      octospool locks remove sub/flow1
    """


@command.command("list")
@data_path_option
@json_option
def list_locks(data_path: Path | None, as_json: bool) -> None:
    """List the locks: flow, since when, which run holds it.

    \b
    Example:
      octospool locks list --json
    """
    from flow_processor.cli.connect import reading

    settings = existing_settings(data_path)
    with reading(settings) as spooler:
        held = spooler.locks()
    if as_json:
        echo_json({"locks": [lock.model_dump(mode="json") for lock in held]})
        return
    rows = [(lock.flow, moment(lock.timestamp, settings.zone), lock.run_id) for lock in held]
    table(("flow", "since", "run"), rows, empty="no locks are held")


@command.command("remove")
@click.argument("flow", required=False)
@click.option("--all", "every", is_flag=True, help="Remove all locks.")
@data_path_option
def remove(flow: str | None, every: bool, data_path: Path | None) -> None:
    """Remove the lock of FLOW, or all. The run that holds it goes on; another one may start beside it.

    \b
    Example:
      octospool locks remove sub/flow1.yml
    """
    from flow_processor.cli.connect import reading

    if (flow is None) != every:
        raise InvalidRequest("give either a FLOW or --all")
    with reading(existing_settings(data_path)) as spooler:
        removed = spooler.remove_locks() if flow is None else [spooler.remove_lock(flow)]
    for lock in removed:
        say(f"removed the lock of {lock.flow}; run {lock.run_id} goes on")
    if not removed:
        say("no locks are held")
