"""What your own Python in the data folder imports: everything that callers/, steps/ and filters/ need.

```python
from flow_processor.own_code import caller


@caller
def greeting(name: str, times: int = 1) -> list[str]:
    return [f"Hello {name}"] * times
```

See docs/own-code.md. Only worker processes run such code; the daemon never imports it.
"""

from flow_processor.errors import StepError
from flow_processor.own_code.registration import caller, step, template_filter
from flow_processor.spec.base import Spec as Options
from flow_processor.step import Exit, Goto, Secret, StepContext, StepResult

__all__ = [
    "Exit",
    "Goto",
    "Options",
    "Secret",
    "StepContext",
    "StepError",
    "StepResult",
    "caller",
    "step",
    "template_filter",
]
