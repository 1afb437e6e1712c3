"""Go on at another step of the same flow.

```yaml
- name: next_page
  type: goto
  when: page.next is not none
  goto: {step_name: __start__}
```

`__start__` is the first step, `__end__` is after the last one, `__exit__` ends the run as `exited`. A run may
jump `max_jumps` times (1,000 unless the flow says otherwise). The result is null.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flow_processor.factory import step_type
from flow_processor.spec.base import Spec
from flow_processor.step import Goto, StepContext, StepResult


class GotoOptions(Spec):
    """Goes on at another step of the same flow."""

    step_name: Annotated[str, Field(min_length=1)]
    """Name of the step, or `__start__`, `__end__`, `__exit__`."""


@step_type("goto", repeatable=True)
def run(options: GotoOptions, context: StepContext) -> StepResult:
    """Ask for the jump."""
    return StepResult(control=Goto(options.step_name))
