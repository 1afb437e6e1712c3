"""Threads that do the same again and again, until they are stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from flow_processor.clock import Clock

FAILED_SECONDS = 1.0
"""At least so long is the pause after a turn that has failed: what is wrong may last."""


class TurningThread:
    """Calls `turn` after each pause, and whenever it is woken. A turn that fails is logged, and the next one comes."""

    def __init__(
        self,
        turn: Callable[[], None],
        *,
        name: str,
        pause: Callable[[], float] | float,
        first_pause: float = 0.0,
        clock: Clock,
        logger: logging.Logger,
        failed: str,
    ) -> None:
        """`pause`: seconds until the next turn, asked for after each one; `first_pause`: until the first one. `failed`:
        what the log says of a turn that raised something."""
        self._turn = turn
        self._pause = pause
        self._first_pause = first_pause
        self._clock = clock
        self._logger = logger
        self._failed = failed
        self._seconds = first_pause
        """The pause that was last asked for."""
        self._wake = threading.Event()
        self.is_stopping = False
        """No further turn comes; one that takes long should look now and then."""
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """The next turn comes at once."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread; waits for the turn that is under way."""
        self.is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def rest(self, seconds: float) -> bool:
        """A pause within a turn, which a wake or a stop ends; True: it is to stop."""
        self._clock.wait(self._wake, seconds)
        return self.is_stopping

    def _work(self) -> None:
        pause = self._first_pause
        while True:
            if pause > 0:
                self._clock.wait(self._wake, pause)
            self._wake.clear()
            if self.is_stopping:
                return
            did_well = self._try(self._turn)
            did_well &= self._try(self._ask_pause)
            pause = self._seconds if did_well else max(self._seconds, FAILED_SECONDS)

    def _ask_pause(self) -> None:
        self._seconds = self._pause() if callable(self._pause) else self._pause

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except Exception:  # whatever it is, the next turn may do better; without this there would be none
            self._logger.exception("%s", self._failed)
            return False
        return True
