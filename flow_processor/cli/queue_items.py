"""`octospool queue failed|retry|delete|purge`: what a person does with items that failed, or that nobody wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flow_processor.cli.options import data_path_option, existing_settings, json_option
from flow_processor.cli.output import echo_json, moment, say, table
from flow_processor.errors import InvalidRequest
from flow_processor.queues.backend import Purged

if TYPE_CHECKING:
    from flow_processor.cli.daemon_queues import QueueCalls
    from flow_processor.service.queue_verbs import QueueVerbs

_Command = TypeVar("_Command", bound=Callable[..., Any])

PAGE = 500
NO_DAEMON = "no daemon runs here: the items begin once there is one (octospool serve)"


def _checked(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    from flow_processor.service.queue_verbs import check_queue_name

    check_queue_name(value)
    return value


def queue_argument(command: _Command) -> _Command:
    """`QUEUE`: a name that a queue can have. Raises InvalidRequest."""
    return click.argument("queue", callback=_checked)(command)


@click.command("failed")
@queue_argument
@click.argument("item_id", metavar="[ITEM]", required=False)
@click.option("--limit", type=click.IntRange(1, PAGE), default=50, help="How many to list.")
@data_path_option
@json_option
def failed(queue: str, item_id: str | None, limit: int, data_path: Path | None, as_json: bool) -> None:
    """List the failed items of QUEUE and why, the oldest first; or show ITEM with what it holds.

    \b
    Example:
      octospool queue failed orders
    """
    from flow_processor.cli.connect import reading

    settings = existing_settings(data_path)
    with reading(settings) as spooler:
        if item_id is not None:
            echo_json(spooler.queues.failed_item(queue, item_id).model_dump(mode="json"))
            return
        page = spooler.queues.failed(queue, limit=limit)
    if as_json:
        echo_json(page.model_dump(mode="json"))
        return
    heads = ("item", f"failed at ({settings.zone.key})", "attempts", "name", "flow", "last run", "why")
    rows = [
        (
            one.id,
            moment(one.failed_at, settings.zone),
            str(one.attempts),
            one.name or "",
            reason.flow or "-",
            reason.run_id or "-",
            f"{reason.code}: {reason.message}",
        )
        for one in page.items
        for reason in one.reasons
    ]
    table(heads, rows, empty=f"nothing has failed in the queue {queue}")
    if page.next_cursor is not None:
        say(f"there are more; --limit shows up to {PAGE}")


def _items_arguments(command: _Command) -> _Command:
    """QUEUE, and ITEMs of it or `--all`."""
    every = click.option("--all", "every", is_flag=True, help="All failed items of the queue.")
    items = click.argument("items", metavar="ITEM...", nargs=-1)
    return queue_argument(items(every(command)))


@click.command("retry")
@_items_arguments
@data_path_option
def retry(queue: str, items: tuple[str, ...], every: bool, data_path: Path | None) -> None:
    """Begin again with failed ITEMs of QUEUE, for the flows that have given them up.

    \b
    Example:
      octospool queue retry orders --all
    """
    from flow_processor.cli.connect import changing
    from flow_processor.cli.daemon import Daemon

    with changing(existing_settings(data_path)) as spooler:
        is_served = isinstance(spooler, Daemon)
        chosen = _chosen(spooler.queues, queue, items, every=every)
        for item_id in chosen:
            spooler.queues.retry(queue, item_id, by="cli")
            say(f"{'begun' if is_served else 'in line'} again: {item_id}")
    if chosen and not is_served:
        say(NO_DAEMON)


@click.command("delete")
@_items_arguments
@data_path_option
def delete(queue: str, items: tuple[str, ...], every: bool, data_path: Path | None) -> None:
    """Delete failed ITEMs of QUEUE. Their runs stay in the history.

    \b
    Example:
      octospool queue delete orders 20261121T074006123-k7x2mtqa
    """
    from flow_processor.cli.connect import changing

    with changing(existing_settings(data_path)) as spooler:
        for item_id in _chosen(spooler.queues, queue, items, every=every):
            spooler.queues.delete(queue, item_id, by="cli")
            say(f"deleted: {item_id}")


@click.command("purge")
@queue_argument
@click.option(
    "--state",
    type=click.Choice([one.value for one in Purged]),
    required=True,
    help="Those that no flow has yet, those that were given up, or those that are kept to be looked at.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@data_path_option
def purge(queue: str, state: str, yes: bool, data_path: Path | None) -> None:
    """Delete all items of QUEUE that stand so. What is in work is never touched.

    \b
    Example:
      octospool queue purge orders --state waiting
    """
    from flow_processor.cli.connect import changing

    with changing(existing_settings(data_path)) as spooler:
        found = spooler.queues.one(queue)
        count = {"waiting": f"{found.depth} ", "failed": f"{found.failed} "}.get(state, "")
        if not yes:
            click.confirm(f"Delete the {count}items of '{queue}' that are {state}?", abort=True, err=True)
        purged = spooler.queues.purge(queue, Purged(state), by="cli").purged
    say(f"deleted {purged} item{'s' if purged != 1 else ''}")


def _chosen(
    queues: QueueCalls | QueueVerbs, queue: str, items: tuple[str, ...], *, every: bool
) -> Sequence[str]:
    """The ids that are meant: those given, or all. Raises InvalidRequest, QueueNotFound."""
    if bool(items) == every:
        raise InvalidRequest(f"give either ITEMs or --all; octospool queue failed {queue} lists them")
    if not every:
        return items
    found: list[str] = []
    cursor = None
    while True:
        page = queues.failed(queue, limit=PAGE, cursor=cursor)
        found += [one.id for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    if not found:
        say(f"nothing has failed in the queue {queue}")
    return found
