"""`octospool schema`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from flow_processor.cli.options import data_path_option
from flow_processor.cli.output import write_file


@click.command("schema")
@click.option(
    "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write it there."
)
@data_path_option
def command(output: Path | None, data_path: Path | None) -> None:
    """Print the JSON Schema (2020-12) of flow files, from which editors complete and check.

    Name it in the first line of a flow file: # yaml-language-server: $schema=../flow.schema.json

    Step types of your own, in steps/ of the data folder, are in it.

    \b
    Example:
      octospool schema --output data/flow.schema.json
    """
    from flow_processor.schema import flow_schema
    from flow_processor.service.own_code import own_functions
    from flow_processor.settings import Settings

    settings = Settings.load(os.environ, overrides={"data_path": data_path})
    # ASCII: the text is right whatever encoding the shell's redirection makes of it.
    text = json.dumps(flow_schema(own_functions(settings)), indent=2)
    if output is None:
        click.echo(text)
    else:
        write_file(output, text + "\n")
