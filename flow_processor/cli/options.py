"""Options that several commands share, and the settings they lead to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import click

from flow_processor.errors import SettingsError
from flow_processor.run import LOWER_BOUNDS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from flow_processor.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
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


def params_options(command: _Command) -> _Command:
    """`--param K=V`, passed as `pairs`, and `--params JSON|@FILE|@-`, passed as `params`: see `values.params_given`."""
    whole = click.option(
        "--params", metavar="JSON|@FILE|@-", help="Parameters as a JSON object; --param wins."
    )
    one = click.option(
        "--param", "-p", "pairs", multiple=True, metavar="K=V", help="A parameter; K:=V for JSON. Repeatable."
    )
    return one(whole(command))


def load_settings(data_path: Path | None, **overrides: Any) -> Settings:
    """The settings from environment and config.yml, with what the command line says on top.

    Raises SettingsError with all problems at once.
    """
    from flow_processor.settings import Settings

    return Settings.load(os.environ, overrides={"data_path": data_path, **overrides})


def existing_settings(data_path: Path | None) -> Settings:
    """The settings of a data folder that is there: only `serve` and `init` make one.

    Raises SettingsError, also where there is none.
    """
    settings = load_settings(data_path)
    if not settings.data_path.is_dir() and not settings.flows_path.is_dir():
        raise SettingsError(
            f"there is no data folder {settings.data_path}. Name it with --data-path or DATA_PATH, or make one: "
            f'octospool init "{settings.data_path}"',
            code="no_data_folder",
        )
    return settings


def start_log(settings: Settings, *, to_stderr: bool = True) -> None:
    """Send the product's log where the settings say. Raises SettingsError if its file cannot be written."""
    from flow_processor import logs

    try:
        logs.configure(
            settings.log_path,
            level=settings.log_level,
            format=settings.log_format,
            timezone=settings.zone,
            to_stderr=to_stderr,
        )
    except OSError as error:
        raise SettingsError(
            f"LOG_PATH: the log in {settings.log_path} cannot be written ({error.strerror or error}); make the folder "
            "writable, or name another one",
            code="folder_unusable",
        ) from error


class ListByDefault(click.Group):
    """`octospool runs --since 2h` means `octospool runs list --since 2h`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Name `list` where no command is named."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


class Since(click.ParamType[datetime]):
    """A moment given as an age (`90s`, `30m`, `2h`, `7d`, `1w`) or as an ISO date or time."""

    name = "AGE|TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, aware if it was an age; an ISO time without zone is left for `in_zone`."""
        if isinstance(value, datetime):
            return value
        try:
            if age := _DURATION.fullmatch(str(value).strip().lower()):
                return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: float(age[1])})
            moment = datetime.fromisoformat(str(value).strip())
            return moment if moment.tzinfo is None else moment.astimezone(UTC)
        except OverflowError:
            self.fail(f"{value!r} is outside of the years 1 to 9999")
        except ValueError:
            self.fail(f"{value!r} is neither an age like 90s, 30m, 2h, 7d nor a time like 2026-11-21T07:40")


class Length(click.ParamType[float]):
    """A length of time: seconds, or like `90s`, `30m`, `2h`, `7d`."""

    name = "LENGTH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        text = str(value).strip().lower()
        if found := _DURATION.fullmatch(text):
            return timedelta(**{_UNITS[found[2]]: float(found[1])}).total_seconds()
        if not _NUMBER.fullmatch(text):
            self.fail(f"{value!r} is no length of time like 90, 90s, 30m, 2h or 7d")
        return float(text)


class Several(click.ParamType[tuple[str, ...]]):
    """Texts separated by commas; only those of `choices`, if there are any."""

    name = "TEXT"

    def __init__(self, choices: Iterable[str] = ()) -> None:
        names = [str(one) for one in choices]
        self._one: click.ParamType[str] = click.Choice(names) if names else click.STRING

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The texts."""
        parts = (part.strip() for part in str(value).split(","))
        return tuple(self._one.convert(part, param, ctx) for part in parts if part)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """The choices, for the help."""
        return self._one.get_metavar(param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The choices that begin so."""
        return self._one.shell_complete(ctx, param, incomplete)


def joined(
    _ctx: click.Context, _param: click.Parameter, value: tuple[tuple[str, ...], ...]
) -> tuple[str, ...]:
    """What all `Several` of a repeatable option hold."""
    return tuple(text for texts in value for text in texts)


def check_bounds(given: Mapping[str, Any]) -> None:
    """Refuse bounds between which no run can be: an empty list would be read as "nothing happened"."""
    for upper, lower in LOWER_BOUNDS.items():
        above, below = given.get(upper), given.get(lower)
        if above is not None and below is not None and above <= below:
            names = (f"--{name.replace('_', '-')}" for name in (upper, lower))
            raise click.UsageError("{} must be above {}, or no run fits".format(*names))


def in_zone(moment: datetime | None, zone: ZoneInfo) -> datetime | None:
    """The moment, read in the configured zone if it names none."""
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=zone)


def doubt_options(command: _Command) -> _Command:
    """What a person says of steps in doubt."""
    for option in (
        click.option("--value", metavar="JSON|@FILE|@-", help="With --mode value: the step's result."),
        click.option(
            "--step", metavar="PATH", help="Which step, where several are in doubt; default: all of them."
        ),
        click.option(
            "--mode",
            type=click.Choice(["rerun", "skip", "value"]),
            help="What becomes of the step that was in doubt: done again, left out, or --value is its result.",
        ),
    ):
        command = option(command)
    return command
