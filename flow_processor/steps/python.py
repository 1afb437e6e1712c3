"""Call a Python function of your own.

```yaml
- name: price
  type: python
  python:
    call: net_price
    args: {gross: "{{ __input__.gross }}", rate: 0.19}
```

The function stands in a file of `callers/` in the data folder, under the decorator `@caller`:

```python
from flow_processor.own_code import caller


@caller
def net_price(gross: float, rate: float = 0.2) -> float:
    return round(gross / (1 + rate), 2)
```

Arguments are checked against the annotations when the flow is loaded, and once more when templates are rendered. A
parameter that is annotated with `Secret` is given one by its name: `secrets: {token: github}`. The result must be
JSON: texts, numbers, lists, mappings; dates become ISO text. What the function prints goes to the run's log. An
exception fails the step (`own_code_failed`) with its traceback in the details; a `StepError` fails it with your own
code. After a crash the step is run again only with `on_interrupt: rerun`.

[Own code](../own-code.md) tells more, also of step types and template filters of your own. `own_code: {enabled:
false}` in config.yml switches all of it off.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from flow_processor.factory import step_type
from flow_processor.spec.base import Spec
from flow_processor.step import StepContext, StepResult


class PythonOptions(Spec):
    """Calls a Python function of your own."""

    call: Annotated[str, Field(min_length=1)]
    """Name of a function in callers/ of the data folder."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Its arguments by name; texts in them may be templates."""
    secrets: dict[str, str] = Field(default_factory=dict)
    """Names of secrets for its parameters that take one."""


@step_type("python", repeatable=False)
def run(options: PythonOptions, context: StepContext) -> StepResult:
    """Call the function. Raises OwnCodeError, or what StepError the function raises."""
    secrets = {parameter: context.secret(name) for parameter, name in options.secrets.items()}
    return StepResult(context.call(options.call, context.render(options.args), secrets=secrets))
