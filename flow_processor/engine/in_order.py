"""Running a list of steps one after the other, with the jumps that goto makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow_processor.engine.signals import FlowFailed
from flow_processor.step import Exit, Goto

if TYPE_CHECKING:
    from flow_processor.engine.step_list import StepList


def run_in_order(steps: StepList) -> Exit | None:
    """Run the steps in the order of the list, as far as they are to run; what an `exit` said that ended them early."""
    index = {step.name: number for number, step in enumerate(steps.steps)}
    position, jumps = 0, 0
    while position < len(steps.steps):
        step = steps.steps[position]
        control = steps.visit(step)
        position += 1
        if isinstance(control, Exit):
            return control
        if step.name == steps.until:
            return None
        if isinstance(control, Goto):
            if control.step == "__exit__":
                return Exit()
            jumps += 1
            if jumps > steps.flow.max_jumps:
                raise _too_many_jumps(steps, step.name)
            marks = {"__start__": 0, "__end__": len(steps.steps)}
            position = marks.get(control.step, index.get(control.step, len(steps.steps)))
    return None


def _too_many_jumps(steps: StepList, name: str) -> FlowFailed:
    message = f"the flow jumped more than {steps.flow.max_jumps} times by goto (max_jumps)"
    return FlowFailed(
        {"code": "too_many_jumps", "message": message, "details": {}, "step": steps.prefix + name}
    )
