"""Transform data with a jq expression.

```yaml
- name: open_keys
  type: jq
  jq:
    data_key: tickets
    expression: '[.[] | select(.status == "open") | .key]'
```

One output is the result; no output is null; several are a list of them. The expression sees the value of
`data_key` and nothing else: `env`, `$ENV`, `input`, `import`, `include` and their like are refused (`jq_denied`).
Numbers keep every digit; where jq would round one, the step fails (`jq_lossy`).
"""

from __future__ import annotations

from flow_processor.factory import step_type
from flow_processor.spec.base import Spec
from flow_processor.step import StepContext, StepResult


class JqOptions(Spec):
    """Transforms data with a jq expression."""

    expression: str
    """The jq expression."""
    data_key: str = "."
    """Key of the flow data that is transformed; default: the whole data."""


@step_type("jq", repeatable=True)
def run(options: JqOptions, context: StepContext) -> StepResult:
    """Apply the expression to the value of `data_key`."""
    return StepResult(context.jq(options.expression, context.lookup(options.data_key)))
