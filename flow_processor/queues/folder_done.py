"""Files of items that are done: kept by age and count."""

from __future__ import annotations

import os
from pathlib import Path

from flow_processor.clock import Clock
from flow_processor.spec.queue_settings import KeepDone

LOOK_SECONDS = 60.0
"""How often it is looked whether there are too many."""

AT_ONCE = 1_000
"""So many are deleted in one piece; meanwhile nothing else of the queue is done."""

_DAY_SECONDS = 86_400


class DoneFiles:
    """The files in `done/` of one queue. Not thread safe."""

    def __init__(self, folder: Path, keep: KeepDone, *, clock: Clock) -> None:
        self._folder = folder
        self._keep = keep
        self._clock = clock
        self._next_look = clock.monotonic()
        self._surplus: list[str] = []
        """Names of those that are to go."""

    def prune(self) -> bool:
        """Delete some that are too old or too many, if it is time to. Did any go? Raises OSError."""
        now = self._clock.monotonic()
        if not self._surplus and now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._surplus = self._too_much()
        some, self._surplus = self._surplus[:AT_ONCE], self._surplus[AT_ONCE:]
        for name in some:
            (self._folder / name).unlink(missing_ok=True)
        return bool(some)

    def _too_much(self) -> list[str]:
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                    # Moving a file there has changed this time, not when its content was changed.
                    found.append((entry.stat(follow_symlinks=False).st_ctime, entry.name))
        found.sort(reverse=True)
        oldest = 0.0
        if self._keep.days != "forever":
            oldest = self._clock.now().timestamp() - self._keep.days * _DAY_SECONDS
        return [
            name
            for number, (at, name) in enumerate(found, start=1)
            if number > self._keep.count or at < oldest
        ]
