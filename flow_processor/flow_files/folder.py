"""The flows folder as a file system: finding, naming, reading and listing flow files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flow_processor.documents import MAX_BYTES, did_you_mean
from flow_processor.errors import FlowNotFound, InvalidRequest, PathRefused, Problem, SpecError
from flow_processor.paths import components, inside, open_regular

SUFFIXES = (".yml", ".yaml")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one state of a file from another without reading it."""

    mtime_ns: int
    ctime_ns: int
    """Catches an edit in place whose mtime was set back (`cp -p`, `touch -r`)."""
    size: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """The stamp of a stat."""
        return cls(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


@dataclass(frozen=True, slots=True)
class Read:
    """The content of a flow file."""

    raw: bytes
    stamp: Stamp
    """Taken before reading."""
    is_steady: bool
    """False: the file changed while it was read."""


class FlowFolder:
    """Files *.yml and *.yaml below one folder; hidden ones are not seen."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._prefix = f"{folder}/"

    def name_of(self, path: str) -> str:
        """The path in its one spelling, with its suffix: `./sub/a` -> `sub/a.yml`.

        Raises InvalidRequest (`path_refused`) for a path that leaves the folder. The file need not exist.
        """
        try:
            parts = components(path, what="flow")
        except PathRefused as error:
            raise InvalidRequest(error.message, code=error.code, details=error.details) from error
        plain = "/".join(parts)
        if path.endswith(("/", "\\")):
            raise self.not_found(path)
        if plain.endswith(SUFFIXES):
            return plain
        found = [plain + suffix for suffix in SUFFIXES if (self.folder / (plain + suffix)).exists()]
        return found[0] if found else plain + SUFFIXES[0]

    def file_of(self, name: str) -> Path:
        """The absolute path of the file. Raises InvalidRequest (`path_refused`), FlowNotFound for hidden ones."""
        if any(part.startswith(".") for part in name.split("/")):
            raise self.not_found(name)
        try:
            return inside(self.folder, name, what="flow")
        except PathRefused as error:
            raise InvalidRequest(error.message, code=error.code, details=error.details) from error

    def stamp(self, name: str) -> Stamp | None:
        """The file's state; None if there is no file. Raises SpecError (`file_unreadable`).

        Every launch asks this, so the path is not confined here: nothing of the file is shown, and reading it
        (`read`) refuses a link that leads out.
        """
        if any(part.startswith(".") for part in name.split("/")):
            raise self.not_found(name)
        try:
            return Stamp.of(os.stat(f"{self._prefix}{name}"))  # noqa: PTH116  a Path costs more than the call
        except (FileNotFoundError, NotADirectoryError):
            if (self.folder / name).is_symlink():
                raise self._unreadable(name, "a link to a file that is not there") from None
            return None
        except (
            OSError
        ) as error:  # a loop of links, a name that is too long, a folder that is not ours to enter
            raise self._unreadable(name, error.strerror or str(error)) from error

    def read(self, name: str) -> Read:
        """The file's content. Raises FlowNotFound, SpecError (`file_unreadable`), InvalidRequest."""
        file = self.file_of(name)
        try:
            with open_regular(file, "rb") as stream:
                before = Stamp.of(os.fstat(stream.fileno()))
                raw = stream.read(MAX_BYTES + 1)
                after = Stamp.of(os.fstat(stream.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            raise self.not_found(name) from None
        except PathRefused as error:
            raise InvalidRequest(error.message, code=error.code, details=error.details) from error
        except OSError as error:
            raise self._unreadable(name, error.strerror or str(error)) from error
        return Read(raw, before, is_steady=before == after and len(raw) == before.size)

    def _unreadable(self, name: str, reason: str) -> SpecError:
        message = f"cannot be read: {reason}"
        problem = Problem("file_unreadable", self.shown(name), None, None, "", message)
        return SpecError([problem], code="file_unreadable")

    def parent_changed_at(self, name: str) -> float | None:
        """When something last came to or left the file's folder, seconds since 1970; None: no such folder."""
        try:
            return (self.folder / name).parent.stat().st_mtime
        except OSError:
            return None

    def scan(self) -> dict[str, Stamp]:
        """Everything below the folder that is named like a flow file, by path, sorted; also links that lead
        nowhere, and pipes, so that somebody is told of them."""
        return dict(sorted(_scan(self.folder, "")))

    def shown(self, name: str) -> str:
        """The file as people know it: `flows/sub/a.yml`."""
        return f"{self.folder.name}/{name}"

    def not_found(self, name: str) -> FlowNotFound:
        """The error for a file that is not there."""
        near = did_you_mean(name, self.scan())
        message = f"there is no flow '{name}' in {self.folder.name}/"
        return FlowNotFound(f"{message}; {near}" if near else message, details={"path": name})


def _scan(folder: Path, prefix: str) -> Iterator[tuple[str, Stamp]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # gone meanwhile, or not ours to read: there are no flows in it
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            # A link to a folder is not followed (it may lead in circles); one to a file is.
            if entry.is_dir(follow_symlinks=False):
                yield from _scan(folder / entry.name, f"{prefix}{entry.name}/")
            elif entry.name.endswith(SUFFIXES):
                yield prefix + entry.name, _stamp_of(entry.path)
        except OSError:
            continue


def _stamp_of(file: str) -> Stamp:
    # Not DirEntry.stat: on Windows it knows neither inode nor change time. Not Path.stat: it takes twice as long.
    try:
        return Stamp.of(os.stat(file))  # noqa: PTH116
    except OSError:  # a link that leads nowhere; its own state changes when it does
        return Stamp.of(os.lstat(file))
