"""Flow files that the program itself writes: which paths it may write, whether a text is right, whole writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flow_processor.documents import MAX_BYTES
from flow_processor.errors import (
    FlowChanged,
    FlowNotFound,
    InvalidRequest,
    OctospoolError,
    PathRefused,
    Problem,
    SpecError,
    Unavailable,
)
from flow_processor.flow_files.bundle import make_bundle
from flow_processor.flow_files.folder import SUFFIXES
from flow_processor.flow_files.library import FlowLibrary
from flow_processor.flow_files.parsing import LoadedFlow
from flow_processor.flow_files.webhooks import taken_webhook
from flow_processor.own_code.manifest import OwnNames
from flow_processor.paths import remove_file, write_atomic

MAX_NAME_BYTES = 200
"""The longest name of a file or folder; file systems take 255, and a file that is being written needs some more."""

MAX_LOOKS = 3
"""So often a file is read that somebody is writing, until it stands still."""


@dataclass(frozen=True)
class FileContent:
    """A flow file as it lies there."""

    content: bytes
    modified_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A text that is right, and may become a flow file."""

    content: bytes = field(repr=False)
    flow: LoadedFlow
    names: OwnNames = field(repr=False)
    """The own code that it was checked with."""


class EditableLibrary(FlowLibrary):
    """A library that also changes flow files. What it wrote counts at once: it has no need to settle."""

    def editable(self, path: str) -> str:
        """The path in its one spelling, if a flow file may be written there.

        Raises InvalidRequest (`path_refused`): outside of the folder, hidden, a backup, no .yml, behind a symlink.
        """
        if path.endswith(("/", "\\")):
            raise _refused(path, "is the path of a folder; a flow file ends in .yml or .yaml")
        name = self._folder.name_of(path)
        parts = name.split("/")
        stem = Path(parts[-1]).stem
        for part in (*parts, stem):
            if part.startswith((".", "~", "#")) or part.endswith("~") or part != part.strip():
                raise _refused(path, f"'{part}' is the name of a hidden file or a backup, which is no flow")
            if len(part.encode()) > MAX_NAME_BYTES:
                raise _refused(path, f"a name in it is longer than {MAX_NAME_BYTES} bytes")
        if "." in stem and not path.endswith(SUFFIXES):
            raise _refused(path, "a flow file ends in .yml or .yaml")
        root = self._folder.folder.resolve()
        if self._folder.file_of(name) != root / name:
            raise _refused(path, "is behind a symlink; name the file itself")
        return name

    def content(self, name: str) -> FileContent | None:
        """The whole file as it lies there; None if there is none.

        Raises SpecError (`file_unreadable`; `yaml_limit` where it is too large to be kept), Unavailable while somebody
        is writing it, InvalidRequest.
        """
        for _ in range(MAX_LOOKS):
            try:
                read = self._folder.read(name)
            except FlowNotFound:
                return None
            if len(read.raw) > MAX_BYTES:
                limit = f"the file is larger than {MAX_BYTES // 1024:,} KiB"
                message = f"{limit}; only by hand can it be changed or removed"
                problem = Problem("yaml_limit", self.shown(name), None, None, "", message)
                raise SpecError([problem], code=problem.code)
            if read.is_steady:
                return FileContent(read.raw, read.stamp.mtime_ns / 1e9)
        raise Unavailable(f"{self.shown(name)} is being written by somebody just now; try again")

    def proposed(self, name: str, content: bytes) -> Proposal:
        """The flow that the file would be. Raises SpecError with all problems of it and of the flows that it calls."""
        self._renew()
        with self._lock:
            code, defaults = self._used_code, self._defaults
        # Not under the lock: a large text takes long, and launches must not wait for it.
        flow = self._load_with(content, name, code, defaults)

        def load(called: str) -> LoadedFlow:
            if self._folder.name_of(called) == name:
                return flow
            with self._lock:
                return self._of(called).current()

        make_bundle(flow, load, folder_name=self._folder.folder.name, code=code)
        self.check_webhook(flow)
        return Proposal(content=content, flow=flow, names=code.state.names)

    def check_webhook(self, flow: LoadedFlow) -> None:
        """Raises SpecError where another flow has a webhook of the same name now."""
        if flow.spec.webhook is None:
            return
        taken = taken_webhook(flow, self.webhooks(), self.shown)
        if taken:
            raise SpecError(taken)

    def write(self, name: str, proposal: Proposal, *, found: FileContent | None) -> None:
        """Write a file that is `editable`, whole or not at all, and let it count at once.

        Raises FlowChanged where it is no longer what was `found`, Unavailable.
        """
        folder = self._folder.folder.resolve()
        try:
            write_atomic(
                folder / name, proposal.content, below=folder, last_look=lambda: self._compare(name, found)
            )
        except (OSError, PathRefused) as error:
            raise self._failed(name, "written", error) from error
        with self._lock:
            names = self._used_code.state.names
            is_fresh = proposal.flow.defaults is self._defaults and proposal.names == names
            self._of(name).take_now(proposal.content, proposal.flow if is_fresh else None)

    def remove(self, name: str, *, found: FileContent) -> None:
        """Delete a file that is `editable`; it counts no more at once.

        Raises FlowNotFound, FlowChanged where it is no longer what was `found`, Unavailable.
        """
        self._compare(name, found)
        folder = self._folder.folder.resolve()
        try:
            remove_file(folder / name, below=folder)
        except FileNotFoundError:
            raise self._folder.not_found(name) from None
        except (OSError, PathRefused) as error:
            raise self._failed(name, "deleted", error) from error
        with self._lock:
            self._versions.pop(name, None)
            self._bundles.pop(name, None)

    def _compare(self, name: str, found: FileContent | None) -> None:
        """An editor may have saved it this moment."""
        now = self.content(name)
        if (now and now.content) != (found and found.content):
            raise FlowChanged(f"the flow '{name}' is being changed by somebody else", details={"path": name})

    def _failed(self, name: str, verb: str, error: OSError | PathRefused) -> OctospoolError:
        if isinstance(error, PathRefused | NotADirectoryError | FileExistsError | IsADirectoryError):
            return _refused(name, f"something else stands in its way ({error})")
        reason = error.strerror or str(error)
        return Unavailable(f"{self.shown(name)} cannot be {verb}: {reason}", code="flow_unwritable")


def _refused(name: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"flow '{name}': {reason}", code="path_refused", details={"path": name})
