"""`octospool schema`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from flow_processor.cli.output import say
from flow_processor.errors import InvalidRequest


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
    from flow_processor.paths import write_atomic
    from flow_processor.schema import flow_schema

    # ASCII: the text is right whatever encoding the shell's redirection makes of it.
    text = json.dumps(flow_schema(), indent=2)
    if output is None:
        click.echo(text)
    else:
        if not output.absolute().parent.is_dir():
            raise InvalidRequest(f"there is no folder {output.absolute().parent}", code="folder_unwritable")
        try:
            write_atomic(output.absolute(), text.encode() + b"\n")
        except OSError as error:
            message = f"cannot write {output}: {error.strerror or error}"
            raise InvalidRequest(message, code="folder_unwritable") from error
        say(f"written  {output}")
