"""data/defaults.yml as it is now, and the version of it that is in force."""

from __future__ import annotations

from pathlib import Path

from flow_processor.clock import Clock
from flow_processor.errors import FlowNotFound, Problem, SpecError
from flow_processor.flow_files.defaults import Defaults, parse_defaults
from flow_processor.flow_files.folder import FlowFolder
from flow_processor.flow_files.versions import FileVersions


class DefaultsFile:
    """Follows the file as flow files are followed: edits are taken over once they have settled, and a broken file
    keeps the last good version in force. Not thread safe."""

    def __init__(self, file: Path, clock: Clock):
        folder = FlowFolder(file.parent)
        self._versions: FileVersions[Defaults] = FileVersions(
            file.name, folder, clock, lambda raw, name: parse_defaults(raw, folder.shown(name))
        )

    def in_force(self) -> Defaults | None:
        """What counts; the same object until it changes. None without a file. Raises SpecError if there has never been
        a good version."""
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
