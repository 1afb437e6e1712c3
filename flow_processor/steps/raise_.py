"""Fail on purpose.

```yaml
- name: refuse
  type: raise
  when: not tickets
  raise: {message: "no tickets in {{ __input__.project }}", code: no_tickets}
```

The step fails with that message and code, as any other failure: `ignore_errors`, `on_error_goto` and the flow's
handlers see it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from flow_processor.errors import ENDED_FROM_OUTSIDE, StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import Spec
from flow_processor.step import StepContext, StepResult


def _not_own(code: str) -> str:
    if code in ENDED_FROM_OUTSIDE:
        raise ValueError(f"the code '{code}' is the product's own")
    return code


class RaiseOptions(Spec):
    """Fails on purpose."""

    message: Annotated[str, Field(min_length=1)]
    """What to say; may hold templates."""
    code: Annotated[str, Field(max_length=100, pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_not_own)] = (
        "raised"
    )
    """The error's code: small letters, digits and `_`."""


@step_type("raise", repeatable=True)
def run(options: RaiseOptions, context: StepContext) -> StepResult:
    """Fail."""
    raise StepError(str(context.render(options.message)), code=options.code)
