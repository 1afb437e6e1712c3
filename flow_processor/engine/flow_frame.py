"""Runs a flow: its steps, then what follows on their end whatever happened: finally_step and the handlers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flow_processor.clock import from_epoch
from flow_processor.engine.signals import FlowFailed, Stopped
from flow_processor.engine.step_list import StepList
from flow_processor.engine.stops import Stops
from flow_processor.errors import StepError
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
        self._stopped: Stopped | None = None
        """What ended it, or its handlers, from outside."""
        self.exit_message: str | None = None
        """What the `exit` step said that ended this flow."""

    def execute(self) -> FlowOutcome:
        """Run the steps, and what follows on their end. Raises Stopped, behind that."""
        try:
            ended = self._steps.run()
            self._is_cut_short = ended is None and self._until in self._steps.finished
            if self._is_cut_short:
                ended = Exit(f"ended after step '{self._until}', as asked (until)")
            if ended is not None:
                self._status, self.exit_message = "exited", ended.message
        except FlowFailed as failed:
            self._fail(failed)
        except Stopped as stopped:
            self._stop(stopped.reason)
        self._close()
        if self._stopped is not None:
            raise self._stopped
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

    def _stop(self, reason: StepError) -> None:
        """It ends as cancelled, or for its time limit, whatever it had come to; the error tells that too."""
        if self._error is not None:
            reason = StepError(
                reason.message, code=reason.code, details={**reason.details, "before": self._error}
            )
        self._stopped = Stopped(reason)
        is_timeout = reason.code == "flow_timeout"
        self._status, self._error = "failed" if is_timeout else "cancelled", reason.as_record()

    def _close(self) -> None:
        name = self._spec.finally_step
        has_run = name is None or name in self._steps.finished
        if has_run and not any(self._spec.handlers.values()):
            return
        ends, closes = self._steps.stops, self._steps.closes
        self._steps.close()
        if not has_run:
            self._run.begin_closing(is_whole=not self._prefix)
            try:
                self._steps.visit(next(step for step in self._spec.steps if step.name == name))
            except FlowFailed as failed:
                self._fail(failed)
            self._run.end_closing(is_whole=not self._prefix)
        # A flow that was cut short on purpose has not come to the end that on_success is for.
        if not self._is_cut_short or self._status != "exited":
            self._handle_end(ends, closes)
        self._run.begin_closing(is_whole=not self._prefix)
        self._handle("finally", self._steps.stops, self._steps.closes)
        if self._stopped is None and ends.reason is not None and any(self._spec.handlers.values()):
            self._stop(ends.reason)

    def _handle_end(self, ends: Stops, closes: Stops | None) -> None:
        """Run on_success, on_failure or on_cancel. What ends the flow (`ends`) ends the first two as it would end its
        steps; it does not end what closes a flow that has been ended already."""
        name = _HANDLER_OF[self._status]
        has_begun = self._has_begun(name) or self._has_begun("finally")
        if self._stopped is None and ends.reason is not None and not has_begun:
            self._stop(ends.reason)
            name = _HANDLER_OF[self._status]
        if self._stopped is not None:
            self._run.begin_closing(is_whole=not self._prefix)
            self._handle(name, self._steps.stops, self._steps.closes)
            return
        try:
            self._handle(name, ends, closes)
        except Stopped as stopped:
            self._stop(stopped.reason)

    def _has_begun(self, name: str) -> bool:
        """Did an earlier worker begin the handler?"""
        prefix = f"{self._prefix}{name}/"
        return any(record.path.startswith(prefix) for record in self._run.journal.before.steps)

    def _handle(self, name: str, stops: Stops, closes: Stops | None) -> None:
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
            stops=stops,
            closes=closes,
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
