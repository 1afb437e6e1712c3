"""What own code prints goes to the run's log, also where several steps run beside each other."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

MAX_LINES = 20_000
"""Of a step that prints more, the first ones are logged."""


class _Lines:
    """Cuts what is printed into lines."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = ""
        self._left = MAX_LINES

    def write(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._tell(line)

    def close(self) -> None:
        if self._rest:
            self._tell(self._rest)

    def _tell(self, line: str) -> None:
        self._left -= 1
        if self._left >= 0:
            self._on_line(line)
        elif self._left == -1:
            self._on_line(f"further lines are not logged: there are more than {MAX_LINES}")


_lines: ContextVar[_Lines | None] = ContextVar("lines", default=None)


class _Printed(io.TextIOBase):
    """Stands in for sys.stdout: each step's thread prints into its own lines, all else where it went before."""

    def __init__(self, otherwise: TextIO) -> None:
        super().__init__()
        self._otherwise = otherwise

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        lines = _lines.get()
        if lines is None:
            return self._otherwise.write(text)
        lines.write(text)
        return len(text)

    def flush(self) -> None:
        self._otherwise.flush()


def take_prints() -> None:
    """From now on `printing_to` works in this process."""
    if not isinstance(sys.stdout, _Printed):
        sys.stdout = _Printed(sys.stdout)


@contextmanager
def printing_to(on_line: Callable[[str], None]) -> Iterator[None]:
    """Give each line that this thread prints to `on_line`."""
    lines = _Lines(on_line)
    token = _lines.set(lines)
    try:
        yield
    finally:
        _lines.reset(token)
        lines.close()
