"""Rows that no daemon has confirmed: kept by the worker, and written down for the next daemon once this one is gone."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from flow_processor.clock import Clock
from flow_processor.engine.run_journal import RunJournal
from flow_processor.paths import write_atomic

RETRY_SECONDS = 1.0
"""Pause before a file is tried again that could not be written (a full disk)."""


class Undelivered:
    """The journals of a worker that have such rows. Thread safe."""

    def __init__(self, folder: Path, *, worker_id: str, clock: Clock) -> None:
        self._folder = folder
        self._worker_id = worker_id
        self._clock = clock
        self._journals: dict[str, RunJournal] = {}
        self._current: RunJournal | None = None
        """That of the run which is executed; it will have more rows."""
        self._changing = threading.Lock()
        self._writing = threading.Lock()

    def begin(self, journal: RunJournal) -> None:
        """A run is executed from now on."""
        with self._changing:
            self._journals[journal.run_id] = self._current = journal

    def end(self) -> None:
        """It is no longer executed here."""
        with self._changing:
            self._current = None

    @property
    def is_idle(self) -> bool:
        """No run is executed here, and all that was is confirmed."""
        with self._changing:
            return self._current is None and not self._journals

    def committed(self, run_id: str, seq: int) -> None:
        """The daemon says: all of the run's rows up to `seq` are durable."""
        with self._changing:
            journal = self._journals.get(run_id)
            if journal is None:
                return
            journal.committed(seq)
            if journal is not self._current and not any(journal.uncommitted()):
                del self._journals[run_id]

    def lose_daemon(self) -> None:
        """Nobody will confirm anything any more."""
        with self._changing:
            for journal in self._journals.values():
                journal.lose_daemon()

    def hand_over(self, *, give_up_at: float) -> bool:
        """Write a file for each run that is over here, whole or not at all; True if nothing is left.

        What cannot be written is tried until `give_up_at` (seconds since 1970).
        """
        with self._writing:
            with self._changing:
                over = [journal for journal in self._journals.values() if journal is not self._current]
            for journal in over:
                if not self._write(journal, give_up_at):
                    return False
                with self._changing:
                    del self._journals[journal.run_id]
        return True

    def _write(self, journal: RunJournal, give_up_at: float) -> bool:
        rows, logs = journal.uncommitted()
        if not rows and not logs:
            return True
        content = json.dumps({"run_id": journal.run_id, "rows": rows, "logs": logs}).encode()
        path = self._folder / f"{journal.run_id}.{self._worker_id}.json"
        never = threading.Event()
        while True:
            try:
                write_atomic(path, content)
            except OSError:
                if self._clock.now().timestamp() > give_up_at:
                    return False
                self._clock.wait(never, RETRY_SECONDS)
            else:
                return True
