"""Locks by run: what looks at a run and then changes it is done for one caller at a time."""

from __future__ import annotations

import threading

STRIPES = 64
"""Runs share so many locks: two runs rarely meet, and nothing has to be cleared up."""


class RunGuards:
    """A lock for each run."""

    def __init__(self) -> None:
        self._locks = [threading.Lock() for _ in range(STRIPES)]

    def of(self, run_id: str) -> threading.Lock:
        """The run's lock."""
        return self._locks[hash(run_id) % STRIPES]
