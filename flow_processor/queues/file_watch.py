"""Files that start flows: a watcher for each flow that says `on: {files: …}`."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from flow_processor.clock import Clock
from flow_processor.queues.backend import Intake
from flow_processor.queues.file_ends import FileEnds
from flow_processor.queues.file_pattern import FilePattern
from flow_processor.queues.file_watcher import FileWatcher
from flow_processor.queues.item import Item, Reason
from flow_processor.spec.files import After, FilesSpec
from flow_processor.store.file_items import FileItems


class FileWatch:
    """Watches files for all flows; to the intake a source like a queue's backend. Thread safe."""

    def __init__(self, folder: Path, *, private: Sequence[Path], ledger: FileItems, clock: Clock) -> None:
        """`folder` is what patterns are relative to; files and folders that are `private` start nothing."""
        self._folder = folder
        self._private = private
        self._ledger = ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._watchers: dict[str, FileWatcher] = {}
        self._patterns: dict[str, FilePattern] = {}
        self._intake: Intake | None = None

    def start(self, intake: Intake) -> None:
        """Begin to offer files; which ones `watch` says."""
        self._intake = intake

    def stop(self) -> None:
        """Offer nothing more; returns when no watcher is at work, unless its disk does not answer."""
        watchers = list(self._watchers.values())
        self.watch({})
        for watcher in watchers:
            watcher.join()

    def watch(self, flows: Mapping[str, FilesSpec]) -> None:
        """From now on these files start these flows: called at start and whenever flow files change."""
        with self._lock:
            for flow, watcher in self._watchers.items():
                if flows.get(flow) != watcher.spec:
                    watcher.stop()  # not waited for: what two of them offer is taken once
            kept = {
                flow: watcher for flow, watcher in self._watchers.items() if flows.get(flow) == watcher.spec
            }
            new = {flow: spec for flow, spec in flows.items() if flow not in kept}
            self._patterns = {flow: self._pattern(spec) for flow, spec in flows.items()}
            self._watchers = {**kept, **{flow: self._watcher(flow, spec) for flow, spec in new.items()}}
            for flow in new:
                self._watchers[flow].start()

    def problems(self) -> list[str]:
        """What keeps files from starting flows, for people: the flow's path, its pattern, and why."""
        watchers = sorted(self._watchers.items())
        return [
            f"{flow}: files '{watcher.spec.path}': {problem}"
            for flow, watcher in watchers
            for problem in watcher.problems()
        ]

    def has_room(self, queue: str, flow: str) -> None:
        """As a source."""
        if watcher := self._watchers.get(flow):
            watcher.has_room()

    def give_up(self, item: Item, reason: Reason) -> Future[None]:
        """As a source: the file stays where it is until every flow is done with it."""
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def has_ended(self, queue: str, item_id: str, flow: str) -> None:
        """As a source. The others are told too: the one that puts the file away may have waited for this flow."""
        for path, watcher in self._watchers.items():
            if path == flow:
                watcher.has_ended(item_id)
            else:
                watcher.another_has_ended(item_id)

    def may_try_again(self, item: Item, flow: str) -> str | None:
        """As a source: a flow that finds its file gone or changed tells that itself."""
        return None

    def _watchers_of(self, path: str) -> list[str]:
        """The flows that a file of this path starts."""
        return [flow for flow, pattern in self._patterns.items() if pattern.names(path)]

    def _mover_of(self, path: str) -> str | None:
        """The flow that puts a file of this path away: the first one that wants to."""
        watchers = self._watchers
        wanting = [
            flow
            for flow in self._watchers_of(path)
            if flow in watchers and watchers[flow].spec.after is not After.KEEP
        ]
        return min(wanting, default=None)

    def _pattern(self, spec: FilesSpec) -> FilePattern:
        return FilePattern(spec.path, self._folder, private=self._private)

    def _watcher(self, flow: str, spec: FilesSpec) -> FileWatcher:
        assert self._intake is not None  # noqa: S101  watched only between start and stop
        return FileWatcher(
            flow,
            spec,
            folder=self._folder,
            pattern=self._patterns[flow],
            ledger=self._ledger,
            intake=self._intake,
            mover_of=self._mover_of,
            ends=FileEnds(self._folder, spec.after, self._ledger, watchers_of=self._watchers_of),
            clock=self._clock,
        )
