"""Which files a pattern names: they are looked for below a folder, and no symlink is followed."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from flow_processor.errors import PathRefused
from flow_processor.paths import components
from flow_processor.spec.files import FILES_OF_A_FOLDER, WILDCARDS

TARGETS = ("done", "failed")
"""Folders that files are moved to: no wildcard stands for them, or each file would be taken again and again."""

_LINK = "is a symlink, which is not followed"

Refuse = Callable[[str, str], None]
"""Told the path of what is named and cannot be taken, and why."""


class FileVersion(NamedTuple):
    """What tells one content of a file from another without reading it."""

    mtime_ns: int
    size: int
    """In bytes."""
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileVersion:
        """The version that a stat tells of."""
        return cls(found.st_mtime_ns, found.st_size, found.st_ino)


class SeenFile(NamedTuple):
    """A file that a pattern names, as it was when it was looked at."""

    path: str
    """Below the data folder, `/` separates."""
    version: FileVersion
    changed_at: float
    """When its content, name or rights last changed, in seconds since 1970."""


class FilePattern:
    """A pattern such as `input/**/*.csv` over one folder."""

    def __init__(self, pattern: str, folder: Path, *, private: Sequence[Path] = ()) -> None:
        """`folder` is what the pattern is relative to; what is `private` is passed over."""
        self._parts = [_Part(text) for text in pattern.split("/")]
        self._folder = folder
        root = os.path.realpath(folder)
        self._private = {os.path.relpath(os.path.realpath(path), root).replace("\\", "/") for path in private}

    def look(self, refuse: Refuse) -> Iterator[SeenFile]:
        """The files that are there now, in no order."""
        yield from self._below("", self._closed({0}), refuse)

    def names(self, path: str) -> bool:
        """Does the pattern name a file that is called so?"""
        *folders, name = path.split("/")
        reached = self._closed({0})
        for folder in folders:
            reached = self._after(reached, folder)
        return len(self._parts) - 1 in reached and self._parts[-1].fits(name)

    def _below(self, prefix: str, reached: frozenset[int], refuse: Refuse) -> Iterator[SeenFile]:
        """Files in the folder `prefix` (with its slash), to which the pattern leads as far as `reached`, and below."""
        folders = []
        is_end = len(self._parts) - 1 in reached
        try:
            with os.scandir(f"{self._folder}/{prefix}") as entries:
                for entry in entries:  # perhaps 100,000 of them, twice a second
                    name = entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if deeper := self._after(reached, name):
                            folders.append((f"{prefix}{name}", deeper))
                        elif is_end and name == self._parts[-1].text:
                            refuse(prefix + name, f"is a folder; {FILES_OF_A_FOLDER.format(prefix + name)}")
                    elif is_end and self._parts[-1].fits(name):
                        if seen := self._seen(entry, prefix + name, refuse):
                            yield seen
                    elif entry.is_symlink() and self._after(reached, name):
                        refuse(prefix + name, _LINK)
        except FileNotFoundError:
            return
        except OSError as error:
            refuse(prefix.rstrip("/") or ".", f"cannot be looked into: {error.strerror or error}")
        for folder, deeper in folders:
            if folder not in self._private:
                yield from self._below(f"{folder}/", deeper, refuse)

    def _seen(self, entry: os.DirEntry[str], path: str, refuse: Refuse) -> SeenFile | None:
        """The file; None for what is none, private, or gone already."""
        if path in self._private:
            return None
        try:
            # On Windows an entry knows no inode.
            found = entry.stat(follow_symlinks=False) if os.name == "posix" else Path(entry.path).lstat()
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(found.st_mode):
            refuse(path, _LINK)
        elif not stat.S_ISREG(found.st_mode):
            refuse(path, "is not a regular file")
        elif not _is_plain(entry.name) and (wrong := _wrong_name(path)) is not None:
            refuse(path.encode("utf-8", "backslashreplace").decode(), wrong)
        else:
            return SeenFile(path, FileVersion.of(found), max(found.st_mtime, found.st_ctime))
        return None

    def _after(self, reached: frozenset[int], folder: str) -> frozenset[int]:
        """How far the pattern leads in a folder of that name; empty: not into it."""
        further = set()
        for at in reached:
            part = self._parts[at]
            if part.is_any_folders and part.fits_folder(folder):
                further.add(at)
            elif not part.is_any_folders and at < len(self._parts) - 1 and part.fits_folder(folder):
                further.add(at + 1)
        return self._closed(further)

    def _closed(self, reached: set[int]) -> frozenset[int]:
        """`**` may stand for no folder at all."""
        for at, part in enumerate(self._parts):
            if at in reached and part.is_any_folders:
                reached.add(at + 1)
        return frozenset(reached)


class _Part:
    """What stands between two slashes of a pattern."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_any_folders = text == "**"
        self._regex = re.compile(fnmatch.translate(text)) if set(text) & set(WILDCARDS) else None
        self._is_of_hidden = text.startswith(".")

    def fits(self, name: str) -> bool:
        if self._regex is None:
            return name == self.text
        return (self._is_of_hidden or not name.startswith(".")) and self._regex.match(name) is not None

    def fits_folder(self, name: str) -> bool:
        return self.fits(name) and (self._regex is None or name not in TARGETS)


def _is_plain(name: str) -> bool:
    """Is the name as most are, so that nothing of it needs a closer look?"""
    return name.isprintable() and "\\" not in name


def _wrong_name(path: str) -> str | None:
    """Why no step could read a file that is called so."""
    try:
        path.encode()
        if "\\" in path:
            return "has a backslash in its name, which separates folders in a path"
        components(path, what="file")
    except UnicodeEncodeError:
        return "has a name that is no UTF-8 text"
    except PathRefused as error:
        return f"has a name that no step can use: {error.message}"
    return None
