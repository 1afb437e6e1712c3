"""`octospool check`: everything that is wrong in what people wrote, before it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flow_processor.cli.exits import ExitCode
from flow_processor.cli.options import data_path_option, existing_settings, json_option
from flow_processor.cli.output import echo_json, say
from flow_processor.errors import Problem, SpecError
from flow_processor.logs import escape

if TYPE_CHECKING:
    from flow_processor.settings import Settings


@click.command("check")
@click.argument("flows", nargs=-1, metavar="[FLOW]...")
@data_path_option
@json_option
@click.pass_context
def command(ctx: click.Context, flows: tuple[str, ...], data_path: Path | None, as_json: bool) -> None:
    """Say what is wrong in the flows (default: in all, and in secrets.yml and config.yml).

    Each problem is a line `file:line:column: key: message (hint)` on stdout. Nothing is run. Exit 1 if there
    is any problem.

    \b
    Example:
      octospool check
      octospool check hello sub/report.yml --json
    """
    from flow_processor.expressions.jq import compile_problem
    from flow_processor.flow import name_below
    from flow_processor.flow_files import FlowLibrary
    from flow_processor.flow_files.jq_checks import jq_check

    settings = existing_settings(data_path)
    check_jq = jq_check(lambda expressions: [compile_problem(one) for one in expressions])
    library = FlowLibrary(settings.flows_path, check_expressions=check_jq)
    names = [name_below(flow, settings.flows_path) for flow in flows]
    files = [library.status(name) for name in names] if names else library.files()
    checked = [file.path for file in files]
    found = [] if names else list(_configured_problems(settings))
    for file in files:
        found += file.problems
    found = list(dict.fromkeys(found))  # a sub-flow's problems are met once for each flow that uses it
    if as_json:
        echo_json({"checked": checked, "problems": [asdict(problem) for problem in found]})
    else:
        for problem in found:
            click.echo(escape(str(problem)))
        say(_summary(checked, found))
    ctx.exit(ExitCode.FAILED if found else ExitCode.OK)


def _summary(checked: Sequence[str], found: Sequence[Problem]) -> str:
    flows = "1 flow" if len(checked) == 1 else f"{len(checked)} flows"
    if not found:
        return f"{flows} checked, no problems"
    return f"{flows} checked, {len(found)} problem{'s' if len(found) != 1 else ''}"


def _configured_problems(settings: Settings) -> Iterator[Problem]:
    """What is wrong in secrets.yml and the autostart entries; the rest of config.yml stopped us before."""
    from flow_processor.secrets import SecretStore

    yield from settings.autostart_problems
    store = SecretStore(
        settings.secrets_path,
        settings.environment,
        vault_token=settings.hashicorp_vault_token,
        vault_ttl_seconds=settings.hashicorp_vault_cache_ttl,
    )
    try:
        store.load()
    except SpecError as error:
        yield from error.problems
