"""Blocks: lists of steps that stand inside a step, each run over data of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flow_processor.engine.signals import FlowFailed, Stopped
from flow_processor.engine.stops import Stops
from flow_processor.step import Block, BlockOutcome, Exit, OnFailure

if TYPE_CHECKING:
    from flow_processor.engine.step_list import StepList


class Blocks:
    """The blocks of one attempt of one step."""

    def __init__(
        self,
        outer: StepList,
        *,
        below: str,
        data: dict[str, Any],
        deadline: float | None,
        errors: list[dict[str, Any]],
        begin: Callable[[], None],
    ) -> None:
        """`below` is what their paths begin with, `data` what the step around them sees; their `__errors__` join
        `errors`. `begin` is called before each and raises what ends them all."""
        self._outer = outer
        self._below = below
        self._data = data
        self._deadline = deadline
        self._errors = errors
        self._begin = begin
        self._begins_more = True

    def run(self, blocks: Sequence[Block], *, limit: int, on_failure: OnFailure) -> list[BlockOutcome | None]:
        """What they came to, in their order; None for those that never began, or were ended by another's failure."""
        outcomes: list[BlockOutcome | None] = [None] * len(blocks)
        with self._outer.stops.group(f"{self._below}[") as group:

            def run_one(number: int) -> None:
                if self._begins_more:
                    outcomes[number] = self._run_one(blocks[number], group, on_failure)

            works = [partial(run_one, number) for number in range(len(blocks))]
            self._outer.lines.side_by_side(works, limit=limit)
        return outcomes

    def _run_one(self, block: Block, group: Stops, on_failure: OnFailure) -> BlockOutcome | None:
        self._begin()
        inner = self._outer.inner(
            block.steps,
            prefix=f"{self._below}[{block.label}]/",
            data={**self._data, **block.data, "__errors__": list(self._data["__errors__"])},
            deadline=self._deadline,
            stops=group,
        )
        control: Exit | None = None
        error: dict[str, Any] | None = None
        told: dict[str, Any] | None = None
        try:
            control = inner.run()
        except FlowFailed as failed:
            error, told = failed.error, failed.told
            if on_failure is not OnFailure.GO_ON:
                self._begins_more = False
            if on_failure is OnFailure.END_ALL:
                group.stop_beside(failed.error["step"])
        except Stopped as stopped:
            if not group.is_own(stopped.reason):
                raise
            return None
        if control is not None:
            self._begins_more = False
            if on_failure is OnFailure.END_ALL:
                group.stop_at_exit(f"{self._below}[{block.label}]")
        new = inner.data["__errors__"][len(self._data["__errors__"]) :]
        # What ended the block is told by the step around it, not twice.
        self._errors.extend(entry for entry in new if entry is not told)
        return BlockOutcome(inner.results, error=error, control=control, ended_at=inner.ended_at)
