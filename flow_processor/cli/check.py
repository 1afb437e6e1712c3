"""`octospool check`: everything that is wrong in what people wrote, before it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from flow_processor.cli.exits import ExitCode
from flow_processor.cli.explain import explained, with_way_out
from flow_processor.cli.options import data_path_option, existing_settings, json_option
from flow_processor.cli.output import echo_json, say
from flow_processor.errors import NotFound, Problem, SpecError
from flow_processor.logs import escape

if TYPE_CHECKING:
    from flow_processor.flow_files import ExpressionCheck, FileStatus, FlowLibrary
    from flow_processor.own_code.library import CodeFile, OwnCodeState
    from flow_processor.secrets import SecretStore
    from flow_processor.settings import Settings


_NOT_HERE = {"step_switched_off", "package_missing"}
"""Codes of what is not wrong in a flow, but missing where it is checked."""


@click.command("check")
@click.argument("names", nargs=-1, metavar="[FLOW|FOLDER|FILE.py]...")
@click.option("--short", is_flag=True, help="One line a problem, as editors and logs like it.")
@data_path_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, names: tuple[str, ...], short: bool, data_path: Path | None, as_json: bool
) -> None:
    """Explain what is wrong in flows and files of own code (default: in all, and in secrets.yml and config.yml).

    Of each problem: `file:line:column: key: reason [code]`, the line itself with a mark, and the way out. Nothing is
    run. Templates, secrets and files that steps name are looked at as well. Exit 1 if there is any problem; that flows
    use what is switched off or not installed here is only a note, unless they are named. docs/errors.md lists the
    codes.

    \b
    Example:
      octospool check
      octospool check hello sub/ --json
      octospool check callers/prices.py
    """
    from flow_processor.service.own_code import OwnCode, flow_library

    settings = existing_settings(data_path)
    configured, secrets = _configured(settings)
    code = OwnCode(settings)
    library = flow_library(
        settings,
        check_expressions=_further_check(settings, secrets, code.state().names.filters),
        code=code.use,
    )
    state = code.state()
    own = {name: path for name in names if (path := _code_path(name, settings)) is not None}
    by_path = {file.path: file for path in own.values() for file in _code_files(path, state)}
    code_files = list(by_path.values())
    flows = [name for name in names if name not in own]
    files = _named(library, flows, settings.flows_path) if names else library.files()
    code.close()
    found = [file.problem for file in code_files if file.problem is not None]
    if not names:
        found = [*configured, *library.defaults_problems(), *state.problems]
    for file in files:
        found += file.problems
    # A sub-flow's problems are met once for each flow that uses it.
    found = [with_way_out(problem) for problem in dict.fromkeys(found)]
    notes = [] if names else _only_not_here(found)
    found = [problem for problem in found if problem not in notes]
    if as_json:
        told = {"problems": found, "notes": notes}
        checked = [*(file.path for file in files), *by_path]
        echo_json(
            {"checked": checked, **{name: [asdict(one) for one in those] for name, those in told.items()}}
        )
    else:
        for problem in found:
            click.echo(escape(str(problem)) if short else _explained(problem, settings.flows_path, state))
        for line in _noted(notes):
            say(line)
        say(_summary(len(files), len(code_files), found))
    ctx.exit(ExitCode.FAILED if found else ExitCode.OK)


def _named(library: FlowLibrary, flows: Sequence[str], folder: Path) -> list[FileStatus]:
    """The flow files that are meant; of a folder all that are below it."""
    from flow_processor.flow import name_below

    found: dict[str, FileStatus] = {}
    for flow in flows:
        inside = _below(flow, folder)
        if inside is None:
            meant = [library.status(name_below(flow, folder))]
        else:
            meant = [file for file in library.files() if PurePosixPath(file.path).is_relative_to(inside)]
        found |= {file.path: file for file in meant}
    return list(found.values())


def _code_path(given: str, settings: Settings) -> str | None:
    """`callers/prices.py` or `callers`, as people name them, below the data folder; None if it is no own code."""
    from flow_processor.own_code.folders import CODE_FOLDERS

    if _below(given, settings.flows_path) is not None:  # a folder of flows may have that name
        return None
    for here in (settings.data_path / given, Path(given)):
        plain = Path(os.path.abspath(here))  # noqa: PTH100  as in _below
        if plain.is_relative_to(settings.data_path):
            path = plain.relative_to(settings.data_path)
            if path.parts and path.parts[0] in CODE_FOLDERS and (path.suffix == ".py" or plain.is_dir()):
                return path.as_posix()
    return None


def _code_files(path: str, state: OwnCodeState) -> list[CodeFile]:
    """The file of that path, or the files of that folder. Raises NotFound."""
    from flow_processor.documents import did_you_mean

    found = [file for file in state.files if PurePosixPath(file.path).is_relative_to(path)]
    if path.endswith(".py") and not found:
        near = did_you_mean(path, [file.path for file in state.files])
        message = f"there is no file {path} of own code"
        raise NotFound(f"{message}; {near}" if near else message, details={"path": path})
    return found


def _below(given: str, folder: Path) -> str | None:
    """A folder of flows, as people name it, as a path below the flows folder; None if it is none."""
    for here in (folder / given, Path(given)):
        plain = Path(os.path.abspath(here))  # noqa: PTH100  resolve() would follow a symlink in the flows folder
        if plain.is_relative_to(folder) and plain.is_dir():
            return plain.relative_to(folder).as_posix()
    return None


def _explained(problem: Problem, flows_path: Path, state: OwnCodeState) -> str:
    """The problem with the line that it is about, and with the traceback of own code. Lines of secrets.yml and
    config.yml are never shown: they may hold what is secret."""
    folder, slash, path = problem.file.partition("/")
    file = flows_path / path if slash and folder == flows_path.name else None
    tracebacks = [one.traceback for one in state.files if one.path == problem.file and one.traceback]
    return "\n".join([*explained(problem, file), "", *map(_indented, tracebacks)])


def _only_not_here(found: Sequence[Problem]) -> list[Problem]:
    """The problems of files that have no others: they are as they should be, but cannot be run here as it is."""
    wrong = {problem.file for problem in found if problem.code not in _NOT_HERE}
    return [problem for problem in found if problem.file not in wrong]


def _noted(notes: Sequence[Problem]) -> Iterator[str]:
    """Each thing that is not here once, with the files that use it."""
    files: dict[tuple[str, str | None], list[str]] = {}
    for note in notes:
        files.setdefault((note.message, note.hint), []).append(note.file)
    for (message, hint), those in files.items():
        yield f"note: {message}: {', '.join(dict.fromkeys(those))}"
        if hint is not None:
            yield f"  way out: {hint}"


def _indented(traceback: str) -> str:
    return "\n".join(f"    {escape(line)}" for line in traceback.splitlines()) + "\n"


def _summary(flow_count: int, code_count: int, found: Sequence[Problem]) -> str:
    flows = "1 flow" if flow_count == 1 else f"{flow_count} flows"
    if code_count:
        code = f"{code_count} file{'s' if code_count != 1 else ''} of own code"
        flows = f"{flows} and {code}" if flow_count else code
    if not found:
        return f"{flows} checked, no problems"
    files = len({problem.file for problem in found})
    where = f"in {files} file{'s' if files != 1 else ''}"
    return f"{flows} checked, {len(found)} problem{'s' if len(found) != 1 else ''} {where}"


def _configured(settings: Settings) -> tuple[list[Problem], SecretStore | None]:
    """What is wrong in secrets.yml and the autostart entries (the rest of config.yml stopped us before), and
    the secrets, if they can be told."""
    from flow_processor.service.secret_store import secret_store

    store = secret_store(settings)
    problems = list(settings.autostart_problems)
    try:
        store.load()
    except SpecError as error:
        return [*problems, *error.problems], None
    return problems, store


def _further_check(
    settings: Settings, secrets: SecretStore | None, own_filters: frozenset[str]
) -> ExpressionCheck:
    """What is not looked at when a flow is launched: jq compiled here and now, and what lies beside the flows."""
    from flow_processor.expressions.jq import compile_problem
    from flow_processor.flow_files.jq_checks import jq_check
    from flow_processor.service.surroundings import surroundings

    checks = (
        jq_check(lambda expressions: [compile_problem(one) for one in expressions]),
        surroundings(settings, secrets, own_filters),
    )
    return lambda flow: [found for check in checks for found in check(flow)]
