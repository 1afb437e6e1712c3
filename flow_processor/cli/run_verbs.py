"""`octospool runs cancel|signal|answer|resume|retry`: what a person does with a run."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flow_processor.cli.options import (
    data_path_option,
    doubt_options,
    existing_settings,
    json_option,
    params_options,
)
from flow_processor.cli.output import echo_json, say
from flow_processor.cli.values import json_value, params_given, typed_pairs
from flow_processor.errors import Conflict, NotWaiting, RunHasEnded
from flow_processor.run import Trigger

if TYPE_CHECKING:
    from flow_processor.cli.daemon import Daemon
    from flow_processor.service.views import RunDetail, RunSummary
    from flow_processor.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _by_option(command: _Command) -> _Command:
    return click.option("--by", help="Who says so, for the history; default: your login name.")(command)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "cli"


@contextmanager
def _daemon_for(run_id: str, data_path: Path | None, verb: str) -> Iterator[Daemon]:
    """The daemon; without one there is nobody who could be asked. Then Conflict `no_daemon` says who has the run."""
    from flow_processor.cli.connect import reading
    from flow_processor.cli.daemon import Daemon

    settings = existing_settings(data_path)
    with reading(settings) as spooler:
        if not isinstance(spooler, Daemon):
            raise _no_daemon(spooler.run(run_id), settings, verb)
        yield spooler


def _no_daemon(run: RunDetail, settings: Settings, verb: str) -> Conflict:
    from flow_processor.cli.connect import way_to_a_daemon
    from flow_processor.locks import DataFolderLock

    where = {"run_id": run.run_id}
    if run.status.is_terminal and verb == "cancel":
        return RunHasEnded(f"run {run.run_id} has ended: {run.status.value}", details=where)
    holder = DataFolderLock(settings.data_path).holder()
    what_to_do = f"{way_to_a_daemon(settings)}, then try again"
    if run.status.is_terminal:
        is_what = f"has ended ({run.status.value})"
    elif holder is None:
        is_what = "is at rest"
    else:
        is_what = f"is in the hands of `octospool run` (pid {holder.get('pid', 'unknown')})"
        if verb == "cancel":
            what_to_do = "press Ctrl-C there"
    message = f"no daemon has run {run.run_id}, which {is_what}. To {verb} it: {what_to_do}"
    return Conflict(message, code="no_daemon", details=where)


def _tell(run: RunSummary, *, as_json: bool, text: str) -> None:
    if as_json:
        echo_json(run.model_dump(mode="json"))
    else:
        say(f"run {run.run_id} of {run.flow}: {text}")


@click.command("cancel")
@click.argument("run_id", metavar="ID")
@data_path_option
@json_option
def cancel(run_id: str, data_path: Path | None, as_json: bool) -> None:
    """Cancel a run. Its finally_step still runs.

    \b
    Example:
      octospool runs cancel 20261121T074006123-k7x2m9qa
    """
    with _daemon_for(run_id, data_path, "cancel") as daemon:
        run = daemon.cancel_run(run_id, by="cli")
    _tell(run, as_json=as_json, text=run.status.value if run.status.is_terminal else "cancelling")


@click.command("signal")
@click.argument("run_id", metavar="ID")
@click.argument("name")
@click.option(
    "--data", "-d", metavar="JSON|@FILE|@-", help="What the signal carries; @- reads it from stdin."
)
@_by_option
@data_path_option
@json_option
def signal(
    run_id: str, name: str, data: str | None, by: str | None, data_path: Path | None, as_json: bool
) -> None:
    """Send a run the signal NAME; a `wait` step that comes later still gets it.

    \b
    Example:
      octospool runs signal 20261121T074006123-k7x2m9qa delivered --data '{"box": 7}'
    """
    content = json_value(data, hint="--data")
    with _daemon_for(run_id, data_path, "signal") as daemon:
        run = daemon.signal_run(run_id, name, data=content, by=by or _login_name())
    _tell(run, as_json=as_json, text=f"signal '{name}' is recorded")


@click.command("answer")
@click.argument("run_id", metavar="ID")
@click.argument("answer")
@click.option("--step", metavar="PATH", help="Which approval, where several wait.")
@click.option(
    "--field",
    "-f",
    "pairs",
    multiple=True,
    metavar="K=V",
    help="A field of the form; K:=V for JSON. Repeatable.",
)
@_by_option
@data_path_option
@json_option
def answer(
    run_id: str,
    answer: str,
    step: str | None,
    pairs: tuple[str, ...],
    by: str | None,
    data_path: Path | None,
    as_json: bool,
) -> None:
    """Answer what an approval asks; `octospool runs show ID` shows the question.

    \b
    Example:
      octospool runs answer 20261121T074006123-k7x2m9qa yes --field amount:=12
    """
    form = typed_pairs(pairs, hint="--field")
    with _daemon_for(run_id, data_path, "answer") as daemon:
        path = _approval(daemon.run(run_id, max_steps=0), step)
        content = {"answer": answer, "form": form} if form else {"answer": answer}
        run = daemon.signal_run(run_id, path, data=content, by=by or _login_name())
    _tell(run, as_json=as_json, text=f"'{path}' is answered: {answer}")


def _approval(run: RunDetail, step: str | None) -> str:
    """The path of the approval that `step` means (None: the only one). The daemon would keep anything else, as a
    signal for a step that comes later; whoever answers must not be told that all is well then."""
    from flow_processor.service.resumes import step_name

    if run.status.is_terminal:
        raise RunHasEnded(f"run {run.run_id} has ended: {run.status.value}")
    paths = [wait.path for wait in run.waiting if wait.kind == "approval"]
    named = ", ".join(f"'{path}'" for path in paths)
    waits = f"it waits for an answer to {named}" if paths else "it waits for no answer now"
    look = f"octospool runs show {run.run_id}"
    if step is not None:
        if step not in paths and step not in map(step_name, paths):
            raise NotWaiting(f"run {run.run_id} does not wait for an answer to '{step}'; {waits}: {look}")
        return step
    if not paths:
        raise NotWaiting(f"run {run.run_id} waits for no answer now: {look}")
    if len(paths) > 1:
        raise click.UsageError(f"several approvals wait; say --step with one of: {', '.join(paths)}")
    return paths[0]


@click.command("resume")
@click.argument("run_id", metavar="ID")
@doubt_options
@_by_option
@data_path_option
@json_option
def resume(
    run_id: str,
    mode: str | None,
    step: str | None,
    value: str | None,
    by: str | None,
    data_path: Path | None,
    as_json: bool,
) -> None:
    """Let an interrupted run go on, once you have looked whether the step in doubt took effect.

    \b
    Example:
      octospool runs resume 20261121T074006123-k7x2m9qa --mode skip
    """
    from flow_processor.service.resumes import ResumeMode

    if (value is not None) != (mode == "value"):
        raise click.UsageError("--mode value and --value belong together")
    result = json_value(value, hint="--value")
    with _daemon_for(run_id, data_path, "resume") as daemon:
        how = None if mode is None else ResumeMode(mode)
        run = daemon.resume_run(run_id, mode=how, step=step, value=result, by=by or _login_name())
    _tell(run, as_json=as_json, text="goes on")


@click.command("retry")
@click.argument("run_id", metavar="ID")
@click.option(
    "--from", "from_step", metavar="STEP", help="Begin at this step; default: the first that failed."
)
@click.option(
    "--current-flow", is_flag=True, help="With the flow file as it is now, not as it was at launch."
)
@click.option(
    "--data", "-d", metavar="JSON|@FILE|@-", help="Another __input__; default: that of the old run."
)
@params_options
@doubt_options
@_by_option
@data_path_option
@json_option
def retry(
    run_id: str,
    from_step: str | None,
    current_flow: bool,
    data: str | None,
    pairs: tuple[str, ...],
    params: str | None,
    mode: str | None,
    step: str | None,
    value: str | None,
    by: str | None,
    data_path: Path | None,
    as_json: bool,
) -> None:
    """Try a run again from where it failed: a new run that keeps what succeeded.

    Where a parameter is given, all of them are: the old run's values count only where none is. A run that failed
    because nobody knows whether a step took effect needs --mode: look first.

    \b
    Example:
      octospool runs retry 20261121T074006123-k7x2m9qa --current-flow
      octospool runs retry 20261121T074006123-k7x2m9qa --mode value --value '{"workflow_uuid": "…"}'
    """
    from flow_processor.service.resumes import ResumeMode
    from flow_processor.service.retries import RetryWish
    from flow_processor.service.retry_doubts import answer_of

    payload, given = json_value(data, hint="--data"), params_given(pairs, params)
    said = answer_of(
        None if mode is None else ResumeMode(mode),
        step,
        json_value(value, hint="--value"),
        has_value=value is not None,
    )
    wish = RetryWish(from_step, current_flow, data is not None, payload, given, answer=said)
    with _daemon_for(run_id, data_path, "retry") as daemon:
        run = daemon.retry_run(run_id, wish, trigger=Trigger.CLI, by=by or _login_name())
    _tell(run, as_json=as_json, text=f"tries {run_id} again (attempt {run.attempt})")
