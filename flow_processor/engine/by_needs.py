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
        self._first = {**steps.data, "__errors__": list(steps.data["__errors__"])}
        """The data before any of the steps."""
        self._ready: list[tuple[bool, int]] = []
        """Steps that may begin, as a heap: first those that an earlier worker has begun, of whose waits and time
        limits nobody else takes care; of the others those that stand first."""
        self._make_ready(self._graph.first())
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
            one = heapq.heappop(self._ready)
            if self._steps.is_settled(self._steps.steps[one[1]]):
                self._under_way += 1
                self._run_step(one[1])
            else:
                left.append(one)
        heapq.heapify(left)
        self._ready = left

    def take(self) -> Callable[[], None] | None:
        """The step to run next, of those that may begin now."""
        with self._lock:
            if not self._ready:
                return None
            _is_new, position = heapq.heappop(self._ready)
            self._under_way += 1
            return partial(self._run_step, position)

    def has_more(self) -> bool:
        """May another one begin now?"""
        with self._lock:
            return bool(self._ready)

    def _make_ready(self, positions: list[int]) -> None:
        for position in positions:
            heapq.heappush(self._ready, (not self._steps.has_begun(self._steps.steps[position]), position))

    def _seen_by(self, position: int) -> dict[str, Any]:
        """The data that a step sees: the first, and what came of all that it needs, directly or not.

        That is so in every worker, and whichever of the steps beside it have ended by then.
        """
        data, errors = dict(self._first), list(self._first["__errors__"])
        for needed in self._graph.before(position):
            share = self._steps.shares[self._steps.steps[needed].name]
            data.update(share)
            errors += share["__errors__"]
        data["__errors__"] = errors
        return data

    def _run_step(self, position: int) -> None:
        steps = self._steps
        step = steps.steps[position]
        try:
            control = steps.visit(step, data=self._seen_by(position))
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
                self._make_ready(self._graph.done(position))
                is_idle = self._under_way and not self._ready
            if is_idle:  # no step follows in this line whose begin would take the outcome along
                steps.journal.flush()
