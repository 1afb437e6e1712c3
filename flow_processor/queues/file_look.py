"""Which files are to be taken now: those that are new or changed, and that nobody writes any more."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from flow_processor.clock import Clock
from flow_processor.errors import PathRefused
from flow_processor.paths import open_regular
from flow_processor.queues.file_pattern import FilePattern, FileVersion, SeenFile
from flow_processor.queues.writers import has_writer, is_unfinished

BATCH = 1000
"""So many files a look remembers, the oldest; the others are met by a later one."""

SHOWN = 100
"""So many files that cannot be taken are told of."""


def item_of(path: str, version: FileVersion) -> str:
    """The id of this content of this file: the same again is no new item, also after a restart."""
    text = f"{path}\0{version.mtime_ns}\0{version.size}\0{version.inode}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class FileLook:
    """Looks for the files of one pattern, and remembers which of them are done with. Not thread safe."""

    def __init__(self, pattern: FilePattern, folder: Path, *, settle_seconds: float, clock: Clock) -> None:
        self._pattern = pattern
        self._folder = folder.resolve()
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._handled: dict[str, FileVersion] = {}
        self._unsettled: dict[str, tuple[FileVersion, float]] = {}
        """Files that were met and not taken: since when they are so, by the monotonic clock."""
        self._refused: dict[str, str] = {}
        self._unreadable: dict[str, str] = {}

    def refused(self) -> dict[str, str]:
        """Why files that the pattern names cannot be taken, by path; of some if there are many."""
        return {**self._refused, **self._unreadable}

    def is_handled(self, path: str, version: FileVersion) -> None:
        """This content of the file is done with, and starts nothing as long as it is there."""
        self._handled[path] = version

    def handled_items(self) -> set[str]:
        """The items that are done with, of files that the last look met."""
        return {item_of(path, version) for path, version in self._handled.items()}

    def look(self, busy: Collection[str], done_before: Collection[str] = ()) -> list[SeenFile]:
        """New and changed files, the oldest first; not those that are `busy`, nor items that were done before."""
        refused: dict[str, str] = {}
        still: dict[str, FileVersion] = {}

        def refuse(path: str, reason: str) -> None:
            if len(refused) < SHOWN:
                refused[path] = reason

        def new() -> Iterator[SeenFile]:
            for seen in self._pattern.look(refuse):
                if self._handled.get(seen.path) == seen.version or (
                    done_before and item_of(seen.path, seen.version) in done_before
                ):
                    still[seen.path] = seen.version
                elif seen.path not in busy and not is_unfinished(seen.path.rpartition("/")[2]):
                    yield seen

        count = BATCH + len(self._unsettled)
        found = heapq.nsmallest(count, new(), key=lambda seen: (seen.version.mtime_ns, seen.path))
        self._handled, self._refused = still, refused
        named = {seen.path for seen in found}
        self._unsettled = {path: since for path, since in self._unsettled.items() if path in named}
        self._unreadable = {path: why for path, why in self._unreadable.items() if path in named}
        return found

    def is_ready(self, seen: SeenFile) -> bool:
        """May the file be taken? It is as it was met, has settled, and nobody has it open for writing."""
        if not self._has_settled(seen):
            return False
        why = None
        try:
            with open_regular(self._folder / seen.path, "rb", below=self._folder) as file:
                is_same = FileVersion.of(os.fstat(file.fileno())) == seen.version
                is_ready = is_same and not has_writer(file.fileno())
        except FileNotFoundError:
            is_ready = False
        except (PathRefused, OSError) as error:
            is_ready = False
            why = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        if is_ready:
            self._unsettled.pop(seen.path, None)
        else:
            self._unsettled.setdefault(seen.path, (seen.version, self._clock.monotonic()))
        if why is None:
            self._unreadable.pop(seen.path, None)
        elif len(self._unreadable) < SHOWN:
            self._unreadable[seen.path] = why
        return is_ready

    def _has_settled(self, seen: SeenFile) -> bool:
        """By its own times, or, where another machine's clock has made them, by what was met here."""
        if self._clock.now().timestamp() - seen.changed_at >= self._settle_seconds:
            return True
        version, since = self._unsettled.get(seen.path, (None, 0.0))
        now = self._clock.monotonic()
        if version != seen.version:
            self._unsettled[seen.path] = (seen.version, now)
            return self._settle_seconds == 0
        return now - since >= self._settle_seconds
