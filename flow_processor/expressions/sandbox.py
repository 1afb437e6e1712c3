"""The Jinja environments in which templates and conditions are evaluated."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, ChainableUndefined, StrictUndefined, Undefined
from jinja2.environment import Environment
from jinja2.exceptions import SecurityError, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from flow_processor.paths import inside, open_regular

FILE_MARK = "template:"
"""Stands before the name of a template file in tracebacks, to tell it from Python's own files."""

_GLOBALS = ("range", "dict", "namespace", "cycler", "joiner")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja over plain JSON data: nothing but values, their text and list methods, filters and tests.

    In `a.items` a key of the mapping comes before the mapping's own method of that name.
    """

    def __init__(self, *, undefined: type[Undefined], loader: BaseLoader | None = None):
        # Not optimized: folding constants at compile time breaks on NaN, and evaluates before the first run.
        super().__init__(
            undefined=undefined, loader=loader, autoescape=False, finalize=_shown, optimized=False
        )
        self.globals = {name: self.globals[name] for name in _GLOBALS}
        self.policies["json.dumps_kwargs"] = {"sort_keys": False}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A key of a mapping first, then what the sandbox allows."""
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse at once, also where an undefined value would be tolerated."""
        raise SecurityError(f"access to attribute '{attribute}' of {type(obj).__name__} is not allowed")


def _shown(value: Any) -> Any:
    """What is put into a text: a value, not the name and address of a method that was not called."""
    if callable(value) and not isinstance(value, Undefined):
        raise TypeError(f"a {type(value).__name__} is no value; was it meant to be called, with ()?")
    return value


class Lenient(ChainableUndefined):
    """An undefined name in a condition: empty, false, of length 0; comparing it is never an error."""

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:  # type: ignore[override]  # the base only ever raises
        return False

    __le__ = __gt__ = __ge__ = __lt__  # type: ignore[assignment]


class TemplateFiles(BaseLoader):
    """Templates below one folder; nothing outside of it is reached, nor anything that is no regular file."""

    def __init__(self, folder: Path):
        self._folder = folder

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """Text, a name for tracebacks, and whether the file is still the one that was read.

        Raises TemplateNotFound, PathRefused.
        """
        path = inside(self._folder, template, what="template")
        try:
            with open_regular(path, "rb", below=self._folder) as file:
                status = os.fstat(file.fileno())
                text = file.read().decode("utf-8")
        except OSError as error:
            raise TemplateNotFound(template) from error
        read = _signs(status)
        return text, FILE_MARK + template, lambda: _signs_of(path) == read


def _signs(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _signs_of(path: Path) -> tuple[int, int, int] | None:
    try:
        return _signs(path.stat())
    except OSError:
        return None


def strict(folder: Path | None) -> Sandbox:
    """For templates: an undefined name is an error."""
    return Sandbox(undefined=StrictUndefined, loader=TemplateFiles(folder) if folder is not None else None)


def lenient() -> Sandbox:
    """For conditions: an undefined name is empty."""
    return Sandbox(undefined=Lenient)
