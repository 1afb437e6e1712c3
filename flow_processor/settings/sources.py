"""Where each setting's value comes from, and the problems met on the way, with file and line or variable."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flow_processor.documents import Document, parse, problem_at, said_of
from flow_processor.errors import Problem, SpecError
from flow_processor.settings.config_file import (
    ApiSettings,
    AutostartEntry,
    OwnCodeSettings,
    ShellSettings,
    read_autostart,
    read_config,
)
from flow_processor.settings.variables import BY_KEY, VARIABLES, PathText, Variable
from flow_processor.spec.docker import DockerSettings
from flow_processor.spec.queue_settings import QueuesSettings
from flow_processor.spec.retention import RetentionSettings

_NOTHING = Document("config.yml", None)


class Sources:
    """Overrides, environment, config.yml and defaults, in this order. Reading collects `problems`."""

    def __init__(self, environ: Mapping[str, str], overrides: Mapping[str, Any], base: Path):
        # An empty or blank variable (`API_PORT=` in a compose file) counts as not set.
        self._environ = {
            name: text.strip() for name, text in environ.items() if name in _NAMES and text.strip()
        }
        self._overrides = {key: value for key, value in overrides.items() if value is not None}
        self._base = base
        self.problems: list[Problem] = []
        self.api = ApiSettings()
        self.retention = RetentionSettings()
        self.own_code = OwnCodeSettings()
        self.shell = ShellSettings()
        self.docker = DockerSettings()
        self.queues = QueuesSettings()
        self.autostart: tuple[AutostartEntry, ...] = ()
        self.autostart_problems: tuple[Problem, ...] = ()
        for key in self._overrides.keys() - BY_KEY.keys():
            self.problems.append(Problem("unknown_key", "options", None, None, key, "is no setting"))
        self._config: Any = None
        self._document = _NOTHING
        self.config_path = self._config_path()
        self._read_config()

    def values(self) -> dict[str, Any]:
        """A value for every variable of the table; the default for one that is wrong."""
        values = {variable.key: self._value(variable) for variable in VARIABLES}
        data_path = self._base / _home(values["data_path"])
        values["data_path"] = _absolute(data_path)
        values["config_file"] = self.config_path
        for variable in VARIABLES:
            if variable.kind is PathText and variable.name not in ("DATA_PATH", "CONFIG_FILE"):
                values[variable.key] = self._path(variable, values[variable.key], data_path)
        if values["database_url"] is None:
            values["database_url"] = f"sqlite:///{(values['data_path'] / 'octospool.db').as_posix()}"
        return values

    def problem(
        self, key: str, message: str, *, code: str = "invalid_value", hint: str | None = None
    ) -> Problem:
        """A problem with the setting `key`, placed where its value stands."""
        if key in self._overrides:
            return Problem(code, "options", None, None, key, message, hint)
        if BY_KEY[key].name in self._environ or not self._is_in_config(key):
            return Problem(code, "environment", None, None, BY_KEY[key].name, message, hint)
        return problem_at(self._document, (key,), code, message, hint=hint, of_value=True)

    def config_problem(self, loc: tuple[str | int, ...], message: str) -> Problem:
        """A problem with what stands at this place of config.yml."""
        return problem_at(self._document, loc, "invalid_value", message, of_value=True)

    def _is_in_config(self, key: str) -> bool:
        return isinstance(self._document.data, dict) and self._document.data.get(key) is not None

    def _config_path(self) -> Path:
        given = self._given("config_file")
        if given is not None:
            return _absolute(self._base / _home(given))
        data = self._given("data_path") or BY_KEY["data_path"].default
        return _absolute(self._base / _home(data) / BY_KEY["config_file"].default)

    def _given(self, key: str) -> Any:
        return self._overrides.get(key, self._environ.get(BY_KEY[key].name))

    def _read_config(self) -> None:
        try:
            raw = self.config_path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            if self._given("config_file") is not None:
                self.problems.append(self.problem("config_file", f"there is no file {self.config_path}"))
            return  # without its name given, a missing file means "nothing configured"
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            message = f"cannot be read: {getattr(error, 'strerror', None) or error}"
            self.problems.append(Problem("settings_invalid", str(self.config_path), None, None, "", message))
            return
        try:
            self._document = parse(raw, file=self.config_path.name, code="settings_invalid")
            self.autostart, self.autostart_problems = read_autostart(self._document)
            self._config = read_config(self._document)
            self.api = self._config.api or self.api
            self.retention = self._config.retention or self.retention
            self.own_code = self._config.own_code or self.own_code
            self.shell = self._config.shell or self.shell
            self.docker = self._config.docker or self.docker
            self.queues = QueuesSettings(by_name=self._config.queues or {})
        except SpecError as error:
            self.problems += error.problems

    def _value(self, variable: Variable) -> Any:
        given = self._given(variable.key)
        if given is None:
            configured = getattr(self._config, variable.key, None)
            return variable.default if configured is None else configured
        if isinstance(given, Path):
            given = str(given)
        try:
            return TypeAdapter(variable.kind).validate_python(given)
        except ValidationError as error:
            message, hint = said_of(error, show_value=not variable.is_secret)
            self.problems.append(self.problem(variable.key, message, hint=hint))
            return variable.default

    def _path(self, variable: Variable, value: Any, data_path: Path) -> Path | None:
        if value is None:
            return None
        is_set = self._given(variable.key) is not None or self._is_in_config(variable.key)
        root = self._base if is_set else data_path
        return _absolute(root / _home(value))


_NAMES = frozenset(variable.name for variable in VARIABLES)


def _home(path: str | Path) -> Path:
    """With `~` and `~user` as the home folder, where there is one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  Path.expanduser raises where there is none


def _absolute(path: Path) -> Path:
    """Without `..` and the like; symlinks are kept as they are."""
    return Path(os.path.normpath(path))
