"""Runs that are being accepted: their rows are on the way into the store."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from flow_processor.service.shared_locks import HeldElsewhere
from flow_processor.store.runs import RunRow


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A run that is accepted once its row is committed."""

    run: RunRow
    recorded: Future[bool]
    """True once it is durable; False where somebody else had it (`Cause.claim`)."""
    go_on: Callable[[], None]
    """What follows the commit."""
    take_back: Callable[[], None] = lambda: None
    """What follows where there was none: gives back what was taken for the run."""
    overlap: Callable[[str], Acceptance] | None = None
    """What follows where a run of another daemon, whose id it is given, holds the flow's lock."""
    accepted: Future[RunRow | None] = field(default_factory=Future)
    """For who does not wait: the outcome of `finish`."""

    def finish(self) -> RunRow | None:
        """Wait for the commit and do what follows it. None where somebody else had it. Raises StoreUnavailable."""
        is_recorded = False
        try:
            is_recorded = self.recorded.result()
        except HeldElsewhere as held:
            if self.overlap is None:
                raise
            return self.overlap(held.holder).finish()
        finally:
            if not is_recorded:
                self.take_back()
        if not is_recorded:
            return None
        self.go_on()
        return self.run


class Acceptances:
    """Finishes them in a thread of its own, in their order.

    So who has hundreds of runs to launch need not wait for each: they share a few commits. Not in the store's writer:
    to hand a run to a worker takes longer than to write it, and the next commit would wait for that.
    """

    def __init__(self) -> None:
        self._begun: queue.SimpleQueue[Acceptance | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._work, name="acceptances", daemon=True)

    def start(self) -> None:
        """Begin to finish."""
        self._thread.start()

    def stop(self) -> None:
        """Finish those that were added so far, and end."""
        with self._lock:
            self._is_stopped = True
            self._begun.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def add(self, acceptance: Acceptance) -> Future[RunRow | None]:
        """Finish it when it is its turn; the future has the outcome, and its callbacks must wait for nothing."""
        with self._lock:
            is_stopped = self._is_stopped
            if not is_stopped:
                self._begun.put(acceptance)
        if is_stopped:  # begun just before everything was closed: somebody may wait for it
            _finish(acceptance)
        return acceptance.accepted

    def _work(self) -> None:
        while (acceptance := self._begun.get()) is not None:
            _finish(acceptance)


def _finish(acceptance: Acceptance) -> None:
    try:
        outcome = acceptance.finish()
    except Exception as error:  # noqa: BLE001  that run's outcome; the others go on
        acceptance.accepted.set_exception(error)
    else:
        acceptance.accepted.set_result(outcome)
