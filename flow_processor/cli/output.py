"""What commands write: JSON and tables on stdout, everything said to a person on stderr.

Texts from flows and steps are written with control characters escaped: a terminal obeys what it is sent.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import click

from flow_processor.errors import FlowRunning, InvalidRequest, OctospoolError, SpecError
from flow_processor.logs import escape
from flow_processor.shortened import shortened


def say(text: str) -> None:
    """A line to the person at the terminal; never part of the result."""
    click.echo(escape(text), err=True)


def show_error(error: OctospoolError) -> None:
    """What went wrong, with its stable code; each problem of a file on a line of its own."""
    if isinstance(error, SpecError):
        for problem in error.problems:
            say(str(problem))
        found = len(error.problems)
        say(f"octospool: {found} problem{'s' if found != 1 else ''} ({error.code})")
        return
    if isinstance(error, FlowRunning) and "run_id" in error.details:
        run_id = error.details["run_id"]
        say(f"octospool: flow '{error.details.get('flow')}' is running (run {run_id} holds its lock)")
        say(f"octospool: wait for it, or cancel it: octospool runs cancel {run_id}")
        say(f"octospool: code {error.code}")
        return
    for line in str(error.message).splitlines() or [""]:
        say(f"octospool: {line}")
    say(f"octospool: code {error.code}")


def echo_json(value: Any) -> None:
    """The value as indented JSON on stdout; escaped where stdout cannot hold Unicode."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").startswith("utf")
    text = json.dumps(value, indent=2, ensure_ascii=not unicode)
    if unicode:
        # A lone surrogate (jq can make one) cannot be written as UTF-8, but JSON can say it.
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    click.echo(text)


def write_file(path: Path, text: str) -> None:
    """Write what a command was told to write with --output; its folder must be there. Raises InvalidRequest."""
    from flow_processor.paths import write_atomic

    if not path.absolute().parent.is_dir():
        raise InvalidRequest(f"there is no folder {path.absolute().parent}", code="folder_unwritable")
    try:
        write_atomic(path.absolute(), text.encode())
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}"
        raise InvalidRequest(message, code="folder_unwritable") from error
    say(f"written  {path}")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Columns on stdout, the last one cut at the terminal's width; `empty` on stderr if there are no rows."""
    lines = [[escape(cell) for cell in row] for row in rows]
    if not lines:
        say(empty)
        return
    widths = [max(len(line[i]) for line in [list(heads), *lines]) for i in range(len(heads))]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in [[head.upper() for head in heads], *lines]:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        click.echo(text if room is None else shortened(text, room))


def show_facts(facts: Mapping[str, object], *, width: int) -> None:
    """A line on stdout for each fact that is true of what is shown, with its name in a column of that width."""
    for name, value in facts.items():
        if value:
            click.echo(f"{name:<{width}} {escape(str(value))}")


def moment(value: datetime | None, zone: tzinfo) -> str:
    """A moment for people, to the second, in the configured zone; `-` for none."""
    return value.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") if value else "-"


def duration(seconds: float | None) -> str:
    """A length of time for people: `12 ms`, `3.4 s`, `2m05s`, `1h02m`; `-` for none."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
