"""Set a value in the flow data.

```yaml
- name: window
  type: set_fact
  set_fact:
    value: {days: 7, project: "{{ __input__.project }}", labels: "{{ __input__.labels }}"}
```

Templates in all texts of the value are rendered, once. A text that is exactly one expression keeps its type: a
list stays a list. The value lands under the step's `result_key`.
"""

from __future__ import annotations

from typing import Any

from flow_processor.factory import step_type
from flow_processor.spec.base import Spec
from flow_processor.step import StepContext, StepResult


class SetFactOptions(Spec):
    """Sets a value in the flow data."""

    value: Any
    """Any value; texts in it may hold templates."""


@step_type("set_fact", repeatable=True)
def run(options: SetFactOptions, context: StepContext) -> StepResult:
    """Render the value."""
    return StepResult(context.render(options.value))
