"""The lines of a run: the threads that its flow has at work, and how they wait.

A flow begins with one line; loops have several. A line that waits tells so here. Once all of them wait, and nothing
is due for a while, the run is parked: each line is left by `Parked`, and the worker is free for other runs.
A line that computes is not asked anything, so a step costs nothing here.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from flow_processor.clock import Clock
from flow_processor.engine.signals import Parked, Stopped
from flow_processor.run_state import Signal

PARK_SECONDS = 2.0
"""A run that goes on sooner keeps its worker: parking it costs two hand-overs and a replay of its journal."""

LOOK_SECONDS = 0.5
"""Who waits in the worker looks so often at the wall clock, which may have been set."""


@dataclass(eq=False, slots=True)
class _Place:
    """Where a line waits."""

    until: float | None
    deadline: float | None
    signal: str | None
    taken: Signal | None = None
    must_look: bool = True
    """It has yet to ask whether it must end; until then the run is not parked."""
    woken: threading.Event = field(default_factory=threading.Event)


class Lines:
    """The lines of one run in one worker. Thread safe."""

    def __init__(
        self,
        clock: Clock,
        *,
        signals: Iterable[Signal],
        taken: Iterable[int] = (),
        may_park: Callable[[], bool],
    ) -> None:
        """`signals` were sent before and no step has taken them, oldest first; `taken`: the seqs of those that one has.

        A worker that had the run before may be told of one only now, after another worker's step has taken it.
        """
        self._clock = clock
        self._may_park = may_park
        self._lock = threading.Lock()
        self._busy = 1
        """How many lines do not wait."""
        self._places: list[_Place] = []
        self._open = list(signals)
        self._known = {*taken, *(signal.seq for signal in self._open)}
        self._is_parked = False
        self._wake_at: float | None = None

    def wait(
        self,
        *,
        until: float | None = None,
        deadline: float | None = None,
        signal: str | None = None,
        check: Callable[[], None],
    ) -> Signal | None:
        """Wait for a signal of that name, which is taken; None when one of the moments came first.

        `until` is what the wall clock must say (seconds since 1970), `deadline` what the monotonic one must.
        `check` is called now and then, and ends the wait by what it raises. Raises Parked.
        """
        place = _Place(until, deadline, signal)
        with self._lock:
            place.taken = self._take(signal)
            if place.taken is not None:
                return place.taken
            self._busy -= 1
            self._places.append(place)
        try:
            self._stay(place, check)
        except BaseException:
            with self._lock:
                self._leave(place)
                if place.taken is not None:  # it came, but nothing has come of it
                    self._open.insert(0, place.taken)
            raise
        with self._lock:
            self._leave(place)
        return place.taken

    def _stay(self, place: _Place, check: Callable[[], None]) -> None:
        while place.taken is None:
            if not self._is_parked:
                place.must_look = False
                check()
                with self._lock:
                    self._park_if_idle()
            if self._is_parked:
                raise Parked(self._wake_at)
            left = self._left(place)
            if left <= 0:
                return
            self._clock.wait(place.woken, min(left, LOOK_SECONDS))
            place.woken.clear()

    def _left(self, place: _Place) -> float:
        """Seconds until the first of its moments."""
        left = math.inf
        if place.until is not None:
            left = place.until - self._clock.now().timestamp()
        if place.deadline is not None:
            left = min(left, place.deadline - self._clock.monotonic())
        return left

    def _leave(self, place: _Place) -> None:
        if place in self._places:
            self._places.remove(place)
            self._busy += 1

    def _take(self, name: str | None) -> Signal | None:
        for signal in self._open:
            if signal.name == name:
                self._open.remove(signal)
                return signal
        return None

    def _park_if_idle(self) -> None:
        """Called when a line waits or ends; the lock is held."""
        # Once is enough: lines that are being left say nothing new.
        if self._is_parked or self._busy or not self._places or not self._may_park():
            return
        if any(place.must_look for place in self._places):
            return
        seconds = min(self._left(place) for place in self._places)
        if seconds <= PARK_SECONDS:
            return
        self._is_parked = True
        if seconds < math.inf:
            self._wake_at = self._clock.now().timestamp() + seconds
        for place in self._places:
            place.woken.set()

    def deliver(self, signal: Signal) -> None:
        """A signal has come: the first line that waits for it goes on, or it is kept for one that will."""
        with self._lock:
            # One that is too late for this worker is in the journal, where the daemon looks when it parks the run.
            if signal.seq in self._known or self._is_parked:
                return
            self._known.add(signal.seq)
            place = next((place for place in self._places if place.signal == signal.name), None)
            if place is None:
                self._open.append(signal)
                return
            place.taken = signal
            self._leave(place)
            place.woken.set()

    def look_up(self) -> None:
        """Who waits is to `check`: the run must end, or its daemon is gone."""
        with self._lock:
            for place in self._places:
                place.must_look = True
                place.woken.set()

    def side_by_side(self, works: Sequence[Callable[[], None]], *, limit: int) -> None:
        """Do the works in up to `limit` lines; see `StepContext.side_by_side`."""
        count = min(limit, len(works))
        if count <= 1:
            for work in works:
                work()
            return
        crew = _Crew(works, count)
        with self._lock:
            self._busy += count - 1  # the line that calls stands still meanwhile
        with ThreadPoolExecutor(count, thread_name_prefix="line") as pool:
            lines = [pool.submit(self._line, crew) for _ in range(count)]
        raised = [error for line in lines if (error := line.exception()) is not None]
        # A line that was parked says nothing about the run where another one was left for a reason.
        raised.sort(key=lambda error: isinstance(error, Parked))
        if raised:
            raise raised[0]

    def begin_line(self) -> None:
        """There is one more line, and it is at work; the line that begins it says so."""
        with self._lock:
            self._busy += 1

    def end_line(self) -> None:
        """A line is no more."""
        with self._lock:
            self._busy -= 1
            self._park_if_idle()

    def _line(self, crew: _Crew) -> None:
        try:
            crew.work()
        finally:
            with self._lock:
                crew.lines -= 1
                if crew.lines:  # the last one's place among the busy is that of the line that called
                    self._busy -= 1
                    self._park_if_idle()


class _Crew:
    """The works that a few lines share, taken one by one."""

    def __init__(self, works: Sequence[Callable[[], None]], lines: int) -> None:
        self.lines = lines
        """How many have not ended."""
        self._works = iter(works)
        self._lock = threading.Lock()
        self._has_failed = False

    def work(self) -> None:
        stopped: Stopped | None = None
        is_through = False
        try:
            while (work := self._next()) is not None:
                try:
                    work()
                except Stopped as reason:
                    # The others that were under way must come by their finally steps too; new ones end at once.
                    stopped = stopped or reason
            is_through = True
        finally:
            if not is_through:
                self._has_failed = True
        if stopped is not None:
            raise stopped

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            return None if self._has_failed else next(self._works, None)
