"""The thread that notices edited flow files: the scheduler's own has no time to look at 10,000 of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from datetime import datetime

from flow_processor.clock import Clock
from flow_processor.errors import OctospoolError
from flow_processor.scheduling.agenda import Agenda, Entry
from flow_processor.turning import TurningThread

logger = logging.getLogger("octospool.scheduler")

CHANGES_SECONDS = 1.0
"""Pause between two looks at what flow files changed."""


class Changes:
    """Has the schedules of changed flow files looked at again. `look` is called by one thread at a time."""

    def __init__(
        self,
        agenda: Agenda,
        *,
        changed: Callable[[], Collection[str]],
        check: Callable[[Entry, datetime], bool],
        wake: Callable[[], None],
        clock: Clock,
    ):
        """`changed`: paths of flows whose files changed since its last call. `check` looks at a schedule again; False:
        it has to be tried again."""
        self._agenda = agenda
        self._changed = changed
        self._check = check
        self._wake = wake
        self._clock = clock
        self._lock = threading.Lock()
        self._to_check: dict[str, None] = {}
        """Ids of schedules, in the order in which they are to be looked at."""
        self._thread = TurningThread(
            self.look,
            name="flow-changes",
            pause=CHANGES_SECONDS,
            clock=clock,
            logger=logger,
            failed="cannot see what flow files changed",
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits for the schedule that is looked at."""
        self._thread.stop()

    def note(self, entries: Collection[Entry]) -> None:
        """Have these looked at."""
        with self._lock:
            self._to_check.update(dict.fromkeys(entry.row.id for entry in entries))

    def look(self) -> None:
        """Look for changes, and at the schedules that they concern."""
        try:
            self.note(self._agenda.of_flows(self._changed()))
        except (OSError, OctospoolError) as error:
            logger.error("cannot see what flow files changed: %s", error)
        with self._lock:
            ids, self._to_check = list(self._to_check), {}
        entries = [entry for one in ids if (entry := self._agenda.get(one)) is not None]
        for entry in entries:
            if self._thread.is_stopping:
                return
            if not self._check(entry, self._clock.now()):
                self.note([entry])
        if entries:
            self._wake()
