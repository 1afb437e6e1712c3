"""Runs that wait and have no worker: known by nothing but their id and when they go on by themselves."""

from __future__ import annotations

import heapq
import math
import threading
from collections.abc import Callable

from flow_processor.clock import Clock
from flow_processor.engine.roster import Roster
from flow_processor.run_state import RunState

LOOK_SECONDS = 1.0
"""The wall clock is read so often at least: it may be set, and a suspended machine stops all other clocks."""

MAX_STALE = 1000
"""So many outlived moments may stand in the heap beside those that count."""


class ParkedRuns:
    """One thread for all of them, however many there are. The engine's lock guards it."""

    def __init__(self, roster: Roster, *, clock: Clock, hand_out: Callable[[str], None]) -> None:
        """`hand_out` is called under the engine's lock, so that a run is always found somewhere."""
        self._roster = roster
        self._clock = clock
        self._hand_out = hand_out
        self._changed = threading.Condition(roster.lock)
        self._wake_at: dict[str, float] = {}
        """Seconds since 1970; infinity for never."""
        self._awaited: dict[str, frozenset[str]] = {}
        """Names of the signals that they wait for, where that is known."""
        self._heap: list[tuple[float, str]] = []
        """An entry counts while `_wake_at` says the same."""
        self._thread = threading.Thread(target=self._work, name="parked-runs", daemon=True)

    def start(self) -> None:
        """Begin to look at the clock."""
        self._thread.start()

    def stop(self) -> None:
        """Hand out nothing more; the roster is stopping."""
        with self._roster.lock:
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._wake_at

    def __len__(self) -> int:
        return len(self._wake_at)

    def add(self, run_id: str, wake_at: float | None, awaited: frozenset[str] | None = None) -> None:
        """A run goes on at that moment (seconds since 1970), or when it is woken; None: only then.

        `awaited` are the names of the signals that it waits for; None: they are not known.
        """
        with self._roster.lock:
            if awaited is not None:
                self._awaited[run_id] = awaited
            moment = math.inf if wake_at is None else wake_at
            self._wake_at[run_id] = moment
            if moment == math.inf:
                return
            heapq.heappush(self._heap, (moment, run_id))
            if self._heap[0][1] == run_id:
                self._changed.notify()
            if len(self._heap) > len(self._wake_at) + MAX_STALE:
                self._heap = [(at, each) for each, at in self._wake_at.items() if at < math.inf]
                heapq.heapify(self._heap)

    def awaits(self, run_id: str, name: str) -> bool:
        """Is it worth waking the run for that signal? The engine's lock is held."""
        return name in self._awaited.get(run_id, (name,))

    def wake(self, run_id: str) -> None:
        """The run goes on now, if it is parked."""
        with self._roster.lock:
            if run_id in self._wake_at:
                self.add(run_id, -math.inf)

    def _work(self) -> None:
        while True:
            # The lock is given away between two runs: ten thousand may be due at once.
            with self._roster.lock:
                if self._roster.is_stopping:
                    return
                now = self._clock.now().timestamp()
                if not self._heap:
                    self._changed.wait()
                elif self._heap[0][0] > now:
                    self._changed.wait(min(LOOK_SECONDS, self._heap[0][0] - now))
                else:
                    moment, run_id = heapq.heappop(self._heap)
                    if self._wake_at.get(run_id) == moment:
                        del self._wake_at[run_id]
                        self._awaited.pop(run_id, None)
                        self._hand_out(run_id)


def must_go_on(state: RunState) -> bool:
    """Has a run that was parked been told something meanwhile that it waits for, or that it must end?"""
    if state.cancel_requested or state.flow_timed_out:
        return True
    # An approval is answered by a signal with the name of its step's path.
    awaited = {(record.waiting or {}).get("signal") or record.path for record in state.under_way()}
    return any(signal.name in awaited for signal in state.open_signals())
