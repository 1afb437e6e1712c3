"""The `octospool` command: the table of its commands, and how an error ends one."""

from __future__ import annotations

import importlib
from typing import Any

import click

from flow_processor.cli.exits import of_error
from flow_processor.cli.output import show_error
from flow_processor.errors import OctospoolError
from flow_processor.version import VERSION

COMMANDS = {
    "serve": "Run the daemon: API, schedules, workers.",
    "run": "Run one flow here and now.",
    "check": "Say what is wrong in flow files, secrets and config.",
    "graph": "Draw the steps of a flow: text, Mermaid, SVG.",
    "flows": "List flow files and schedules in force, or show one flow.",
    "schedules": "When flows run by themselves: list, look ahead, add, switch off.",
    "queue": "What waits to start flows: look, put, retry what failed, pause.",
    "runs": "List, show, follow or cancel runs.",
    "locks": "List or remove the locks of running flows.",
    "backup": "Write everything worth keeping to one file.",
    "restore": "Put a backup back.",
    "doctor": "Look whether the data folder is whole, and repair it.",
    "token": "Make a token of the API for somebody else.",
    "querypie": "Ask a QueryPie server what a step would choose.",
    "schema": "Print the JSON Schema of flow files, for editors.",
    "init": "Make a data folder with a flow that works.",
    "version": "Print the version.",
}
"""Name of the command (and of its module) and what the overview says of it."""


class LazyCommands(click.Group):
    """Loads a command's module when it is called: `octospool version` pays for nothing else."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, from its own module."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"flow_processor.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview comes from the table, so that it loads nothing either."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of the product becomes its text on stderr and its exit code."""
        try:
            return super().invoke(ctx)
        except OctospoolError as error:
            show_error(error)
            ctx.exit(of_error(error))


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="octospool %(version)s")
def octospool() -> None:
    """Octospool runs flows: YAML files whose steps fetch, transform and hand on data.

    \b
    octospool init demo               make a data folder
    octospool run hello --data-path demo
    octospool serve --data-path demo

    Settings come from the environment (DATA_PATH, API_TOKEN, …) and config.yml.
    """
