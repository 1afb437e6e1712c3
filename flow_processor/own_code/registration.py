"""The decorators of own code. What they name is collected while a file is loaded; at other times they do nothing, so
that own code can be imported and tested like any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, overload

Function = TypeVar("Function", bound=Callable[..., Any])

_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


class Kind(StrEnum):
    """What a function is for."""

    CALLER = "caller"
    """The `python` step calls it."""
    STEP = "step"
    """It runs a step type."""
    FILTER = "filter"
    """Templates use it."""

    @property
    def folder(self) -> str:
        """Where its file lies, below the data folder."""
        return f"{self.value}s"


@dataclass(frozen=True)
class Registered:
    """A function under its name."""

    kind: Kind
    name: str
    function: Callable[..., Any]
    repeatable: bool = False
    """Of a step type: may a step whose outcome is unknown simply be run again?"""


_collected: ContextVar[list[Registered] | None] = ContextVar("collected", default=None)


@contextmanager
def collecting() -> Iterator[list[Registered]]:
    """What is registered in this block."""
    found: list[Registered] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


@overload
def caller(function: Function) -> Function: ...
@overload
def caller(*, name: str | None = None) -> Callable[[Function], Function]: ...
def caller(function: Any = None, *, name: str | None = None) -> Any:
    """A function that flows call by the step type `python`; `name`: under another name than its own."""
    return _register(Kind.CALLER, function, name)


@overload
def step(function: Function) -> Function: ...
@overload
def step(*, name: str | None = None, repeatable: bool = False) -> Callable[[Function], Function]: ...
def step(function: Any = None, *, name: str | None = None, repeatable: bool = False) -> Any:
    """A step type: `def invoice(options: InvoiceOptions, context: StepContext)`, used as `type: invoice`.

    `repeatable`: a step whose worker died may simply be run again.
    """
    return _register(Kind.STEP, function, name, repeatable)


@overload
def template_filter(function: Function) -> Function: ...
@overload
def template_filter(*, name: str | None = None) -> Callable[[Function], Function]: ...
def template_filter(function: Any = None, *, name: str | None = None) -> Any:
    """A filter of templates and conditions: `{{ value | initials }}` calls `initials(value)`."""
    return _register(Kind.FILTER, function, name)


def _register(kind: Kind, function: Any, name: str | None, repeatable: bool = False) -> Any:
    def register(decorated: Function) -> Function:
        known = name or str(getattr(decorated, "__name__", ""))
        if not _NAME.fullmatch(known):
            raise ValueError(f"{known!r} is no name for a {kind.value}: small letters, digits and '_'")
        found = _collected.get()
        if found is not None:
            found.append(Registered(kind, known, decorated, repeatable))
        return decorated

    return register if function is None else register(function)
