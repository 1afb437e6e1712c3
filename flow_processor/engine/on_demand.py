"""Lines that come and go with the works there are: one work may bring several others, or none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from flow_processor.engine.lines import Lines
from flow_processor.engine.signals import Interrupted, Orphaned, Parked


class Works(Protocol):
    """Where the works come from. It is asked by one line at a time."""

    def take(self) -> Callable[[], None] | None:
        """The next work that can be done now; None while there is none."""

    def has_more(self) -> bool:
        """Is there another one that can be done now?"""


class OnDemand:
    """Does the works of a source in at most `limit` lines, the first of which is the one that calls.

    A line looks for works again after each of its own, and ends when there are none. So works of which each brings
    the next are done in the calling line, without a thread.
    """

    def __init__(self, lines: Lines, works: Works, *, limit: int) -> None:
        self._lines = lines
        self._works = works
        self._limit = limit
        self._lock = threading.Lock()
        self._at_work = 1
        self._all_ended = threading.Event()
        self._raised: list[BaseException] = []

    def run(self) -> None:
        """Do them all. Raises what a work raised; then no further one begins, and those under way end first."""
        self._line()
        self._all_ended.wait()
        if self._raised:
            raise min(self._raised, key=_rank)

    def _line(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001  raised again by the line that called
                with self._lock:
                    self._raised.append(error)

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            work = None if self._raised else self._works.take()
            if work is None:
                self._end_line()
            elif self._at_work < self._limit and self._works.has_more():
                self._begin_line()
            return work

    def _begin_line(self) -> None:
        self._at_work += 1
        self._lines.begin_line()
        try:
            threading.Thread(target=self._line, name="line", daemon=True).start()
        except RuntimeError:  # no thread can be had now: those that are there do it
            self._at_work -= 1
            self._lines.end_line()

    def _end_line(self) -> None:
        self._at_work -= 1
        if self._at_work:
            self._lines.end_line()
        else:  # the last one's place among the busy is that of the line that called
            self._all_ended.set()


_RANKS = (Orphaned, Interrupted, Exception, Parked)
"""Of several the first counts: that the daemon is gone, that a person must look, a defect; last that all wait."""


def _rank(error: BaseException) -> int:
    return next((rank for rank, kind in enumerate(_RANKS) if isinstance(error, kind)), len(_RANKS))
