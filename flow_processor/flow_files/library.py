"""The flow files of one folder, kept in memory as long as they do not change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from flow_processor.clock import Clock, SystemClock
from flow_processor.errors import FlowNotFound, InvalidRequest, OctospoolError, Problem, SpecError
from flow_processor.flow_files.bundle import Bundle, make_bundle
from flow_processor.flow_files.checks import ExpressionCheck
from flow_processor.flow_files.code_use import NO_CODE, CodeUse
from flow_processor.flow_files.defaults import Defaults
from flow_processor.flow_files.defaults_file import DefaultsFile
from flow_processor.flow_files.folder import FlowFolder, Stamp
from flow_processor.flow_files.on_book import OnBook
from flow_processor.flow_files.parsing import LoadedFlow, load_text
from flow_processor.flow_files.status import FileStatus
from flow_processor.flow_files.versions import FileVersions
from flow_processor.flow_files.webhooks import taken_webhook
from flow_processor.own_code.library import OwnCodeState


@dataclass(frozen=True)
class _Kept:
    """The last good bundle of a flow."""

    used: dict[str, LoadedFlow]
    """What each spelling of a path stood for when it was made."""
    bundle: Bundle
    code: OwnCodeState
    looked_at: float
    """When it was last seen to be what is in force, in monotonic seconds."""


class FlowLibrary:
    """Loads flow files, with their sub-flows; keeps the last good version in force. Safe to use from threads.

    `check_expressions` adds checks that the daemon must not do itself (compiling jq). `code` gives own code as it is
    now: the same state as long as nothing has changed. `defaults` is the file of that name, which need not exist.
    """

    def __init__(
        self,
        folder: Path,
        *,
        check_expressions: ExpressionCheck | None = None,
        code: Callable[[], CodeUse] = lambda: NO_CODE,
        defaults: Path | None = None,
        clock: Clock | None = None,
    ):
        self._folder = FlowFolder(folder.absolute())
        self._check_expressions = check_expressions
        self._code = code
        self._used_code = NO_CODE
        self._clock = clock or SystemClock()
        self._defaults_file = None if defaults is None else DefaultsFile(defaults.absolute(), self._clock)
        self._defaults: Defaults | SpecError | None = None
        """What counts now; an error where the file is wrong and has never been right."""
        self._told_problems: tuple[Problem, ...] = ()
        self._lock = threading.RLock()
        self._versions: dict[str, FileVersions[LoadedFlow]] = {}
        self._bundles: dict[str, _Kept] = {}
        self._scanned: dict[str, Stamp] | None = None
        self._settling: set[str] = set()
        self._on = OnBook(
            self._folder, in_force=self._in_force, is_settling=lambda name: self._of(name).is_settling
        )

    def load(self, path: str) -> LoadedFlow:
        """The file as it is now. Raises FlowNotFound (with a near name), SpecError, InvalidRequest."""
        self._renew()
        with self._lock:
            return self._of(path).current()

    def bundle(self, path: str) -> Bundle:
        """The file as it is now, with all sub-flows. Raises as `load`; SpecError also for missing or broken
        sub-flows, `flow_cycle` and `flow_depth`."""
        self._renew()
        with self._lock:
            return self._bundle(path)

    def launchable(self, path: str, *, seconds_old: float = 0.0) -> Bundle:
        """As `bundle`, of the versions in force: a file that is broken now, half written, or gone for a moment
        keeps its last good version. Raises SpecError only if there has never been a good one.

        `seconds_old`: what was in force so long ago will do, for who launches hundreds of runs a second.
        """
        began = self._clock.monotonic()
        with self._lock:
            kept = self._bundles.get(path)
            if kept is not None and began - kept.looked_at < seconds_old:
                return kept.bundle
        self._renew()
        with self._lock:
            root = self._in_force(path)
            kept = self._bundles.get(root.path)
            if kept is not None and self._is_unchanged(kept):
                self._bundles[root.path] = replace(kept, looked_at=began)
                return kept.bundle
            used = {root.path: root}

            def load(called: str) -> LoadedFlow:
                used[called] = self._in_force(called)
                return used[called]

            try:
                bundle = self._make_bundle(root, load)
            except SpecError:
                if kept is None:
                    raise
                return kept.bundle
            self._bundles[root.path] = _Kept(used, bundle, self._used_code.state, began)
            return bundle

    def name_of(self, path: str) -> str:
        """The path in its one spelling, with its suffix; the file need not exist. Raises InvalidRequest."""
        return self._folder.name_of(path)

    def shown(self, path: str) -> str:
        """The file as people know it: `flows/sub/a.yml`."""
        return self._folder.shown(path)

    def webhooks(self) -> dict[str, LoadedFlow]:
        """Flows with a webhook, by path, as they are in force now."""
        return {path: flow for path, flow in self.listening().items() if flow.spec.webhook is not None}

    def listening(self) -> dict[str, LoadedFlow]:
        """Flows that say `on`, by path, as they are in force now."""
        self._renew()
        # Not under the lock: strangers call webhooks too, and launches need not wait for that.
        found = self._folder.scan()
        with self._lock:
            return dict(self._on.flows(found))

    def status(self, path: str) -> FileStatus:
        """How the file stands. Raises FlowNotFound, InvalidRequest."""
        return self._status(path, lambda: self._on.flows(self._folder.scan()))

    def _status(self, path: str, webhooks: Callable[[], Mapping[str, LoadedFlow]]) -> FileStatus:
        self._renew()
        with self._lock:
            name = self._folder.name_of(path)
            try:
                versions = self._of(name)
            except SpecError as error:
                return FileStatus(name, False, None, None, None, None, error.problems, False)
            problems: tuple[Problem, ...] = ()
            flow = None
            try:
                flow = versions.current()
                self._bundle(name)
            except SpecError as error:
                problems = error.problems
            except InvalidRequest as error:  # a link that leads out of the folder, a pipe
                problems = (self._problem(name, error),)
            in_force = versions.in_force
            shown = flow or in_force
            rule = shown.spec.schedule_rule if shown else None
            webhook = shown.spec.webhook if shown else None
            taken = taken_webhook(shown, webhooks(), self.shown) if shown and webhook else ()
            return FileStatus(
                path=name,
                valid=not problems and not taken,
                name=shown.spec.name if shown else None,
                description=shown.spec.description if shown else None,
                cron=rule.cron if rule else None,
                every_seconds=rule.every_seconds if rule else None,
                problems=(*problems, *taken),
                last_good_in_force=bool(problems) and (in_force is not None and name in self._usable(name)),
                webhook=webhook.name if webhook else None,
                queue=shown.spec.queue.name if shown and shown.spec.queue else None,
                files=shown.spec.files.path if shown and shown.spec.files else None,
            )

    def files(self) -> list[FileStatus]:
        """Every flow file, by path."""
        found = []
        webhooks = cache(self.webhooks)
        for name in self._folder.scan():
            try:
                found.append(self._status(name, webhooks))
            except FlowNotFound:  # gone since the scan
                continue
            except InvalidRequest as error:  # a name that no path may have
                found.append(
                    FileStatus(name, False, None, None, None, None, (self._problem(name, error),), False)
                )
        return found

    def _problem(self, name: str, error: OctospoolError) -> Problem:
        return Problem(error.code, self._folder.shown(name), None, None, "", error.message)

    def changed(self) -> set[str]:
        """Paths of files that came, went, changed or settled since the last call; the first call gives none.

        Looks at every file (mtime, size, inode), which costs about 0.2 ms for 100 files.
        """
        self._renew()
        found = self._folder.scan()
        with self._lock:
            before, self._scanned = self._scanned, found
            if before is None:
                return set()
            names = {name for name in before.keys() | found.keys() if before.get(name) != found.get(name)}
            names |= self._settling
            for name in names:
                self._look(name)
            self._settling = {
                name for name in names if name in self._versions and self._versions[name].is_settling
            }
            return names

    def _look(self, name: str) -> None:
        """Let a known file settle; what is wrong with it shows in its status and at its launch."""
        if name not in self._versions:
            return
        try:
            self._versions[name].launchable()
        except FlowNotFound:
            del self._versions[name]
            self._bundles.pop(name, None)
        except OctospoolError:
            return

    def _usable(self, name: str) -> frozenset[str]:
        """The files of the bundle that a launch of `name` would use now; empty if it would be refused."""
        try:
            return self.launchable(name).paths
        except OctospoolError:
            return frozenset()

    def _renew(self) -> None:
        """Take own code as it is now. Not under the lock: it may have to be loaded, and others need not wait."""
        code = self._code()
        with self._lock:
            defaults = self._defaults_now()
            if code.state.names != self._used_code.state.names or not _is_same(defaults, self._defaults):
                for versions in self._versions.values():
                    versions.look_again()
            self._used_code, self._defaults = code, defaults

    def _defaults_now(self) -> Defaults | SpecError | None:
        try:
            return None if self._defaults_file is None else self._defaults_file.in_force()
        except SpecError as error:
            return error.with_traceback(None)

    def new_defaults_problems(self) -> tuple[Problem, ...]:
        """As `defaults_problems`, where they are others than at the last call."""
        found = self.defaults_problems()
        told, self._told_problems = self._told_problems, found
        return () if found == told else found

    def defaults_problems(self) -> tuple[Problem, ...]:
        """What is wrong with defaults.yml as it lies there; the last good version is in force."""
        with self._lock:
            return () if self._defaults_file is None else self._defaults_file.problems()

    def _bundle(self, path: str) -> Bundle:
        def load(called: str) -> LoadedFlow:
            return self._of(called).current()

        return self._make_bundle(load(path), load)

    def _make_bundle(self, root: LoadedFlow, load: Callable[[str], LoadedFlow]) -> Bundle:
        return make_bundle(root, load, folder_name=self._folder.folder.name, code=self._used_code)

    def _in_force(self, path: str) -> LoadedFlow:
        return self._of(path).launchable()

    def _is_unchanged(self, kept: _Kept) -> bool:
        """Is the bundle made of what is in force? A flow that is wrong now keeps its own code too."""
        try:
            is_same = all(self._in_force(path) is flow for path, flow in kept.used.items())
        except OctospoolError:
            return False
        if is_same and kept.code is not self._used_code.state:
            return not all(self._of(path).is_right for path in kept.used)
        return is_same

    def _of(self, path: str) -> FileVersions[LoadedFlow]:
        name = self._folder.name_of(path)
        if name not in self._versions:
            if self._folder.stamp(name) is None:
                raise self._folder.not_found(name)
            self._versions[name] = FileVersions(name, self._folder, self._clock, self._load_text)
        return self._versions[name]

    def _load_text(self, raw: bytes, name: str) -> LoadedFlow:
        return self._load_with(raw, name, self._used_code, self._defaults)

    def _load_with(
        self, raw: bytes, name: str, code: CodeUse, defaults: Defaults | SpecError | None
    ) -> LoadedFlow:
        if isinstance(defaults, SpecError):
            raise defaults
        return load_text(
            raw,
            name,
            self._folder.shown(name),
            check_expressions=self._check_expressions,
            own=code.state.names,
            defaults=defaults,
        )


def _is_same(new: Defaults | SpecError | None, old: Defaults | SpecError | None) -> bool:
    if isinstance(new, SpecError) and isinstance(old, SpecError):
        return new.problems == old.problems
    return new is old
