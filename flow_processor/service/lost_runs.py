"""Looks whether every run that the store calls under way is in somebody's hands.

It should always be so. Where it is not, by a defect that nobody knows of, the run would stand there for ever and hold
its flow's lock; a person hears of it here, and the next start goes on with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from flow_processor.clock import Clock
from flow_processor.errors import StoreUnavailable
from flow_processor.store import Store
from flow_processor.turning import TurningThread

logger = logging.getLogger("octospool.service")

LOOK_SECONDS = 60.0
"""Pause between two looks. A run is lost only if two looks in a row say so: it may just be changing hands."""


class LostRuns:
    """Looks once a minute, until it is stopped."""

    def __init__(self, store: Store, *, is_in_hands: Callable[[str], bool], clock: Clock) -> None:
        """`is_in_hands`: has a worker that run, does it wait for one, or is it parked?"""
        self._store = store
        self._is_in_hands = is_in_hands
        self._suspects: frozenset[str] = frozenset()
        self.found: frozenset[str] = frozenset()
        """Ids of the runs that nobody has."""
        self._thread = TurningThread(
            self._look,
            name="lost-runs",
            pause=LOOK_SECONDS,
            first_pause=LOOK_SECONDS,
            clock=clock,
            logger=logger,
            failed="cannot see whether runs are lost",
        )

    def start(self) -> None:
        """Begin to look, a minute from now."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._thread.stop()

    def look(self) -> None:
        """One look. Raises StoreUnavailable."""
        suspects = frozenset(
            run_id for run_id in self._store.runs.begun_ids() if not self._is_in_hands(run_id)
        )
        found = suspects & self._suspects
        for run_id in sorted(found - self.found):
            logger.error("%s", told_of(run_id), extra={"run": run_id})
        self._suspects, self.found = suspects, found

    def _look(self) -> None:
        try:
            self.look()
        except StoreUnavailable as error:
            logger.warning("cannot see whether runs are lost: %s", error)


def told_of(run_id: str) -> str:
    """What a person hears of such a run."""
    return (
        f"run {run_id} is under way in the store, and no worker has it; restart the daemon: it then goes on after its "
        "last finished step. Please report this, with the daemon's log"
    )
