"""Wait.

```yaml
- name: breathe
  type: sleep
  sleep: {seconds: 2.5}
```

A cancel or the step's time limit ends the wait at once. The result is null.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import Spec, Templated
from flow_processor.step import StepContext, StepResult

Pause = Annotated[float, Field(ge=0, le=366 * 86_400, allow_inf_nan=False)]
_PAUSE: TypeAdapter[float] = TypeAdapter(Pause)


class SleepOptions(Spec):
    """Waits."""

    seconds: Templated[Pause]
    """How long, in seconds; at most a year."""


@step_type("sleep", repeatable=True)
def run(options: SleepOptions, context: StepContext) -> StepResult:
    """Wait for the given time."""
    seconds = context.render(options.seconds)
    try:
        pause = _PAUSE.validate_python(seconds)
    except ValidationError as error:
        raise StepError(
            f"sleep.seconds must be a number of seconds from 0 to a year, not {seconds!r}",
            code="invalid_value",
        ) from error
    context.wait(pause)
    return StepResult()
