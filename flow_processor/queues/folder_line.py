"""The files that wait in a folder: in their order, without ever holding all of them in memory."""

from __future__ import annotations

import heapq
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flow_processor.clock import Clock
from flow_processor.queues.folder_names import own_name, priority_of
from flow_processor.queues.item import Item
from flow_processor.queues.writers import is_unfinished

BATCH = 5_000
"""So many of the first files are known by name; the others are counted."""

SETTLED_SECONDS = 0.1
"""A folder whose last change is younger may change again without showing it: its time has coarse steps."""

LOOK_SECONDS = 2.0
"""A folder is read so often although it shows no change: not every file system tells."""

UNCHANGED_SHARE = 100
"""And then it takes at most one part in so many of the time."""

IDLE_SHARE = 10
"""Reading a folder takes at most one part in so many of the time, as long as files are known."""

Waiting = tuple[int, int, str]
"""(priority, less is first; when it was last changed, in nanoseconds; name)"""


@dataclass(slots=True)
class _Counted:
    """What reading the folder has counted so far."""

    number: int = 0
    oldest_at: float | None = None


class WaitingLine:
    """The files of one folder, urgent ones first, then the oldest. Only `note_put` may be called from any thread."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.guard = threading.Lock()
        """Held by who looks, where several threads may."""
        self._folder = folder
        self._clock = clock
        self._files: list[Waiting] = []
        """The first of them, as a heap."""
        self._last: Waiting | None = None
        """The last of those that were known by name when the folder was read; None: all were."""
        self._put: deque[Waiting] = deque()
        """What was put there and has no place among them yet."""
        self._counting = threading.Lock()
        self._seen = 0
        self._looked_at = float("-inf")
        self._took = 0.0
        self._put_since = 0
        """Files that were put there since the folder began to be read: it may have missed them."""
        self._is_open = True
        """True: what is known may not be all that is there."""
        self.count = 0
        """How many wait, as far as is known."""
        self.oldest_at: float | None = None
        """When the oldest of them was last changed, in seconds since 1970."""

    @property
    def has_looked(self) -> bool:
        """Does it know anything yet?"""
        return self._looked_at > float("-inf")

    def look(self) -> bool:
        """Read the folder again if that is worth it. Are any files known? Raises OSError."""
        changed = self._folder.stat().st_mtime_ns
        since = self._clock.monotonic() - self._looked_at
        is_due = (
            changed != self._seen or self._is_open or since >= max(LOOK_SECONDS, self._took * UNCHANGED_SHARE)
        )
        if is_due and (not self._files or since >= self._took * IDLE_SHARE):
            self._read(changed)
        self._place_put()
        return bool(self._files)

    def forget(self) -> None:
        """All files are gone: the next look reads the folder in any case."""
        self._files, self._last, self.count, self.oldest_at, self._is_open = [], None, 0, None, True

    def look_again(self) -> None:
        """Something is there that was not taken: read the folder again."""
        self._is_open = True

    def next(self) -> str | None:
        """The file whose turn it is. It is not given again before the folder has been read again, but where it was put
        while the folder was read: then it may have been taken since."""
        if not self._files:
            self._is_open |= self.count > 0
            return None
        with self._counting:
            self.count = max(self.count - 1, 0)
        return heapq.heappop(self._files)[2]

    def note_put(self, items: Sequence[Item]) -> None:
        """These were put there by this process: they count, and take their places, before the folder is read again.
        Where a reading saw them already, the count is put right by the next one."""
        with self._counting:
            if items and not self.count:
                self.oldest_at = self._clock.now().timestamp()
            self.count += len(items)
            self._put_since += len(items)
        self._put.extend(
            (-item.priority, int(item.put_at * 1e9), own_name(item.id, item.priority)) for item in items
        )

    def _read(self, changed: int) -> None:
        began = self._clock.monotonic()
        found = _Counted()
        with self._counting:
            self._put_since = 0
        self._put.clear()
        self._files = heapq.nsmallest(BATCH, self._waiting(found))
        self._last = self._files[-1] if found.number > BATCH else None
        # Whole or not at all: others ask meanwhile.
        with self._counting:
            oldest_at = found.oldest_at if found.number else self.oldest_at  # of what was put meanwhile
            self.count, self.oldest_at = found.number + self._put_since, oldest_at
        self._looked_at = self._clock.monotonic()
        self._took = self._looked_at - began
        self._seen = changed
        # Its last change may be so young that another one in the same step of its time would not show.
        self._is_open = self._clock.now().timestamp() - changed / 1e9 < SETTLED_SECONDS

    def _place_put(self) -> None:
        while self._put:
            file = self._put.popleft()
            # Behind the last that is known there may be others that come before it.
            if self._last is None or file < self._last:
                heapq.heappush(self._files, file)

    def _waiting(self, found: _Counted) -> Iterator[Waiting]:
        oldest = None
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if is_unfinished(entry.name):
                    continue
                try:
                    at = entry.stat(follow_symlinks=False).st_mtime_ns
                except OSError:  # gone since
                    continue
                found.number += 1
                oldest = at if oldest is None or at < oldest else oldest
                yield (-priority_of(entry.name), at, entry.name)
        found.oldest_at = None if oldest is None else oldest / 1e9
