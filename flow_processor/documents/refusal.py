"""What a text may ask for, and how it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Loc = tuple[str | int, ...]
"""Where in a document: `("steps", 1, "rest", "uri")`."""
Place = tuple[int, int]
"""Line and column, both 1-based."""


@dataclass(frozen=True)
class Limits:
    """How much a text may ask for."""

    max_bytes: int
    """Size of the text in UTF-8, in bytes."""
    max_depth: int
    """Levels of nesting, aliases followed."""
    max_aliases: int
    """How many `*alias` a text may hold."""
    max_alias_nodes: int
    """How many values all its aliases together may stand for."""


class Refused(Exception):
    """The text cannot be taken. Becomes a SpecError where the file's name is known."""

    def __init__(self, code: str, message: str, mark: Any = None, *, hint: str | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.place: Place | None = place_of(mark)
        self.hint = hint


class DuplicateKey(Refused):
    """A key stands twice in one mapping."""


def place_of(mark: Any) -> Place | None:
    """Line and column of a PyYAML mark."""
    return None if mark is None else (mark.line + 1, mark.column + 1)
