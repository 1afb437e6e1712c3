"""`octospool querypie`: what a step `querypie` would find and choose."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flow_processor.cli.exits import ExitCode
from flow_processor.cli.options import data_path_option, existing_settings, json_option
from flow_processor.cli.output import echo_json, say
from flow_processor.logs import escape

if TYPE_CHECKING:
    from flow_processor.querypie.access import Access
    from flow_processor.querypie.probe import Probe
    from flow_processor.secrets import Redactor
    from flow_processor.settings import Settings


@click.group("querypie")
def command() -> None:
    """Ask a QueryPie server what a step would find and choose.

    \b
    Example:
      octospool querypie probe --secret querypie --base-url https://querypie.example.com --login-id ada
    """


@command.command("probe")
@click.option("--secret", required=True, metavar="NAME", help="The secret of type token with the API token.")
@click.option("--base-url", required=True, metavar="URL", help="QueryPie's address.")
@click.option(
    "--login-id", metavar="LOGIN", help="The user who would ask; without it, only rules are looked at."
)
@click.option("--rule", metavar="NAME", help="The approval rule; default: the first.")
@click.option("--connection", metavar="NAME", help="The preferred connection.")
@click.option("--type", "kind", metavar="TYPE", help="Its type, such as MySQL.")
@click.option("--database", metavar="NAME", help="The preferred database.")
@click.option(
    "--fallback-to-first", is_flag=True, help="Take the first where none of those preferred is there."
)
@click.option("--cluster", metavar="HOST", help="The cluster; default: the first.")
@click.option("--executor", metavar="NAME", help="Who would execute; default: the rule's first.")
@click.option(
    "--auth-prefix", default="Bearer", show_default=True, help="The word before the token; may be empty."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 3600, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds of one call.",
)
@click.option(
    "--verify",
    metavar="FILE|no",
    help="A file below the data folder with the certificates to trust; no: trust any server.",
)
@data_path_option
@json_option
@click.pass_context
def probe(
    ctx: click.Context,
    secret: str,
    base_url: str,
    login_id: str | None,
    rule: str | None,
    connection: str | None,
    kind: str | None,
    database: str | None,
    fallback_to_first: bool,
    cluster: str | None,
    executor: str | None,
    auth_prefix: str,
    timeout: float,
    verify: str | None,
    data_path: Path | None,
    as_json: bool,
) -> None:
    """Make the calls that only read, and print what would be chosen. Nothing is submitted.

    Exit 1 if something that is needed is not there.

    \b
    Example:
      octospool querypie probe --secret querypie --base-url https://querypie.example.com --login-id ada \\
        --connection shop --type MySQL --database orders
    """
    from flow_processor.querypie.access import Access
    from flow_processor.querypie.errors import QueryPieError
    from flow_processor.querypie.options import ConnectionChoice
    from flow_processor.secrets import Redactor

    redactor = Redactor()
    settings = existing_settings(data_path)
    access = Access(
        base_url=base_url,
        token=_token(settings, secret, redactor),
        auth_prefix=auth_prefix,
        timeout_seconds=timeout,
        verify=_verify(settings, verify),
    )
    choice = ConnectionChoice.model_construct(
        name=connection, type=kind, database=database, fallback_to_first=fallback_to_first
    )
    try:
        found = _probe(access, redactor).run(
            login_id=login_id, rule=rule, connection=choice, cluster=cluster, executor=executor
        )
    except QueryPieError as error:
        error.message = redactor.text(error.message)
        raise
    found = redactor.value(found)
    if as_json:
        echo_json(found)
    else:
        for name, text in _lines(found):
            click.echo(escape(f"{name:<12}{text}"))
    ctx.exit(ExitCode.FAILED if found["problems"] else ExitCode.OK)


def _probe(access: Access, redactor: Redactor) -> Probe:
    """One that tells on stderr what it does."""
    from flow_processor.querypie.access import Voice
    from flow_processor.querypie.calls import Calls
    from flow_processor.querypie.client import Client
    from flow_processor.querypie.probe import Probe

    voice = Voice(
        log=lambda message, level: say(redactor.text(message)),
        wait=time.sleep,
        remaining=lambda: None,
        redacted=redactor.text,
    )
    return Probe(Calls(Client(access, voice), settle_seconds=0))


def _token(settings: Settings, name: str, redactor: Redactor) -> str:
    """The token of the named secret. Raises SecretNotFound, SpecError and StepError."""
    from flow_processor.querypie.access import token_of
    from flow_processor.secrets.picking import picked
    from flow_processor.service.secret_store import secret_store

    store = secret_store(settings)
    store.load()
    secret = picked(store.get(name))
    redactor.add_secret(secret)
    return token_of(secret)


def _verify(settings: Settings, named: str | None) -> bool | str:
    """What a step's `verify` would be. Raises PathRefused and StepError."""
    from flow_processor.errors import StepError
    from flow_processor.paths import inside

    if named is None:
        return True
    if named == "no":
        say("the server's certificate is not checked (--verify no)")
        return False
    path = inside(settings.data_path, named, what="--verify", private=settings.private_paths)
    if not path.is_file():
        raise StepError(f"--verify: there is no file {named!r} in {settings.data_path}", code="rest_tls")
    return str(path)


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What was found, for people: (what, text)."""
    lines = []
    if "user" in found:
        lines.append(("user", f"{found['user'].get('name')} ({found['user']['uuid']})"))
    if "rule" in found:
        lines.append(("rule", f"{found['rule']['name']} (of: {', '.join(map(str, found['rules']))})"))
    for number, step in enumerate(found.get("approvals", []), 1):
        people = ", ".join(one["name"] for one in step["assignees"])
        lines.append((f"step {number}", f"{people} (condition {step['condition']})"))
    if "executor" in found:
        lines.append(("executor", found["executor"]["name"]))
    if "connection" in found:
        chosen = f"{found['connection'].get('name')} ({found['connection'].get('type')})"
        lines.append(("connection", f"{chosen} (of: {', '.join(found['connections'])})"))
    if "cluster" in found:
        lines.append(("cluster", f"{found['cluster'].get('host')}:{found['cluster'].get('port')}"))
    if "database" in found:
        lines.append(("database", f"{found['database']} (of: {', '.join(found['databases'])})"))
    lines += [("warning", text) for text in found["warnings"]]
    lines += [("problem", f"{one['message']} ({one['code']})") for one in found["problems"]]
    return lines
