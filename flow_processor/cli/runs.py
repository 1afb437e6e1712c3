"""`octospool runs`: the history of runs, and the live ones."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flow_processor.cli.exits import ExitCode
from flow_processor.cli.options import ListByDefault, data_path_option, existing_settings, json_option
from flow_processor.cli.output import echo_json, say
from flow_processor.cli.run_list import list_runs
from flow_processor.cli.run_text import log_line, show_run
from flow_processor.cli.run_verbs import answer, cancel, resume, retry, signal
from flow_processor.run_state import StepStatus

if TYPE_CHECKING:
    from flow_processor.cli.connect import Spooler
    from flow_processor.settings import Settings

FOLLOW_SECONDS = 10.0
"""How long one call to the daemon waits for further log lines, in seconds."""
LOOK_SECONDS = 0.3
"""Between two looks at the log of a run, in seconds."""


@click.group("runs", cls=ListByDefault)
def command() -> None:
    """List runs (the default), show one, follow its log, answer it, cancel, resume or retry it.

    \b
    Example:
      octospool runs
      octospool runs show 20261121T074006123-k7x2m9qa
    """


@command.command("show")
@click.argument("run_id", metavar="ID")
@click.option("--path", default="", help="Only steps whose path begins so: 'loop[3]/' is the third element.")
@click.option("--failed", is_flag=True, help="Only steps that failed.")
@click.option("--results", is_flag=True, help="Show each step's result too.")
@data_path_option
@json_option
def show(run_id: str, path: str, failed: bool, results: bool, data_path: Path | None, as_json: bool) -> None:
    """Show a run: status, times, error, every step. With --json also its data.

    \b
    Example:
      octospool runs show 20261121T074006123-k7x2m9qa
      octospool runs show 20261121T074006123-k7x2m9qa --failed
      octospool runs show 20261121T074006123-k7x2m9qa --path 'loop[3]/' --results
    """
    from flow_processor.cli.connect import reading, way_to_a_daemon
    from flow_processor.cli.daemon import Daemon
    from flow_processor.locks import DataFolderLock

    settings = existing_settings(data_path)
    with reading(settings) as spooler:
        wanted = (StepStatus.FAILED,) if failed else ()
        run = spooler.run(run_id, path=path, step_status=wanted, results=results)
        first = "" if isinstance(spooler, Daemon) else f"{way_to_a_daemon(settings)}, then "
        is_alone = not isinstance(spooler, Daemon) and DataFolderLock(settings.data_path).holder() is None
    if as_json:
        echo_json(run.model_dump(mode="json"))
        return
    show_run(run, zone=settings.zone, first=first)
    if is_alone and not run.status.is_terminal:
        say("no daemon has the data folder; the run goes on when one starts: octospool serve")


@command.command("logs")
@click.argument("run_id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends (or Ctrl-C).")
@data_path_option
@json_option
@click.pass_context
def logs(ctx: click.Context, run_id: str, follow: bool, data_path: Path | None, as_json: bool) -> None:
    """Print a run's own log. With --json one object a line.

    \b
    Example:
      octospool runs logs 20261121T074006123-k7x2m9qa --follow
    """
    from flow_processor.cli.connect import reading

    settings = existing_settings(data_path)
    try:
        with reading(settings) as spooler:
            _print_log(spooler, run_id, settings, follow=follow, as_json=as_json)
    except KeyboardInterrupt:
        ctx.exit(ExitCode.LEFT)


def _print_log(spooler: Spooler, run_id: str, settings: Settings, *, follow: bool, as_json: bool) -> None:
    from flow_processor.cli.daemon import Daemon

    # Where another process has the run nobody can tell that it goes on; then it is looked at again and again.
    wait_seconds = FOLLOW_SECONDS if follow and isinstance(spooler, Daemon) else 0
    after, is_empty = 0, True
    while True:
        page = spooler.run_logs(run_id, after=after, wait_seconds=wait_seconds)
        after = page.next_cursor
        for line in page.lines:
            is_empty = False
            click.echo(line.model_dump_json() if as_json else log_line(line, zone=settings.zone))
        if is_empty and not as_json and (page.complete or not follow):
            say(f"the run has written no log; what its steps did: octospool runs show {run_id}")
        if page.complete or not (follow or page.lines):
            return
        if not page.lines:
            threading.Event().wait(LOOK_SECONDS)


for verb in (list_runs, cancel, signal, answer, resume, retry):
    command.add_command(verb)
