"""Flow files that the program itself writes: which paths it may write, whether a text is right, whole writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flow_processor.errors import (
    FlowChanged,
    FlowNotFound,
    InvalidRequest,
    OctospoolError,
    PathRefused,
    SpecError,
    Unavailable,
)
from flow_processor.flow_files.folder import SUFFIXES
from flow_processor.flow_files.library import FlowLibrary
from flow_processor.flow_files.parsing import LoadedFlow
from flow_processor.flow_files.webhooks import taken_webhook
from flow_processor.paths import remove_file, write_atomic

MAX_NAME_BYTES = 200
"""The longest name of a file or folder; file systems take 255, and a file that is being written needs some more."""


@dataclass(frozen=True)
class FileContent:
    """A flow file as it lies there."""

    content: bytes
    modified_at: float
    """Seconds since 1970."""


class EditableLibrary(FlowLibrary):
    """A library that also changes flow files. What it wrote counts at once: it has no need to settle."""

    def editable(self, path: str) -> str:
        """The path in its one spelling, if a flow file may be written there.

        Raises InvalidRequest (`path_refused`): outside of the folder, hidden, a backup, no .yml, behind a symlink.
        """
        name = self._folder.name_of(path)
        parts = name.split("/")
        stem = Path(parts[-1]).stem
        for part in (*parts, stem):
            if part.startswith((".", "~", "#")) or part.endswith("~") or part != part.strip():
                raise _refused(name, f"'{part}' is the name of a hidden file or a backup, which is no flow")
            if len(part.encode()) > MAX_NAME_BYTES:
                raise _refused(name, f"a name in it is longer than {MAX_NAME_BYTES} bytes")
        if "." in stem and not path.endswith(SUFFIXES):
            raise _refused(name, "a flow file ends in .yml or .yaml")
        root = self._folder.folder.resolve()
        if self._folder.file_of(name) != root / name:
            raise _refused(name, "is behind a symlink; name the file itself")
        return name

    def content(self, name: str) -> FileContent | None:
        """The file as it lies there; None if there is none. Raises SpecError (`file_unreadable`), InvalidRequest."""
        try:
            read = self._folder.read(name)
        except FlowNotFound:
            return None
        return FileContent(read.raw, read.stamp.mtime_ns / 1e9)

    def proposed(self, name: str, content: bytes) -> LoadedFlow:
        """The flow that the file would be. Raises SpecError with all problems of it and of the flows that it calls."""
        webhooks = self.webhooks()
        self._renew()
        with self._lock:
            flow = self._load_text(content, name)

            def load(called: str) -> LoadedFlow:
                return flow if self._folder.name_of(called) == name else self._of(called).current()

            self._make_bundle(flow, load)
        taken = taken_webhook(flow, webhooks, self.shown)
        if taken:
            raise SpecError(taken)
        return flow

    def write(self, name: str, content: bytes, *, found: FileContent | None) -> None:
        """Write a file that is `editable`, whole or not at all, and let it count at once.

        Raises FlowChanged where it is no longer what was `found`, Unavailable.
        """
        folder = self._folder.folder.resolve()
        try:
            write_atomic(folder / name, content, below=folder, last_look=lambda: self._compare(name, found))
        except (OSError, PathRefused) as error:
            raise self._failed(name, "written", error) from error
        with self._lock:
            self._of(name).take_now()

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
