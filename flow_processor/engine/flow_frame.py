"""Runs a flow: its steps, then finally_step whatever happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_processor.engine.signals import FlowFailed, Stopped
from flow_processor.engine.step_list import StepList
from flow_processor.engine.stops import Stops
from flow_processor.step import FlowOutcome

if TYPE_CHECKING:
    from flow_processor.engine.interpreter import RunInterpreter


class FlowFrame:
    """One execution of one flow file inside a run: the flow itself, a sub-flow, or one item of a loop."""

    def __init__(
        self,
        run: RunInterpreter,
        flow: str,
        *,
        prefix: str,
        data: dict[str, Any],
        deadline: float | None,
        stops: Stops,
        closing: bool = False,
    ) -> None:
        """`prefix` stands before the paths of its steps; `data` is the flow data before the first of them."""
        self._run = run
        self._spec = run.spec_of(flow)
        self._steps = StepList(
            run,
            self._spec.steps,
            prefix=prefix,
            data=data,
            deadline=deadline,
            max_jumps=self._spec.max_jumps,
            stops=stops,
            closing=closing,
        )
        self.exit_message: str | None = None
        """What the `exit` step said that ended this flow."""

    def execute(self) -> FlowOutcome:
        """Run the steps, and finally_step whatever happened."""
        status, error, stopped = "succeeded", None, None
        try:
            ended = self._steps.run()
            if ended is not None:
                status, self.exit_message = "exited", ended.message
        except FlowFailed as failed:
            status, error = "failed", failed.error
        except Stopped as reason:
            stopped = reason
        try:
            self._finish()
        except FlowFailed as failed:
            if error is None:
                status, error = "failed", failed.error
        if stopped is not None:
            raise stopped
        return FlowOutcome(status, self._steps.data, error)

    def _finish(self) -> None:
        """finally_step, unless it has run in its place."""
        name = self._spec.finally_step
        if name is None or name in self._steps.finished:
            return
        self._steps.closing = True
        if self._run.stops.reason is not None:
            self._run.journal.flush(closing=True)
        self._steps.visit(next(step for step in self._spec.steps if step.name == name))
