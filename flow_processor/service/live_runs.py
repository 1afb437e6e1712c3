"""The runs that have not ended: who waits for one, and what follows when it has."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from flow_processor.clock import Clock
from flow_processor.journal import WireRow
from flow_processor.run import RunStatus
from flow_processor.service.turns import Turns
from flow_processor.store.child_runs import ChildRun
from flow_processor.store.runs import ParkedRun, RunRow

logger = logging.getLogger("octospool.service")


@dataclass(slots=True)
class _Live:
    flow: str
    ended: threading.Event = field(default_factory=threading.Event)
    outcome: tuple[RunRow, list[WireRow]] | None = None
    """Once it has ended: the run and its journal, where the engine had all of it at hand."""
    is_left_behind: bool = False
    """A worker of the last daemon still has it."""
    asked_to_end_at: float | None = None
    """When such a run was cancelled, in seconds since 1970."""
    on_its_way: threading.Event | None = None
    """Set once a run that is being accepted is in the engine's hands, or in a line; None for others."""

    def end(self) -> None:
        """Nobody has to wait for it any more."""
        self.ended.set()
        if self.on_its_way is not None:
            self.on_its_way.set()


class LiveRuns:
    """Knows every run that has not ended. Thread safe."""

    def __init__(self, turns: Turns, *, clock: Clock, on_freed: Callable[[RunRow], None]) -> None:
        """`on_freed` is told each run that has ended, when its lock is free."""
        self._turns = turns
        self._clock = clock
        self._on_freed = on_freed
        self._live: dict[str, _Live] = {}
        self._endings: queue.SimpleQueue[tuple[RunRow, list[WireRow] | None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work_off, name="endings", daemon=True)

    def start(self) -> None:
        """Start the thread that frees what ended runs held."""
        self._thread.start()

    def stop(self) -> None:
        """Work off the endings that were told so far, and nothing more."""
        self._endings.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def add(self, run: RunRow | ParkedRun | ChildRun, *, left_behind: bool = False) -> None:
        """The run is live; `left_behind`: in the hands of a worker of the last daemon."""
        self._live[run.id] = _Live(run.flow, is_left_behind=left_behind)

    def begin(self, run: RunRow) -> None:
        """The run is being accepted. Before its commit: who sees it in a list may want to wait for its end."""
        self._live[run.id] = _Live(run.flow, on_its_way=threading.Event())

    def has_arrived(self, run_id: str) -> None:
        """The run that was being accepted is in the engine's hands, or in a line."""
        live = self._live.get(run_id)
        if live is not None and live.on_its_way is not None:
            live.on_its_way.set()

    def arrives(self, run_id: str, seconds: float) -> bool:
        """Wait until a run that is being accepted has arrived. False if none of that id is being accepted."""
        live = self._live.get(run_id)
        on_its_way = None if live is None else live.on_its_way
        return on_its_way is not None and self._clock.wait(on_its_way, seconds)

    def take_back(self, run: RunRow) -> None:
        """The run was not accepted after all."""
        live = self._live.pop(run.id, None)
        if live is not None:
            live.end()

    def is_left_behind(self, run_id: str) -> bool:
        """Does a worker of the last daemon still have the run?"""
        live = self._live.get(run_id)
        return live is not None and live.is_left_behind

    def take_over(self, run_id: str) -> bool:
        """The last daemon's worker has the run no more. False if none had it."""
        live = self._live.get(run_id)
        if live is None or not live.is_left_behind:
            return False
        live.is_left_behind, live.asked_to_end_at = False, None
        return True

    def ask_left_behind(self, run_id: str, *, at: float) -> bool:
        """Note that a run in the hands of the last daemon's worker was cancelled. False if it is in none."""
        live = self._live.get(run_id)
        if live is None or not live.is_left_behind:
            return False
        live.asked_to_end_at = live.asked_to_end_at or at
        return True

    def asked_to_end_at(self, run_id: str) -> float | None:
        """When a run that the last daemon's worker still has was cancelled, in seconds since 1970."""
        live = self._live.get(run_id)
        return None if live is None else live.asked_to_end_at

    def of_flow(self, flow: str) -> list[str]:
        """Ids of the runs of this flow that are live."""
        return [run_id for run_id, live in list(self._live.items()) if live.flow == flow]

    def flows(self) -> set[str]:
        """The flows of which a run is live."""
        return {live.flow for live in list(self._live.values())}

    def wait(self, run_id: str, seconds: float) -> tuple[RunRow, list[WireRow]] | None:
        """Wait for a run's end; the run and its journal if it ended meanwhile and they are at hand."""
        live = self._live.get(run_id)
        if live is None or not self._clock.wait(live.ended, seconds):
            return None
        return live.outcome

    def is_freed(self, run_id: str, seconds: float) -> bool:
        """Wait until what an ended run held is free (that comes a moment after its end is recorded)."""
        live = self._live.get(run_id)
        return live is None or self._clock.wait(live.ended, seconds)

    def has_ended(self, run: RunRow, journal: list[WireRow] | None = None) -> None:
        """The run has ended as it says, and that is durable.

        Only noted here: it is said by the store's writer and under the engine's lock, where nothing may be
        waited for.
        """
        self._endings.put((run, journal))

    def _work_off(self) -> None:
        while (ending := self._endings.get()) is not None:
            self._free(*ending)

    def _free(self, run: RunRow, journal: list[WireRow] | None) -> None:
        level = logging.INFO if run.status in (RunStatus.SUCCEEDED, RunStatus.EXITED) else logging.WARNING
        reason = f": {run.error['message']}" if run.error else ""
        logger.log(level, "%s%s", run.status.value, reason, extra={"run": run.id, "flow": run.flow})
        self._turns.give_back(run)
        live = self._live.pop(run.id, None)
        if live is not None:
            live.outcome = None if journal is None else (run, journal)
            live.end()
        self._on_freed(run)
