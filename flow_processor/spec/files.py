"""When a flow is started by files that come into a folder or change there."""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import takewhile
from typing import Annotated

from pydantic import AfterValidator, Field

from flow_processor.errors import PathRefused
from flow_processor.paths import components
from flow_processor.spec.base import Pause
from flow_processor.spec.queue import AttemptsSpec

WILDCARDS = "*?["
"""Characters that make a name in a pattern stand for many."""

FILES_OF_A_FOLDER = "its files are '{0}/*', those of its folders too '{0}/**'"

_CLOSED = re.compile(r"\[!?\]?[^\]]*\]")
"""One of several characters: `[ab]`."""


class After(StrEnum):
    """What becomes of a file when its run has ended."""

    KEEP = "keep"
    MOVE = "move"
    DELETE = "delete"


def _pattern(value: str) -> str:
    if value.endswith(("/", "\\")):
        raise ValueError(f"names a folder; {FILES_OF_A_FOLDER.format('FOLDER')}")
    try:
        parts = components(value, what="path")
    except PathRefused as error:
        raise ValueError(f"must be a path inside the data folder: {error.message}") from None
    for part in parts:
        if "**" in part and part != "**":
            raise ValueError(f"'**' stands alone between slashes, not in a name like {part!r}")
        if "[" in _CLOSED.sub("", part):
            raise ValueError(f"'[' has no ']' in {part!r}; the character itself is '[[]'")
        if part.startswith(".") and not set(part) & set(WILDCARDS):
            raise ValueError(f"{part!r} is hidden: hidden files and folders start nothing")
    return "/".join([*parts, "*"] if parts[-1] == "**" else parts)


FilePath = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_pattern)]
"""A path below the data folder in which names may have wildcards, in its one spelling."""


class FilesSpec(AttemptsSpec):
    """Each new or changed file that the pattern names starts the flow; short: `files: PATTERN`. What is said of items
    goes for files."""

    path: FilePath
    """Which files, below the data folder: `input/*.csv`. `*` stands for any characters of a name, `?` for one, `[ab]`
    for one of these, and `**` between slashes for any folders, or none. None of them stands for what begins with a
    dot, for folders called `done` or `failed`, or for what is private to the spooler."""
    settle_seconds: Pause = 1
    """A file is taken when it has not changed for so long, in seconds, and nobody has it open for writing."""
    after: After = After.KEEP
    """What becomes of the file when its run has ended. `keep`: it stays, and starts nothing again until it changes.
    `move`: it goes to `done/` beside it, or to `failed/` with a file that tells why. `delete`: it is deleted, or goes
    to `failed/`. Where several flows watch it: when all of their runs have ended."""

    @property
    def is_one_name(self) -> bool:
        """Does it name one path, without wildcards?"""
        return not set(self.path) & set(WILDCARDS)

    @property
    def folder(self) -> str:
        """The folder in front of the first wildcard, below the data folder; `""` for the data folder itself."""
        folders = self.path.split("/")[:-1]
        plain = takewhile(lambda name: not set(name) & set(WILDCARDS), folders)
        return "/".join(plain)
