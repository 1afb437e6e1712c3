"""Running a list of steps by what they need: each as soon as that has ended well, beside the others."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from flow_processor.engine.graph import Graph
from flow_processor.engine.on_demand import OnDemand
from flow_processor.engine.signals import FlowFailed, Stopped
from flow_processor.step import Exit

if TYPE_CHECKING:
    from flow_processor.engine.step_list import StepList


def run_by_needs(steps: StepList) -> Exit | None:
    """Run the steps by what they need; what an `exit` said that ended them early, if one did.

    Raises FlowFailed once none is under way any more, and Stopped.
    """
    with steps.stopped_together():
        return _Walk(steps).run()


class _Walk:
    """One walk through the steps; they are told by their positions in the list. Thread safe."""

    def __init__(self, steps: StepList) -> None:
        self._steps = steps
        self._graph = Graph(steps.steps)
        self._lock = threading.Lock()
        self._ready = self._graph.first()
        """Steps that may begin: a heap, so that those that stand first begin first."""
        self._under_way = 0
        self._failures: dict[int, FlowFailed] = {}
        self._exits: dict[int, Exit] = {}
        self._stopped: Stopped | None = None

    def run(self) -> Exit | None:
        """To the end."""
        self._take_past()
        OnDemand(self._steps.lines, self, limit=self._steps.flow.max_parallel).run()
        self._steps.tell_not_started()
        if self._stopped is not None:
            raise self._stopped
        # By their places in the file, not by the clock: a run that goes on elsewhere must come to the same end.
        if self._failures:
            raise self._failures[min(self._failures)]
        return self._exits[min(self._exits)] if self._exits else None

    def _take_past(self) -> None:
        """Take what earlier workers have finished, before anything begins: a failure among it may forbid that."""
        left = []
        while self._ready:
            position = heapq.heappop(self._ready)
            if self._steps.is_settled(self._steps.steps[position]):
                self._under_way += 1
                self._run_step(position, None)
            else:
                left.append(position)
        heapq.heapify(left)
        self._ready = left

    def take(self) -> Callable[[], None] | None:
        """The step to run next, of those that may begin now."""
        with self._lock:
            if not self._ready:
                return None
            position = heapq.heappop(self._ready)
            # What begins alone stays alone, for only its own end lets others begin. Else it sees the data as it is now.
            is_alone = not self._ready and not self._under_way
            self._under_way += 1
            return partial(self._run_step, position, None if is_alone else self._steps.snapshot())

    def has_more(self) -> bool:
        """May another one begin now?"""
        with self._lock:
            return bool(self._ready)

    def _run_step(self, position: int, data: dict[str, Any] | None) -> None:
        steps = self._steps
        step = steps.steps[position]
        try:
            control = steps.visit(step, data=data)
        except FlowFailed as failed:
            with self._lock:
                self._under_way -= 1
                self._failures[position] = failed
            if steps.flow.fail_fast:
                steps.stops.stop_beside(failed.error["step"])
        except Stopped as stopped:
            # The others come by all the same: steps that an earlier worker began must reach their finally steps.
            with self._lock:
                self._under_way -= 1
                if not steps.stops.is_own(stopped.reason):
                    self._stopped = stopped
        else:
            if isinstance(control, Exit):
                steps.stops.stop_at_exit(steps.prefix + step.name)
            with self._lock:
                self._under_way -= 1
                if isinstance(control, Exit):
                    self._exits[position] = control
                    return
                for free in self._graph.done(position):
                    heapq.heappush(self._ready, free)
                is_idle = self._under_way and not self._ready
            if is_idle:  # no step follows in this line whose begin would take the outcome along
                steps.journal.flush()
