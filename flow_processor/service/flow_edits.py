"""Changing flow files over the API: checked before, written whole, each version kept with who wrote it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from flow_processor.clock import Clock
from flow_processor.errors import (
    FlowChanged,
    FlowNotFound,
    OctospoolError,
    PreconditionRequired,
    Unavailable,
    VersionNotFound,
)
from flow_processor.flow_files.editing import EditableLibrary, FileContent, Proposal
from flow_processor.flow_files.parsing import LoadedFlow
from flow_processor.store.flow_edits import Edit, EditKind, FlowEditStore, content_hash

logger = logging.getLogger("octospool.service")

CHECK_WAIT_SECONDS = 10.0
"""So long a text waits for the one that is being checked."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a caller takes a file to be when it changes it."""

    etags: frozenset[str] | None = None
    """It says one of these (If-Match); None: not said."""
    is_there: bool = False
    """It is there, whatever it says (If-Match: *)."""
    is_absent: bool = False
    """There is none (If-None-Match: *)."""

    def check(self, name: str, found: FileContent | None, *, must_say: bool) -> None:
        """Raises FlowChanged where the file is another one; PreconditionRequired where it `must_say` and does not."""
        etag = None if found is None else content_hash(found.content)
        details = {"path": name, "etag": etag}
        if self.is_absent and etag is not None:
            raise FlowChanged(f"there is a flow '{name}' already", details=details)
        if self.etags is not None or self.is_there:
            if etag is None:
                raise FlowChanged(f"there is no flow '{name}' (any more)", details=details)
            if self.etags is not None and etag not in self.etags:
                message = f"the flow '{name}' has been changed since; get it again, and change that"
                raise FlowChanged(message, details=details)
        elif must_say and etag is not None and not self.is_absent:
            message = (
                f"there is a flow '{name}' already; send the ETag of the version that you have changed as If-Match "
                "('*': overwrite whatever is there)"
            )
            raise PreconditionRequired(message, details=details)


@dataclass(frozen=True, kw_only=True)
class Edited:
    """What became of a file."""

    name: str
    flow: LoadedFlow | None
    """What it says now; None: it is deleted."""
    etag: str | None
    created: bool
    version: int | None
    """None: nothing was changed."""


class FlowEdits:
    """Writes, deletes and restores flow files. Thread safe: two changes come one after the other."""

    def __init__(
        self,
        library: EditableLibrary,
        store: Callable[[], FlowEditStore],
        *,
        check: Callable[[LoadedFlow], None],
        changed: Callable[[str], None],
        clock: Clock,
    ) -> None:
        """`check` raises SpecError for what is wrong besides; `changed` is told each path whose file was changed."""
        self._library = library
        self._store = store
        self._check = check
        self._changed = changed
        self._clock = clock
        self._lock = threading.Lock()
        self._checking = threading.Lock()

    def write(
        self,
        path: str,
        content: bytes,
        expected: Expected,
        *,
        by: str,
        dry: bool,
        restored: int | None = None,
    ) -> Edited:
        """Write a file; with `dry` only say what would be said.

        Raises SpecError (nothing is written), FlowChanged, PreconditionRequired, InvalidRequest, StoreUnavailable,
        Unavailable.
        """
        name = self._library.editable(path)
        must_say = not dry and restored is None
        # Looked at twice: who has lost need not wait for the checks, and these may take a while.
        expected.check(name, self._library.content(name), must_say=must_say)
        proposal = self._proposed(name, content)
        flow = proposal.flow
        with self._lock:
            found = self._library.content(name)
            expected.check(name, found, must_say=must_say)
            self._library.check_webhook(flow)  # another file may have come since, with the same name
            etag = content_hash(content)
            outcome = Edited(name=name, flow=flow, etag=etag, created=found is None, version=None)
            if dry or (found is not None and found.content == content):
                return outcome
            edit = Edit(
                flow=name,
                kind=EditKind.WRITTEN if restored is None else EditKind.RESTORED,
                at=self._now(),
                by=by,
                content=content,
                restored=restored,
            )
            number = self._record(edit, found, lambda: self._library.write(name, proposal, found=found))
        return Edited(name=name, flow=flow, etag=etag, created=found is None, version=number)

    def _proposed(self, name: str, content: bytes) -> Proposal:
        """One text at a time: a large one takes a core for many seconds, and runs must go on."""
        if not self._checking.acquire(timeout=CHECK_WAIT_SECONDS):
            raise Unavailable("another flow file is being checked; try again when that is done")
        try:
            proposal = self._library.proposed(name, content)
            self._check(proposal.flow)
        finally:
            self._checking.release()
        return proposal

    def delete(self, path: str, expected: Expected, *, by: str) -> Edited:
        """Delete a file; what it said is kept as a version. Raises FlowNotFound, and as `write`."""
        name = self._library.editable(path)
        with self._lock:
            found = self._library.content(name)
            expected.check(name, found, must_say=False)
            if found is None:
                raise FlowNotFound(f"there is no flow '{name}'", details={"path": name})
            edit = Edit(flow=name, kind=EditKind.DELETED, at=self._now(), by=by, content=found.content)
            number = self._record(edit, found, lambda: self._library.remove(name, found=found))
        return Edited(name=name, flow=None, etag=None, created=False, version=number)

    def restore(self, path: str, number: int, expected: Expected, *, by: str) -> Edited:
        """Write a kept version again, also of a file that was deleted. Raises VersionNotFound, and as `write`."""
        content = self.version(path, number).content
        return self.write(path, content, expected, by=by, dry=False, restored=number)

    def versions(self, path: str) -> list[Edit]:
        """The kept versions, newest first. Raises FlowNotFound where there is neither a file nor a version."""
        name = self._library.editable(path)
        found = self._store().versions(name)
        if not found:
            self._library.status(name)
        return found

    def version(self, path: str, number: int) -> Edit:
        """One of the kept versions. Raises VersionNotFound, FlowNotFound."""
        kept = self.versions(path)
        for edit in kept:
            if edit.number == number:
                return edit
        there = ", ".join(str(edit.number) for edit in kept) or "none"
        raise VersionNotFound(f"'{path}' has no version {number} (any more); there are: {there}")

    def settle(self, flow: str | None = None) -> None:
        """Find out of versions (of one flow) that were recorded whether their file was changed: the last daemon may
        have died in between."""
        for edit in self._store().unsettled():
            if flow in (None, edit.flow):
                try:
                    found = self._library.content(edit.flow)
                except OctospoolError:  # it cannot be read now; asked again before its next change
                    continue
                is_deleted = edit.kind is EditKind.DELETED
                happened = (
                    found is None if is_deleted else found is not None and found.content == edit.content
                )
                self._store().settle(edit.flow, edit.number, happened=happened)

    def _record(self, edit: Edit, found: FileContent | None, change: Callable[[], None]) -> int:
        """Change a file so that neither what it said nor who changed it can be lost; the new version's number."""
        self.settle(edit.flow)
        old = None
        if found is not None:
            old = Edit(
                flow=edit.flow, kind=EditKind.FOUND, at=found.modified_at, by=None, content=found.content
            )
        number = self._store().begin(edit, found=old)
        try:
            change()
        except BaseException:
            self._settle(edit.flow)
            raise
        self._settle(edit.flow)
        logger.info("%s by %s, version %d", edit.kind.value, edit.by, number, extra={"flow": edit.flow})
        self._changed(edit.flow)
        return number

    def _settle(self, flow: str) -> None:
        try:
            self.settle(flow)
        except OctospoolError as error:
            # The file says what it says, and the record of it is durable; only its mark is missing.
            logger.warning("the version is settled later: %s", error.message, extra={"flow": flow})

    def _now(self) -> float:
        return self._clock.now().timestamp()
