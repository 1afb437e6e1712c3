"""Options that several commands share, and the settings they lead to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import click

if TYPE_CHECKING:
    from flow_processor.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def data_path_option(command: _Command) -> _Command:
    """`--data-path DIR`, which beats DATA_PATH."""
    return click.option(
        "--data-path",
        metavar="DIR",
        type=click.Path(file_okay=False, path_type=Path),
        help="The data folder; default: DATA_PATH, else ./data.",
    )(command)


def json_option(command: _Command) -> _Command:
    """`--json`, passed as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")(command)


def load_settings(data_path: Path | None, **overrides: Any) -> Settings:
    """The settings from environment and config.yml, with what the command line says on top.

    Raises SettingsError with all problems at once.
    """
    from flow_processor.settings import Settings

    given = {"data_path": data_path, **overrides}
    return Settings.load(
        os.environ, overrides={key: value for key, value in given.items() if value is not None}
    )


class Since(click.ParamType[datetime]):
    """A moment given as an age (`90s`, `30m`, `2h`, `7d`, `1w`) or as an ISO date or time."""

    name = "AGE|TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, aware if it was an age; an ISO time without zone is left for `in_zone`."""
        if isinstance(value, datetime):
            return value
        if age := _DURATION.fullmatch(str(value).strip().lower()):
            return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: float(age[1])})
        try:
            return datetime.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(f"{value!r} is neither an age like 90s, 30m, 2h, 7d nor a time like 2026-11-21T07:40")


def in_zone(moment: datetime | None, zone: ZoneInfo) -> datetime | None:
    """The moment, read in the configured zone if it names none."""
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=zone)


def flow_path(given: str, flows_path: Path) -> str:
    """A flow as people name it, as a path below the flows folder.

    `hello`, `sub/hello.yml` and, from the shell's completion, `data/flows/sub/hello.yml` are all understood.
    What is not found stays as it is, for the error message.
    """
    inside = Path(given)
    if not inside.is_absolute():
        names = (given, f"{given}.yml", f"{given}.yaml")
        if any((flows_path / name).is_file() for name in names):
            return inside.as_posix()
    here = Path(os.path.abspath(given))  # noqa: PTH100  resolve() would follow a symlink in the flows folder
    if here.is_relative_to(flows_path) and here.is_file():
        return here.relative_to(flows_path).as_posix()
    return given
