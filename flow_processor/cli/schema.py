"""`octospool schema`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from flow_processor.cli.output import write_file


@click.command("schema")
@click.option(
    "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write it there."
)
def command(output: Path | None) -> None:
    """Print the JSON Schema (2020-12) of flow files, from which editors complete and check.

    Name it in the first line of a flow file: # yaml-language-server: $schema=../flow.schema.json

    \b
    Example:
      octospool schema --output data/flow.schema.json
    """
    from flow_processor.schema import flow_schema

    # ASCII: the text is right whatever encoding the shell's redirection makes of it.
    text = json.dumps(flow_schema(), indent=2)
    if output is None:
        click.echo(text)
    else:
        write_file(output, text + "\n")
