"""data/defaults.yml as it is now, and the version of it that is in force."""

from __future__ import annotations

from pathlib import Path

from flow_processor.clock import Clock
from flow_processor.errors import FlowNotFound, Problem, SpecError
from flow_processor.flow_files.defaults import Defaults, parse_defaults
from flow_processor.flow_files.folder import FlowFolder
from flow_processor.flow_files.versions import FileVersions


class _OneFile(FlowFolder):
    """The folder of a file that need not be there: nobody looks for one with a name like it."""

    def shown(self, name: str) -> str:
        """The file as people know it: it lies in the data folder itself."""
        return name

    def not_found(self, name: str) -> FlowNotFound:
        """The error for a file that is not there."""
        return FlowNotFound(f"there is no file {self.shown(name)}")


class DefaultsFile:
    """Follows the file as flow files are followed: edits are taken over once they have settled, and a broken file
    keeps the last good version in force. Not thread safe."""

    def __init__(self, file: Path, clock: Clock):
        self._name = file.name
        self._folder = folder = _OneFile(file.parent)
        self._versions: FileVersions[Defaults] = FileVersions(
            file.name, folder, clock, lambda raw, name: parse_defaults(raw, folder.shown(name))
        )

    def in_force(self) -> Defaults | None:
        """What counts; the same object until it changes. None without a file. Raises SpecError if there has never been
        a good version."""
        if self._versions.in_force is None and self._folder.stamp(self._name) is None:
            return None  # as most data folders are; every launch asks
        try:
            return self._versions.launchable()
        except FlowNotFound:
            return None

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the file as it lies there."""
        try:
            self._versions.current()
        except FlowNotFound:
            return ()
        except SpecError as error:
            return error.problems
        return ()
