"""`octospool run`: one flow in the terminal."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from flow_processor.cli import exits
from flow_processor.cli.exits import ExitCode
from flow_processor.cli.options import data_path_option, existing_settings, params_options
from flow_processor.cli.output import duration, echo_json, say
from flow_processor.cli.values import json_value, params_given
from flow_processor.errors import InvalidRequest
from flow_processor.run import RunStatus, Trigger

if TYPE_CHECKING:
    from flow_processor.cli.connect import Spooler
    from flow_processor.service.retries import RetryWish
    from flow_processor.service.views import RunDetail, RunSummary
    from flow_processor.settings import Settings

LAUNCH_FAILED_HELP = "; ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in ExitCode)


@click.command("run", epilog=f"Exit codes: {LAUNCH_FAILED_HELP}.")
@click.argument("flow")
@click.option("--data", "-d", metavar="JSON|@FILE|@-", help="The flow's __input__; @- reads it from stdin.")
@params_options
@click.option("--until", metavar="STEP", help="End after this step, and after what it needs.")
@click.option(
    "--from-run",
    metavar="ID",
    help="Take the results of this earlier run of FLOW, and begin where it came to, with the flow as it is now.",
)
@click.option("--from", "from_step", metavar="STEP", help="With --from-run: begin at this step.")
@click.option(
    "--dry",
    is_flag=True,
    help="Call nothing: print each step's options as they would be, and what is unknown yet.",
)
@click.option("--no-wait", is_flag=True, help="Leave with 75 if another `octospool run` has the data folder.")
@click.option("--quiet", "-q", is_flag=True, help="No step lines.")
@data_path_option
@click.pass_context
def command(
    ctx: click.Context,
    flow: str,
    data: str | None,
    pairs: tuple[str, ...],
    params: str | None,
    until: str | None,
    from_run: str | None,
    from_step: str | None,
    dry: bool,
    no_wait: bool,
    quiet: bool,
    data_path: Path | None,
) -> None:
    """Run FLOW here and now and print its data as JSON on stdout; what happens is told on stderr.

    FLOW is a path below the flows folder; .yml may be left out. Where a daemon has the data folder the run
    is launched there, else this process runs it by itself: locks and history are the same. Ctrl-C cancels
    the run (its finally_step still runs); a second one leaves at once.

    With --dry nothing is called, written or recorded: each step is shown with its options rendered, with
    <result of fetch> where that is not known before the step `fetch` has run. Exit 1 if a step would fail.

    \b
    Example:
      octospool run hello --data '{"name": "Ada"}'
      octospool run report --data @input.json --param day=2026-11-21 > report.json
      octospool run report --until fetch
      octospool run report --from-run 20261121T074006123-k7x2m9qa --from render
    """
    if from_step is not None and from_run is None:
        raise click.UsageError("--from needs --from-run, the run whose results are taken")
    if dry and (until or from_run):
        raise click.UsageError("--dry goes through the whole flow; it takes neither --until nor --from-run")
    payload, given = json_value(data, hint="--data"), params_given(pairs, params)
    settings = existing_settings(data_path)
    if not dry:
        _prepare_a_worker(settings)
    from flow_processor.cli.dry import dry_run
    from flow_processor.flow import name_below
    from flow_processor.service.retries import RetryWish

    path = name_below(flow, settings.flows_path)
    if dry:
        is_fine = dry_run(settings, path, payload=payload, params=given or {})
        ctx.exit(ExitCode.OK if is_fine else ExitCode.FAILED)
    wish = RetryWish(from_step, True, data is not None, payload, given, until)
    ended = _run(settings, path, wish, from_run, wait=not no_wait, quiet=quiet)
    if ended is None:
        say("cancelled before anything was started")
        ctx.exit(ExitCode.CANCELLED)
    say(_outcome(ended))
    if ended.data is not None:
        echo_json(ended.data)
    ctx.exit(exits.of_status(ended.status))


def _prepare_a_worker(settings: Settings) -> None:
    """Where nobody has the folder this process needs a worker, which loads beside it: a third of a short run's time."""
    from flow_processor.engine.worker_start import prepare
    from flow_processor.locks import DataFolderLock

    if DataFolderLock(settings.data_path).holder() is None:
        prepare(os.environ)


def _run(
    settings: Settings, path: str, wish: RetryWish, from_run: str | None, *, wait: bool, quiet: bool
) -> RunDetail | None:
    """The run once it has ended; None: it was cancelled before anything was started."""
    from flow_processor.cli.connect import running
    from flow_processor.cli.interrupts import Interrupts
    from flow_processor.cli.watch import watch

    with (
        Interrupts(second_says="left; nothing was started") as interrupts,
        running(settings, wait=wait, gave_up=lambda: interrupts.asked) as spooler,
    ):
        if spooler is None or interrupts.asked:
            return None
        run = _begun(spooler, path, wish, from_run)
        return watch(spooler, run, interrupts=interrupts, settings=settings, quiet=quiet)


def _begun(spooler: Spooler, path: str, wish: RetryWish, from_run: str | None) -> RunSummary:
    """The run, launched anew or with the results of the run `from_run`; it is told which one it is, and where."""
    from flow_processor.cli.daemon import Daemon

    if from_run is None:
        run = spooler.launch(
            path, data=wish.data, params=wish.params, until=wish.until, trigger=Trigger.CLI, by="cli"
        )
    else:
        run = _launch_from(spooler, from_run, path, wish)
    where = f" in the daemon at {spooler.url}" if isinstance(spooler, Daemon) else ""
    say(f"run {run.run_id} of {run.flow}{where}")
    return run


def _launch_from(spooler: Spooler, run_id: str, path: str, wish: RetryWish) -> RunSummary:
    """A run that begins with the results of another one of the same flow."""
    old = spooler.run(run_id, max_steps=0)
    if PurePosixPath(path).with_suffix("") != PurePosixPath(old.flow).with_suffix(""):
        raise InvalidRequest(f"run {run_id} is one of {old.flow}, not of {path}")
    return spooler.retry_run(run_id, wish, trigger=Trigger.CLI, by="cli")


def _outcome(run: RunDetail) -> str:
    text = f"{run.status.value} in {duration(run.duration_seconds)}"
    if run.error is not None:
        at = f" at step {run.error.step}" if run.error.step else ""
        return f"{text}{at}: {run.error.message} ({run.error.code})"
    if run.status is RunStatus.INTERRUPTED:
        text += "; look at it with: octospool runs show " + run.run_id
    return f"{text}: {run.reason}" if run.reason else text
