"""Runs a flow: its steps, then what follows on their end whatever happened: finally_step and the handlers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flow_processor.clock import from_epoch
from flow_processor.engine.signals import FlowFailed, Stopped
from flow_processor.engine.step_list import StepList
from flow_processor.engine.stops import Stops
from flow_processor.flow_files import ancestors
from flow_processor.spec.step import StepSpec, is_graph
from flow_processor.step import Exit, FlowOutcome

if TYPE_CHECKING:
    from flow_processor.engine.interpreter import RunInterpreter

_HANDLER_OF = {
    "succeeded": "on_success",
    "exited": "on_success",
    "failed": "on_failure",
    "cancelled": "on_cancel",
}


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
        closes: Stops | None = None,
    ) -> None:
        """`prefix` stands before the paths of its steps; `data` is the flow data before the first of them."""
        self._run = run
        self._flow = flow
        self._spec = run.spec_of(flow)
        self._prefix = prefix
        self._until = None if prefix else run.journal.before.until
        self._steps = StepList(
            run,
            self._wanted_steps(),
            prefix=prefix,
            data=data,
            deadline=deadline,
            flow=self._spec,
            stops=stops,
            closes=closes,
        )
        self._steps.comes_later = self._spec.finally_step
        self._steps.until = self._until
        self._is_cut_short = False
        """It has ended after the step that the run was to end after."""
        self._status = "succeeded"
        self._error: dict[str, Any] | None = None
        self.exit_message: str | None = None
        """What the `exit` step said that ended this flow."""

    def execute(self) -> FlowOutcome:
        """Run the steps, and what follows on their end. Raises Stopped, behind that."""
        stopped: Stopped | None = None
        try:
            ended = self._steps.run()
            self._is_cut_short = ended is None and self._until in self._steps.finished
            if self._is_cut_short:
                ended = Exit(f"ended after step '{self._until}', as asked (until)")
            if ended is not None:
                self._status, self.exit_message = "exited", ended.message
        except FlowFailed as failed:
            self._fail(failed)
        except Stopped as reason:
            stopped = reason
            is_timeout = reason.reason.code == "flow_timeout"
            self._status, self._error = "failed" if is_timeout else "cancelled", reason.reason.as_record()
        self._close()
        if stopped is not None:
            raise stopped
        return FlowOutcome(self._status, self._steps.data, self._error)

    def _wanted_steps(self) -> Sequence[StepSpec]:
        """The steps of the flow; of those that run by what they need only what the last wanted one needs."""
        steps = self._spec.steps
        if self._until is None or not is_graph(steps):
            return steps
        before = ancestors({step.name: step.needs or () for step in steps})
        return [step for step in steps if step.name == self._until or step.name in before[self._until]]

    def _fail(self, failed: FlowFailed) -> None:
        """The first error stays."""
        if self._error is None:
            self._status, self._error = "failed", failed.error

    def _close(self) -> None:
        name = self._spec.finally_step
        has_run = name is None or name in self._steps.finished
        if has_run and not any(self._spec.handlers.values()):
            return
        self._steps.close()
        self._run.begin_closing(is_whole=not self._prefix)
        if not has_run:
            try:
                self._steps.visit(next(step for step in self._spec.steps if step.name == name))
            except FlowFailed as failed:
                self._fail(failed)
        # A flow that was cut short on purpose has not come to the end that on_success is for.
        if not self._is_cut_short or self._status != "exited":
            self._handle(_HANDLER_OF[self._status])
        self._handle("finally")

    def _handle(self, name: str) -> None:
        """Run a handler, on data of its own; it sees that of the flow, and what became of it."""
        steps = self._spec.handlers[name]
        if not steps:
            return
        handler = StepList(
            self._run,
            steps,
            prefix=f"{self._prefix}{name}/",
            # The list of errors is the flow's own, which is to have theirs too.
            data={**self._steps.data, "__run__": self._told()},
            deadline=self._steps.deadline,
            flow=self._spec,
            stops=self._steps.stops,
            closes=self._steps.closes,
        )
        handler.handler = f"{name}/"
        try:
            handler.run()
        except FlowFailed as failed:
            self._fail(failed)

    def _told(self) -> dict[str, Any]:
        """What `__run__` is."""
        order = self._run.order
        return {
            "id": order.run_id,
            "flow": self._flow,
            "status": self._status,
            "error": self._error,
            "started_at": from_epoch(order.started_at).isoformat(),
        }
