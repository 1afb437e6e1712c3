"""Run another flow as one step.

```yaml
- name: customer
  type: flow
  flow: {path: sub/customer.yml, data_key: order}
```

The sub-flow sees the value of `data_key` as `__input__` (null without `data_key`). The result is its whole data,
also when it ends by `exit`. A failed sub-flow fails the step with the sub-flow's error.

`params` gives values for the sub-flow's own `params`; templates in them are rendered against this flow's data:

```yaml
- name: report
  type: flow
  flow: {path: sub/report.yml, params: {day: "{{ params.day }}", limit: 10}}
```

What can be told from the files is checked at load: unknown names, missing ones, values without a template. The rest
is checked when the step runs; then wrong values fail it with the code `params_invalid`, all of them named.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import RelativePath, Spec
from flow_processor.step import StepContext, StepResult


class FlowOptions(Spec):
    """Runs another flow as one step."""

    path: RelativePath
    """The flow's path, relative to FLOWS_PATH."""
    data_key: str | None = None
    """Key of the flow data whose value is the sub-flow's `__input__`; default: null."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Values for the sub-flow's `params`. Templates."""


@step_type("flow", repeatable=True)
def run(options: FlowOptions, context: StepContext) -> StepResult:
    """Run the sub-flow. Repeatable: its own steps in the journal decide what is run again."""
    payload = None if options.data_key is None else context.lookup(options.data_key)
    outcome = context.run_flow(options.path, payload=payload, params=context.render(options.params))
    if outcome.error is not None:
        error = outcome.error
        details = {**error.get("details", {}), "flow": options.path, "step": error.get("step")}
        raise StepError(error["message"], code=error["code"], details=details)
    return StepResult(outcome.data)
