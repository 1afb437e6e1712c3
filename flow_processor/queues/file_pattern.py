"""Which files a pattern names: they are looked for below a folder, and no symlink is followed."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flow_processor.errors import PathRefused
from flow_processor.paths import components
from flow_processor.spec.files import WILDCARDS

TARGETS = ("done", "failed")
"""Folders that files are moved to: no wildcard stands for them, or each file would be taken again and again."""

UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", "~")
"""Ends of the names of files that somebody still writes."""

Refuse = Callable[[str, str], None]
"""Told the path of what is named and cannot be taken, and why."""


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What tells one content of a file from another without reading it."""

    mtime_ns: int
    size: int
    """In bytes."""
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileVersion:
        """The version that a stat tells of."""
        return cls(found.st_mtime_ns, found.st_size, found.st_ino)


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file that a pattern names, as it was when it was looked at."""

    path: str
    """Below the data folder, `/` separates."""
    version: FileVersion
    changed_at: float
    """When its content, name or rights last changed, in seconds since 1970."""


class FilePattern:
    """A pattern such as `input/**/*.csv` over one folder."""

    def __init__(self, pattern: str, folder: Path, *, private: Sequence[Path]) -> None:
        """`folder` is what the pattern is relative to; nothing that is `private` is looked at."""
        self._parts = [_Part(text) for text in pattern.split("/")]
        self._folder = folder
        self._private = private

    def look(self, refuse: Refuse) -> Iterator[SeenFile]:
        """The files that are there now, in no order."""
        yield from self._below("", self._reached({0}), refuse)

    def names(self, path: str) -> bool:
        """Does the pattern name a file that is called so?"""
        reached = self._reached({0})
        *folders, name = path.split("/")
        for folder in folders:
            reached = self._after(reached, folder, is_folder=True)
        return self._is_named(reached, name)

    def _below(self, prefix: str, reached: frozenset[int], refuse: Refuse) -> Iterator[SeenFile]:
        """Files in the folder `prefix` (with its slash), which the pattern has led to, and below."""
        folders = []
        try:
            for entry in self._entries(prefix, reached):
                path = prefix + entry.name
                if self._is_named(reached, entry.name) and not self._is_private(path):
                    seen = _seen(entry, path, refuse)
                    if seen is not None:
                        yield seen
                deeper = self._after(reached, entry.name, is_folder=True)
                if deeper and self._is_folder(entry, path, refuse):
                    folders.append((f"{path}/", deeper))
        except OSError as error:
            refuse(prefix.rstrip("/") or ".", f"cannot be looked into: {error.strerror or error}")
        for folder, deeper in folders:
            yield from self._below(folder, deeper, refuse)
