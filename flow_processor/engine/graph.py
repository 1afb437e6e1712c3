"""Which steps may begin, given which have ended well: steps by what they need."""

from __future__ import annotations

from collections.abc import Sequence

from flow_processor.flow_files.needs import in_order
from flow_processor.spec.step import StepSpec


class Graph:
    """The steps of one list while they run. Steps are told by their positions. Not thread safe."""

    def __init__(self, steps: Sequence[StepSpec]) -> None:
        """What the steps need are steps of the list, and there are no circles: both is checked at load."""
        position = {step.name: number for number, step in enumerate(steps)}
        self._missing = [len(step.needs or ()) for step in steps]
        """For each step, how many of those it needs have not ended well yet."""
        self._dependents: list[list[int]] = [[] for _ in steps]
        for number, step in enumerate(steps):
            for needed in step.needs or ():
                self._dependents[position[needed]].append(number)

        self._order = [position[name] for name in in_order({step.name: step.needs or () for step in steps})]
        """The steps, each behind all that it needs."""
        place = {number: place for place, number in enumerate(self._order)}
        self._before = [0] * len(steps)
        """For each step all that it needs, directly or not: a bit for each, by its place in the order."""
        for number in self._order:
            for one in (position[name] for name in steps[number].needs or ()):
                self._before[number] |= self._before[one] | 1 << place[one]

    def first(self) -> list[int]:
        """The steps that need none."""
        return [number for number, missing in enumerate(self._missing) if not missing]

    def before(self, number: int) -> list[int]:
        """All steps that the step needs, directly or not; each behind those that it needs itself."""
        bits = self._before[number]
        return [self._order[place] for place in range(bits.bit_length()) if bits >> place & 1]

    def done(self, number: int) -> list[int]:
        """A step has ended well, which is said once; the steps that may begin now and might not before."""
        free = []
        for dependent in self._dependents[number]:
            self._missing[dependent] -= 1
            if not self._missing[dependent]:
                free.append(dependent)
        return free
