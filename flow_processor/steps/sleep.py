"""Wait for a while.

```yaml
- name: breathe
  type: sleep
  sleep: {seconds: 2.5}
```

A cancel or the step's time limit ends it at once. Beyond two seconds the run holds no worker meanwhile, and a restart
does not begin the sleep anew. The result is null. To wait for a moment, a signal or a person: `wait`.
"""

from __future__ import annotations

from pydantic import TypeAdapter

from flow_processor.expressions.rendered import checked
from flow_processor.factory import step_type
from flow_processor.spec.base import Pause, Spec, Templated
from flow_processor.step import StepContext, StepResult
from flow_processor.wait import Wait, WaitKind

_PAUSE: TypeAdapter[float] = TypeAdapter(Pause)


class SleepOptions(Spec):
    """Waits for a while."""

    seconds: Templated[Pause]
    """How long, in seconds; at most a year."""


@step_type("sleep", repeatable=True)
def run(options: SleepOptions, context: StepContext) -> StepResult:
    """Wait for the given time."""
    context.wait_for(context.begun_wait or _begin(options, context))
    return StepResult()


def _begin(options: SleepOptions, context: StepContext) -> Wait:
    must = "a number of seconds from 0 to a year"
    seconds = checked(_PAUSE, context.render(options.seconds), where="sleep.seconds", must=must)
    return Wait(WaitKind.SLEEP, until=context.now().timestamp() + seconds)
