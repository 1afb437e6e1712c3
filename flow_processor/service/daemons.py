"""Several daemons on one store: each says that it lives, sees what the others change, and takes over what a dead one
accepted but never began.

A run is its daemon's: that one's data folder has its large results and its workers' files. A run that has begun waits
for its daemon, however long that is away. See docs/postgresql.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial

from flow_processor.clock import Clock
from flow_processor.errors import DataFolderInUse, RunElsewhere, StoreUnavailable
from flow_processor.store import Store
from flow_processor.store.daemons import LEASE_SECONDS, free_ended, left_by, take_over
from flow_processor.store.presence import DaemonRow, IdTaken, Presence, find_daemon
from flow_processor.store.runs import ListedRun
from flow_processor.turning import TurningThread

logger = logging.getLogger("octospool.service")

LOOK_SECONDS = 1.0
"""Pause between two looks at the others: so long a schedule that one changes may still fire as it was in another."""

EXIT_CODE = 75
"""Of a daemon that was declared dead: whoever watches over it should start it again."""


class Daemons:
    """This daemon among the others."""

    def __init__(
        self,
        store: Store,
        daemon: str,
        *,
        name: str,
        url: str | None,
        clock: Clock,
        adopt: Callable[[str], None],
        schedules_changed: Callable[[], None],
        die: Callable[[], None] = lambda: os._exit(EXIT_CODE),
    ) -> None:
        """`adopt` is given the id of each run that is this daemon's from now on. `die` ends the process at once, for
        others have what it had accepted."""
        self._store = store
        self._daemon = daemon
        self._presence = Presence(store.engine, daemon, name=name, url=url)
        self._clock = clock
        self._adopt = adopt
        self._schedules_changed = schedules_changed
        self._die = die
        self._schedules: str | None = None
        self._judges_from = 0.0
        self._others: tuple[DaemonRow, ...] = ()
        self._dead: set[str] = set()
        """Those from which everything is taken over that can be."""
        self._taken: list[str] = []
        """Runs that are this daemon's by now, and still to be adopted."""
        self._problem: str | None = None
        self._thread = TurningThread(
            self._look,
            name="daemons",
            pause=LOOK_SECONDS,
            first_pause=LOOK_SECONDS,
            clock=clock,
            logger=logger,
            failed="the other daemons cannot be seen",
        )

    def begin(self) -> None:
        """Be one of them, before anything is looked for in the store. Raises DataFolderInUse, StoreUnavailable."""
        give_up = self._clock.monotonic() + LEASE_SECONDS
        while True:
            try:
                self._presence.begin()
                break
            except IdTaken:
                # Its last connection may not be over yet for the server.
                if self._clock.monotonic() > give_up:
                    raise DataFolderInUse(
                        f"a daemon with the id of this data folder ({self._daemon}) is at work on the database; if "
                        "this folder is a copy of that one's, delete daemon.id in it, and it gets an id of its own"
                    ) from None
                self._thread.rest(LOOK_SECONDS)
        self._store.writer.run(partial(free_ended, daemon=self._daemon))

    def start(self) -> None:
        """Begin to look at the others."""
        self._judges_from = self._clock.monotonic() + LEASE_SECONDS
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and say that it lives no more. The store is still open."""
        if self._thread.is_stopping:
            return
        self._thread.stop()
        try:
            left = self._store.writer.run(partial(left_by, daemon=self._daemon))
            self._presence.leave(forget=left == 0)
        except StoreUnavailable as error:
            logger.warning("the other daemons are not told that this one leaves: %s", error)

    def look(self) -> None:
        """One look. Raises StoreUnavailable."""
        try:
            seen = self._presence.look()
        except IdTaken:
            return  # whoever looks whether this one is dead holds its lock for a moment
        if seen.is_declared_dead:
            logger.critical(
                "others have taken this daemon for dead and have its queued runs: it ends at once"
            )
            self._die()
            return
        if seen.is_new:
            # The database was away, for the others too: they get time to come back.
            self._judges_from = self._clock.monotonic() + LEASE_SECONDS
        self._others = seen.others
        # At the first look too: somebody may have changed one since they were loaded.
        if seen.schedules != self._schedules:
            self._schedules_changed()
        self._schedules = seen.schedules
        silent = [other for other in seen.others if _is_silent(other)]
        self._dead &= {other.id for other in silent}
        if self._clock.monotonic() >= self._judges_from:
            for other in silent:
                if other.id not in self._dead:
                    self._take_over(other)
        while self._taken:
            self._adopt(self._taken[0])
            del self._taken[0]

    def _take_over(self, other: DaemonRow) -> None:
        taken = self._store.writer.run(partial(take_over, dead=other.id, daemon=self._daemon))
        if taken is None:
            return
        self._dead.add(other.id)
        self._taken += taken
        if taken:
            logger.warning("%d queued runs of %s are taken over", len(taken), other)

    def _look(self) -> None:
        try:
            self.look()
        except StoreUnavailable as error:
            if self._problem is None:
                logger.error("the other daemons cannot be seen: %s", error)
            self._problem = error.message
        else:
            self._problem = None

    def told(self) -> list[str]:
        """What people should know of the others: those that are away while runs wait for them."""
        if self._problem is not None:
            return [self._problem]
        return [
            f"{left} runs wait for {other}: start it again"
            for other in self._others
            if _is_silent(other) and (left := self._left(other.id))
        ]

    def _left(self, daemon: str) -> int:
        return self._store.writer.run(partial(left_by, daemon=daemon))

    def check_has(self, run: ListedRun) -> None:
        """Raises RunElsewhere for a run that another daemon has, or has had; StoreUnavailable."""
        if run.daemon is None or run.daemon == self._daemon:
            return
        other = find_daemon(self._store.engine, run.daemon)
        who = f"a daemon that has left ({run.daemon})" if other is None else str(other)
        details = {"run_id": run.id, "daemon": None if other is None else other.url}
        raise RunElsewhere(f"run {run.id} is with {who}; ask that one", details=details)


def _is_silent(other: DaemonRow) -> bool:
    return other.silent_seconds is None or other.silent_seconds > LEASE_SECONDS
