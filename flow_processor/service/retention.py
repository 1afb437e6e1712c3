"""The thread that deletes what is too old or too much, a little at a time."""

from __future__ import annotations

import logging

from flow_processor.clock import Clock
from flow_processor.errors import StoreUnavailable
from flow_processor.service.clock_doubt import ClockDoubt
from flow_processor.service.pruning import MAX_ROWS, Pruning, Step
from flow_processor.store import Store
from flow_processor.turning import TurningThread

logger = logging.getLogger("octospool.service")

FIRST_SECONDS = 3.0
"""How long after the start the first pass begins: going on with what was under way comes first."""

PASS_SECONDS = 60.0
"""Pause between two passes."""

STEP_SECONDS = 0.01
"""A step should take no longer: a launch that comes meanwhile waits for it."""

MIN_ROWS = 20

REST = 5.0
"""After a step it rests for so many times what the step has taken, …"""

MIN_REST_SECONDS = 0.01
"""… at least for so long."""


class Retention:
    """Prunes soon after the start and then every minute, until it is stopped."""

    def __init__(self, store: Store, pruning: Pruning, *, clock: Clock) -> None:
        self._store = store
        self._pruning = pruning
        self._clock = clock
        self._doubt = ClockDoubt(clock)
        self._has_begun = False
        self._thread = TurningThread(
            self._turn,
            name="retention",
            pause=PASS_SECONDS,
            first_pause=FIRST_SECONDS,
            clock=clock,
            logger=logger,
            failed="old runs cannot be deleted now",
        )

    def start(self) -> None:
        """Begin soon."""
        self._thread.start()

    def stop(self) -> None:
        """Leave after the step under way; the next start goes on."""
        self._thread.stop()

    def _turn(self) -> None:
        try:
            if not self._has_begun:
                self._doubt.begin(self._store.removals.newest())
            if (
                not self._has_begun or self._store.daemon is not None
            ):  # others delete runs whose files are here
                self._pruning.delete_stray_files()
            self._has_begun = True
            self._pass()
        except StoreUnavailable as error:
            logger.warning("old runs cannot be deleted now: %s", error)
        finally:
            self._tell()

    def _tell(self) -> None:
        for why, count in self._pruning.deleted.items():
            logger.info("retention: %d runs deleted because of %s", count, why)
        self._pruning.deleted.clear()

    def _pass(self) -> None:
        for step in self._pruning.steps(by_age=self._doubt.is_over()):
            took = self._commit(step)
            # A disk or a processor that is slow today gets smaller steps.
            factor = 0.5 if took > STEP_SECONDS else 1.25
            self._pruning.rows = min(MAX_ROWS, max(MIN_ROWS, int(self._pruning.rows * factor)))
            if self._thread.rest(max(MIN_REST_SECONDS, took * REST)):
                return

    def _commit(self, step: Step) -> float:
        began = self._clock.monotonic()
        self._store.writer.run(step)
        return self._clock.monotonic() - began
