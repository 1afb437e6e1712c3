"""`octospool init`: a data folder to begin with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

import click

from flow_processor.cli.output import say
from flow_processor.cli.programs import program
from flow_processor.errors import InvalidRequest

SCHEMA_FILE = "flow.schema.json"


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Make a data folder in DIR: settings, an example for secrets, a flow that works.

    What is there already is kept as it is; only flow.schema.json, from which editors complete and check, is
    brought up to date.

    \b
    Example:
      octospool init demo
      octospool run hello --data-path demo
    """
    try:
        for name, content in _starter_files():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            say(f"{'made' if _write_new(target, content) else 'kept'}  {target}")
        say(f"{_write_schema(folder / SCHEMA_FILE)}  {folder / SCHEMA_FILE}")
    except OSError as error:
        raise InvalidRequest(f"cannot make {folder}: {error}", code="folder_unwritable") from error
    option = "" if folder.resolve() == Path("data").resolve() else f' --data-path "{folder}"'
    say("")
    say("Next:")
    say(f"  {program()} run hello{option}")
    say(f"  {program()} serve{option}")


def _starter_files() -> Iterator[tuple[PurePosixPath, bytes]]:
    return _walk(files("flow_processor") / "starter", PurePosixPath())


def _walk(folder: Traversable, below: PurePosixPath) -> Iterator[tuple[PurePosixPath, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            yield from _walk(entry, below / entry.name)
        else:
            yield below / entry.name, entry.read_bytes()


def _write_schema(path: Path) -> str:
    """Make the file say what this version takes; what was done about it."""
    from flow_processor.paths import write_atomic
    from flow_processor.schema import flow_schema

    wanted = json.dumps(flow_schema(), indent=2, ensure_ascii=False).encode() + b"\n"
    if _write_new(path, wanted):
        return "made"
    if path.read_bytes() == wanted:
        return "kept"
    write_atomic(path.absolute(), wanted)
    return "renewed"


def _write_new(path: Path, content: bytes) -> bool:
    """Write a file that is not there yet; False if something is. Mode x: nothing is ever overwritten."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True
