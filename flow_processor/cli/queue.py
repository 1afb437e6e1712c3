"""`octospool queue`: what waits to start flows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flow_processor.cli.options import ListByDefault, data_path_option, existing_settings, json_option
from flow_processor.cli.output import duration, echo_json, moment, say, show_facts, table
from flow_processor.cli.queue_items import NO_DAEMON, delete, failed, purge, queue_argument, retry
from flow_processor.cli.values import json_value

if TYPE_CHECKING:
    from flow_processor.service.queue_views import ItemsPut, ListenerView, QueueDetail, QueueView
    from flow_processor.settings import Settings


@click.group("queue", cls=ListByDefault)
def command() -> None:
    """List the queues (the default); put items there, look at failed ones and decide on them, pause.

    \b
    Example:
      octospool queue
      octospool queue put orders '{"id": 7}'
    """


@command.command("list")
@data_path_option
@json_option
def list_queues(data_path: Path | None, as_json: bool) -> None:
    """List the queues: how many items wait, are in work, have failed, and who listens. Also: `queue ls`.

    \b
    Example:
      octospool queue list
    """
    from flow_processor.cli.connect import reading

    settings = existing_settings(data_path)
    with reading(settings) as spooler:
        found = spooler.queues.all()
    if as_json:
        echo_json({"queues": [one.model_dump(mode="json") for one in found]})
        return
    heads = ("queue", "waiting", "oldest", "in work", "failed", "per minute", "listeners", "state")
    rows = [
        (
            one.queue,
            str(one.depth),
            duration(one.oldest_seconds),
            str(one.in_work),
            str(one.failed),
            str(one.per_minute),
            ", ".join(one.listeners) or "(none)",
            _state(one),
        )
        for one in found
    ]
    table(heads, rows, empty="there are no queues; a flow with `on: {queue: NAME}` makes one")


command.add_command(list_queues, "ls")


@command.command("show")
@queue_argument
@data_path_option
@json_option
def show(queue: str, data_path: Path | None, as_json: bool) -> None:
    """Show QUEUE: its limits, and what each of its listeners has of it.

    \b
    Example:
      octospool queue show orders
    """
    from flow_processor.cli.connect import reading

    settings = existing_settings(data_path)
    with reading(settings) as spooler:
        found = spooler.queues.one(queue)
    if as_json:
        echo_json(found.model_dump(mode="json"))
        return
    oldest = f", the oldest for {duration(found.oldest_seconds)}" if found.oldest_seconds is not None else ""
    facts = {
        "queue": found.queue,
        "state": _state(found),
        "paused": found.paused and f"by {found.paused_by} at {moment(found.paused_at, settings.zone)}",
        "waiting": f"{found.depth} of at most {found.max_items}{oldest}",
        "unsent": found.unsent and f"{found.unsent} results of steps still to be put here",
        "in work": str(found.in_work),
        "failed": str(found.failed),
        "per minute": str(found.per_minute),
        "rate": found.rate_per_second and f"at most {found.rate_per_second:g} a second for each listener",
        "prefetch": f"{found.prefetch} items for each listener"
        if found.prefetch
        else "as quickly as items end",
        "largest": f"{found.max_item_bytes} bytes",
    }
    show_facts(facts, width=12)
    for problem in found.problems:
        say(f"problem: {problem}")
    for one in found.listening:
        if one.last_good_in_force:
            say(
                f"{one.flow} is wrong as it lies there, and the version from before counts: octospool check {one.flow}"
            )
    click.echo("")
    rows = [
        (one.flow, str(one.in_work), _again(one, settings), str(one.failed), str(one.attempts))
        for one in found.listening
    ]
    empty = f"no flow listens: its items wait until one has `on: {{queue: {found.queue}}}`"
    table(("listener", "in work", "tried again", "failed", "attempts"), rows, empty=empty)


@command.command("put")
@queue_argument
@click.argument("values", metavar="VALUE...", nargs=-1, required=True)
@click.option("--each", is_flag=True, help="Each value is a list, and each element of it an item.")
@click.option("--priority", type=click.IntRange(0, 9), default=0, help="9 comes first, 0 (the default) last.")
@click.option(
    "--key", metavar="TEXT", help="Stands for these items: put again with it, they start nothing anew."
)
@data_path_option
@json_option
def put(
    queue: str,
    values: tuple[str, ...],
    each: bool,
    priority: int,
    key: str | None,
    data_path: Path | None,
    as_json: bool,
) -> None:
    """Put items on QUEUE: each VALUE is one, as JSON, or @FILE, or @- for what is piped in. Prints their ids; they are
    safely kept then.

    \b
    Example:
      octospool queue put orders '{"id": 7}' --priority 5
      octospool queue put orders @order.json
      generate | octospool queue put orders @- --each --key import-2026-11-21
    """
    from flow_processor.cli.connect import reading
    from flow_processor.cli.daemon import Daemon

    settings = existing_settings(data_path)
    of = f" of {len(values)}" if len(values) > 1 else ""
    found = [json_value(value, hint=f"VALUE {number}{of}") for number, value in enumerate(values, start=1)]
    if each:
        found = _elements(found)
    if not found:
        say("the list is empty: nothing was put")
        return
    with reading(settings) as spooler:
        made = spooler.queues.put(queue, found, priority=priority, key=key)
        is_served = isinstance(spooler, Daemon)
        near = [] if made.listeners else [one.queue for one in spooler.queues.all() if one.listeners]
    if as_json:
        echo_json(made.model_dump(mode="json"))
    else:
        for item_id in made.ids:
            click.echo(item_id)
    _tell_when(made, is_served=is_served, others=near)


@command.command("pause")
@queue_argument
@data_path_option
def pause(queue: str, data_path: Path | None) -> None:
    """Let no more items of QUEUE begin, also after a restart. What is in work goes on; items are still taken.

    \b
    Example:
      octospool queue pause orders
    """
    found = _set_paused(queue, True, data_path)
    say(
        f"queue {found.queue} is paused (by {found.paused_by}); {found.depth} wait, {found.in_work} in work go on"
    )


@command.command("resume")
@queue_argument
@data_path_option
def resume(queue: str, data_path: Path | None) -> None:
    """Let the items of QUEUE begin again.

    \b
    Example:
      octospool queue resume orders
    """
    found = _set_paused(queue, False, data_path)
    say(f"queue {found.queue} goes on; {found.depth} wait")


def _set_paused(queue: str, paused: bool, data_path: Path | None) -> QueueDetail:
    from flow_processor.cli.connect import changing

    with changing(existing_settings(data_path)) as spooler:
        return spooler.queues.set_paused(queue, paused, by="cli")


def _elements(values: list[Any]) -> list[Any]:
    for value in values:
        if not isinstance(value, list):
            raise click.BadParameter("with --each a value must be a JSON list", param_hint="VALUE")
    return [element for value in values for element in value]


def _tell_when(made: ItemsPut, *, is_served: bool, others: list[str]) -> None:
    """Say why the items do not begin at once, where they do not."""
    if not made.listeners:
        there_are = f"; queues with listeners: {', '.join(others)}" if others else ""
        say(f"no flow listens to '{made.queue}' yet: the items wait{there_are}")
    elif made.paused:
        say(f"the queue is paused: octospool queue resume {made.queue}")
    elif not is_served:
        say(NO_DAEMON)


def _again(one: ListenerView, settings: Settings) -> str:
    if one.next_at is None:
        return "-"
    return f"{one.again}, the first at {moment(one.next_at, settings.zone)}"


def _state(one: QueueView) -> str:
    if one.paused:
        return f"paused by {one.paused_by}"
    return "; ".join(one.problems) or "ok"


for verb in (failed, retry, delete, purge):
    command.add_command(verb)
