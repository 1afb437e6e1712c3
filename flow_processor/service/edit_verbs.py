"""What can be done to flow files over the API: read, write, delete, bring back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

from flow_processor.clock import from_epoch
from flow_processor.documents import parse, problem_at
from flow_processor.errors import FlowNotFound, OctospoolError, SpecError
from flow_processor.flow_files.parsing import LoadedFlow, text_of
from flow_processor.service.edit_views import (
    FlowFileEdited,
    FlowVersionDetail,
    FlowVersions,
    FlowVersionView,
)
from flow_processor.service.flow_edits import Edited, Expected, FlowEdits
from flow_processor.service.flow_verbs import FlowVerbs
from flow_processor.service.surroundings import surroundings
from flow_processor.store.flow_edits import Edit, FlowEditStore, content_hash


class EditVerbs(FlowVerbs):
    """Change flow files, look at their versions."""

    @cached_property
    def edits(self) -> FlowEdits:
        """Changes flow files."""
        return FlowEdits(
            self.library,
            lambda: FlowEditStore(self.store.writer, self.store.engine),
            check=self._check_jq,
            changed=self._flow_file_changed,
            clock=self.clock,
        )

    def write_flow_file(
        self, path: str, content: bytes, expected: Expected, *, by: str, dry: bool = False
    ) -> FlowFileEdited:
        """Write a flow file if it is right; it counts at once. With `dry` only say what would be said.

        Raises SpecError, FlowChanged, PreconditionRequired, InvalidRequest, StoreUnavailable, Unavailable.
        """
        return self._edited(self.edits.write(path, content, expected, by=by, dry=dry))

    def delete_flow_file(self, path: str, expected: Expected, *, by: str) -> FlowFileEdited:
        """Delete a flow file; runs of it go on. Raises FlowNotFound, and as `write_flow_file`."""
        return self._edited(self.edits.delete(path, expected, by=by))

    def restore_flow_file(self, path: str, version: int, expected: Expected, *, by: str) -> FlowFileEdited:
        """Write an earlier version again. Raises VersionNotFound, and as `write_flow_file`."""
        return self._edited(self.edits.restore(path, version, expected, by=by))

    def flow_versions(self, path: str) -> FlowVersions:
        """The kept versions of a flow file, newest first. Raises FlowNotFound, InvalidRequest."""
        kept = self.edits.versions(path)
        name = self.library.editable(path)
        current = self._current(name, kept)
        return FlowVersions(path=name, versions=[FlowVersionView(**_version(edit, current)) for edit in kept])

    def flow_version(self, path: str, version: int) -> FlowVersionDetail:
        """One of them, with its text. Raises VersionNotFound, FlowNotFound, InvalidRequest."""
        edit = self.edits.version(path, version)
        current = self._current(edit.flow, self.edits.versions(path))
        return FlowVersionDetail(**_version(edit, current), path=edit.flow, text=text_of(edit.content))

    def _current(self, name: str, kept: Sequence[Edit]) -> int | None:
        """The newest version that says what the file says now."""
        try:
            found = self.library.content(name)
        except OctospoolError:  # it cannot be read now, so it is none of them
            return None
        same = (edit.number for edit in kept if found is not None and edit.content == found.content)
        return next(same, None)

    def flow_content(self, path: str) -> tuple[bytes, str]:
        """A flow file as it lies there, and its ETag. Raises FlowNotFound, SpecError, InvalidRequest."""
        name = self.library.name_of(path)
        found = self.library.content(name)
        if found is None:
            self.library.status(name)  # names one that is near
            raise FlowNotFound(f"there is no flow '{name}'", details={"path": name})
        return found.content, content_hash(found.content)

    def _check_jq(self, flow: LoadedFlow) -> None:
        problems = self._jq_problems(flow)
        if problems:
            raise SpecError(problems)

    def _flow_file_changed(self, path: str) -> None:
        if self._has_schedule and self._is_started:
            self.scheduler.look_at(path)

    def _edited(self, edited: Edited) -> FlowFileEdited:
        return FlowFileEdited(
            path=edited.name,
            created=edited.created,
            changed=edited.version is not None,
            etag=edited.etag,
            version=edited.version,
            warnings=[] if edited.flow is None else self._warnings(edited.flow),
            schedules=self.schedules.of_flow(edited.name),
            live_runs=self.live.of_flow(edited.name),
        )

    def _warnings(self, flow: LoadedFlow) -> list[dict[str, Any]]:
        """What is wrong with defaults.yml, whose last good version counts; what the flow names and is not there."""
        secrets = self.secrets if self._is_started else None
        check = surroundings(self.settings, secrets, self.own_code.state().names.filters)
        document = parse(flow.text, file=self.library.shown(flow.path))
        missing = [
            asdict(problem_at(document, loc, code, message, of_value=True))
            for loc, code, message in check(flow.spec)
        ]
        return [*self.defaults_problems(), *missing]


def _version(edit: Edit, current: int | None) -> dict[str, Any]:
    return {
        "version": edit.number,
        "kind": edit.kind,
        "at": from_epoch(edit.at),
        "by": edit.by,
        "restored": edit.restored,
        "etag": content_hash(edit.content),
        "bytes": len(edit.content),
        "current": edit.number == current,
    }
