"""`octospool version`."""

from __future__ import annotations

import platform

import click

from flow_processor.version import VERSION


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(as_json: bool) -> None:
    """Print the version, of Octospool and of Python.

    \b
    Example:
      octospool version
    """
    if as_json:
        import json

        click.echo(json.dumps({"octospool": VERSION, "python": platform.python_version()}))
    else:
        click.echo(f"octospool {VERSION} (Python {platform.python_version()})")
