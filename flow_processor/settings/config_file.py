"""config.yml: settings that may also stand in the environment, and those that stand only here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from flow_processor.documents import Document, problem_at, validate
from flow_processor.errors import Problem, SpecError
from flow_processor.settings.tokens import TokenSpec
from flow_processor.settings.variables import VARIABLES
from flow_processor.spec.base import QueueName, RelativePath, Seconds, Spec
from flow_processor.spec.cron import CronRule
from flow_processor.spec.docker import DockerSettings
from flow_processor.spec.queue_settings import QueueSettings
from flow_processor.spec.retention import RetentionSettings, bytes_of


def _checked_size(value: int | str) -> int:
    if isinstance(value, str) or not 1024 <= value <= 1024**3:
        raise ValueError("must be a size from 1 KiB to 1 GiB, in bytes or like '2 MiB'")
    return value


def _origin(value: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", value):
        raise ValueError("must be an origin like https://app.example.org (no path; '*' is not allowed)")
    return value.lower()


class ApiSettings(Spec):
    """The API's own settings, under `api:` in config.yml."""

    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    """Web origins whose pages may call the API from a browser; without any, no CORS header is sent."""
    allowed_hosts: tuple[str, ...] = ()
    """Further host names under which a daemon on loopback may be called: those of a reverse proxy in front of it.
    Others are refused, because a web page could send its visitors' browsers here under a name of its own."""
    max_body: Annotated[int | str, BeforeValidator(bytes_of), AfterValidator(_checked_size)] = 1024 * 1024
    """Largest request body, in bytes or like `2 MiB`; a larger one is refused with 413."""
    threads: Annotated[int, Field(ge=1, le=256)] = 16
    """Threads that answer requests; a request that waits for a run's outcome takes one."""
    edit_flows: bool = False
    """May API_TOKEN change flow files over the API? Who writes flows writes programs. A token with the role `author`
    may in any case."""
    tokens: tuple[TokenSpec, ...] = ()
    """Tokens beside API_TOKEN, for others and for less."""


class OwnCodeSettings(Spec):
    """Your own Python, under `own_code:` in config.yml."""

    enabled: bool = True
    """May flows use what is in callers/, steps/ and filters/ of the data folder? Without it nothing there is read."""


class ShellSettings(Spec):
    """The shell step, under `shell:` in config.yml."""

    enabled: bool = True
    """May flows run programs by the step type `shell`?"""


class AutostartSpec(Spec):
    """A flow that is added to the scheduler at start, perhaps with a rule that replaces its own."""

    path: RelativePath
    """The flow file, relative to FLOWS_PATH."""
    cron: str | None = None
    """Replaces the flow's own schedule."""
    every_seconds: Annotated[float, Field(ge=1, le=366 * 86_400)] | None = None
    """Replaces the flow's own schedule: seconds between two starts."""
    timeout_seconds: Seconds | None = None
    """Time limit of the runs started by this entry, in seconds."""
    params: dict[str, Any] | None = None
    """Values for the flow's parameters, on top of those of its schedule."""

    @model_validator(mode="after")
    def _one_rule(self) -> AutostartSpec:
        if self.cron is not None and self.every_seconds is not None:
            raise ValueError("give either 'cron' or 'every_seconds'")
        if self.cron is not None:
            CronRule.parse(self.cron)
        return self


@dataclass(frozen=True)
class AutostartEntry:
    """One entry of `autostart`."""

    path: str
    """The flow file, relative to FLOWS_PATH."""
    cron: str | None = None
    every_seconds: float | None = None
    timeout_seconds: float | None = None
    params: dict[str, Any] | None = None
    line: int | None = None
    """Where in config.yml it stands."""


_FROM_TABLE: dict[str, Any] = {
    variable.key: (variable.kind | None, Field(default=None, description=variable.sentence))
    for variable in VARIABLES
    if variable.name != "CONFIG_FILE"
}


class _Base(Spec):
    """What config.yml may say."""

    autostart: Any = None
    """Flows that are added to the scheduler at start: paths, or mappings with `path` and a rule."""
    api: ApiSettings | None = None
    """Settings of the API that stand only here."""
    retention: RetentionSettings | None = None
    """How long runs are kept."""
    own_code: OwnCodeSettings | None = None
    """Is your own Python used?"""
    shell: ShellSettings | None = None
    """May flows run programs?"""
    docker: DockerSettings | None = None
    """May flows run containers?"""
    queues: dict[QueueName, QueueSettings] | None = None
    """How much queues take and how fast they are worked off: by name, and `defaults` for all."""


ConfigFile: type[Any] = create_model("ConfigFile", __base__=_Base, __doc__=_Base.__doc__, **_FROM_TABLE)
"""The spec of config.yml: all variables in lower case, `autostart`, `api`, `retention`,
`own_code`, `shell`, `docker` and `queues`."""


def read_config(document: Document) -> Any:
    """The file's settings; an empty file sets nothing. Raises SpecError; `autostart` is not looked at."""
    if document.data is None:
        return ConfigFile()
    secret_keys = [*(variable.key for variable in VARIABLES if variable.is_secret), "token", "sha256"]
    return validate(ConfigFile, document, code="settings_invalid", secret_keys=secret_keys)


def read_autostart(document: Document) -> tuple[tuple[AutostartEntry, ...], tuple[Problem, ...]]:
    """The good entries of `autostart`, and what is wrong with the others."""
    given = document.data.get("autostart") if isinstance(document.data, dict) else None
    if given is None:
        return (), ()
    if not isinstance(given, list):
        problem = problem_at(
            document, ("autostart",), "autostart_invalid", "must be a list", hint="begin each entry with '- '"
        )
        return (), (problem,)
    entries: list[AutostartEntry] = []
    problems: list[Problem] = []
    for index, item in enumerate(given):
        data = {"path": item} if isinstance(item, str) else item
        try:
            part = document.part(("autostart", index), data)
            spec = validate(AutostartSpec, part, code="autostart_invalid")
        except SpecError as error:
            problems += error.problems
            continue
        if any(entry.path == spec.path for entry in entries):
            message = f"the flow '{spec.path}' is listed twice; the first entry counts"
            problems.append(problem_at(part, (), "autostart_invalid", message))
            continue
        line, _ = part.position(()) or (None, None)
        rule = (spec.cron, spec.every_seconds)
        entries.append(AutostartEntry(spec.path, *rule, spec.timeout_seconds, spec.params, line))
    return tuple(entries), tuple(problems)
