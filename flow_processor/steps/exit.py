"""End the whole run here, with the status `exited`.

```yaml
- name: nothing_new
  type: exit
  when: tickets | length == 0
  exit: {message: "no tickets since {{ __input__.since }}"}
```

Later steps do not run, except the flow's `finally_step`. In a sub-flow it ends that sub-flow.
"""

from __future__ import annotations

from flow_processor.factory import step_type
from flow_processor.spec.base import Spec
from flow_processor.step import Exit, StepContext, StepResult


class ExitOptions(Spec):
    """Ends the run with the status `exited`."""

    message: str | None = None
    """Why, for people; may hold templates. It is the step's result."""


@step_type("exit", repeatable=True)
def run(options: ExitOptions, context: StepContext) -> StepResult:
    """Ask for the end of the run."""
    rendered = context.render(options.message)
    message = rendered if rendered is None or isinstance(rendered, str) else str(rendered)
    if message:
        context.log(f"exit: {message}")
    return StepResult(message, Exit(message))
