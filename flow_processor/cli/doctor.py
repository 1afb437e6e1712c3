"""`octospool doctor`: is the data folder whole?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from flow_processor.cli.exits import ExitCode
from flow_processor.cli.options import data_path_option, existing_settings, json_option
from flow_processor.cli.output import echo_json, say
from flow_processor.logs import escape


@click.command("doctor")
@click.option("--repair", is_flag=True, help="Put right what can be put right; only while no daemon works.")
@data_path_option
@json_option
@click.pass_context
def command(ctx: click.Context, repair: bool, data_path: Path | None, as_json: bool) -> None:
    """Look whether the store is whole and everything in the data folder belongs together.

    Each thing that is wrong is a line on stdout. Exit 0 if nothing is (any more), 1 otherwise. Without --repair,
    or while a daemon has the folder, nothing is changed.

    \b
    Example:
      octospool doctor
      octospool doctor --repair
    """
    from flow_processor.clock import SystemClock
    from flow_processor.service.doctor import examine

    report = examine(existing_settings(data_path), repair=repair, clock=SystemClock())
    if as_json:
        found = [asdict(diagnosis) for diagnosis in report.found]
        echo_json({"well": report.is_well, "facts": list(report.facts), "found": found})
    else:
        for fact in report.facts:
            say(fact)
        for diagnosis in report.found:
            state = "repaired: " if diagnosis.repaired else ""
            failure = f" (the repair failed: {diagnosis.failure})" if diagnosis.failure else ""
            click.echo(escape(f"{state}{diagnosis.code}: {diagnosis.message}{failure}"))
        open_findings = sum(not diagnosis.repaired for diagnosis in report.found)
        say(f"{open_findings} things are wrong" if open_findings else "all is well")
    ctx.exit(ExitCode.OK if report.is_well else ExitCode.FAILED)
