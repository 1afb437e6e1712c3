"""`octospool check`: everything that is wrong in what people wrote, before it runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    from flow_processor.flow_files import ExpressionCheck
    from flow_processor.settings import Settings


@click.command("check")
@click.argument("flows", nargs=-1, metavar="[FLOW]...")
@data_path_option
@json_option
@click.pass_context
def command(ctx: click.Context, flows: tuple[str, ...], data_path: Path | None, as_json: bool) -> None:
    """Say what is wrong in the flows (default: in all, and in secrets.yml and config.yml).

    Each problem is a line `file:line:column: key: message (hint)` on stdout. Nothing is run. Templates, secrets
    and files that steps name are looked at as well. Exit 1 if there is any problem.

    \b
    Example:
      octospool check
      octospool check hello sub/report.yml --json
    """
    from flow_processor.flow import name_below
    from flow_processor.flow_files import FlowLibrary

    settings = existing_settings(data_path)
    configured, secrets = _configured(settings)
    library = FlowLibrary(settings.flows_path, check_expressions=_further_check(settings, secrets))
    names = [name_below(flow, settings.flows_path) for flow in flows]
    files = [library.status(name) for name in names] if names else library.files()
    checked = [file.path for file in files]
    found = [] if names else configured
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


def _configured(settings: Settings) -> tuple[list[Problem], Collection[str] | None]:
    """What is wrong in secrets.yml and the autostart entries (the rest of config.yml stopped us before), and
    the names of the secrets, if they can be told."""
    from flow_processor.secrets import SecretStore

    store = SecretStore(
        settings.secrets_path,
        settings.environment,
        vault_token=settings.hashicorp_vault_token,
        vault_ttl_seconds=settings.hashicorp_vault_cache_ttl,
    )
    problems = list(settings.autostart_problems)
    try:
        store.load()
    except SpecError as error:
        return [*problems, *error.problems], None
    return problems, store.names()


def _further_check(settings: Settings, secrets: Collection[str] | None) -> ExpressionCheck:
    """What is not looked at when a flow is launched: jq compiled here and now, and what lies beside the flows."""
    from flow_processor.expressions.jq import compile_problem
    from flow_processor.flow_files.jq_checks import jq_check
    from flow_processor.flow_files.surroundings import Surroundings
    from flow_processor.store import store_files

    checks = (
        jq_check(lambda expressions: [compile_problem(one) for one in expressions]),
        Surroundings(
            data=settings.data_path,
            templates=settings.templates_path,
            private=[*settings.private_paths, *store_files(settings.database_url)],
            secrets=secrets,
        ),
    )
    return lambda flow: [found for check in checks for found in check(flow)]
