"""Run steps again and again until a condition holds.

```yaml
- name: finished
  type: until
  until:
    condition: status.state == 'done'
    max_rounds: 20
    delay_seconds: 30
    steps:
      - name: status
        type: rest
        rest: {uri: "https://builds.example.com/{{ __input__.build }}"}
```

`condition` is an expression as in `when` and is looked at after each round, over the flow data and what the steps
wrote. As in `when`, a name that is not there is empty and no error; `octospool run --dry` tells of such names. What one
round wrote the next one sees too, and the number of the round, from 1, as `__loop_index__`. Between two rounds
`delay_seconds` pass; a long pause does not hold a worker.

The result is the mapping of the results by their keys after the last round, and `rounds`, how many there were. If the
condition does not hold after `max_rounds` of them the step fails with `until_exhausted`. In the journal the steps of
the second round are `finished[2]/status`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import Pause, Spec, Texts
from flow_processor.step import Block, StepContext, StepResult

if TYPE_CHECKING:
    from flow_processor.spec.step import StepSpec as AnyStep


class UntilOptions(Spec):
    """Runs steps again and again until a condition holds."""

    condition: bool | Texts
    """An expression as in `when`, or a list of which all must hold; looked at after each round."""
    max_rounds: Annotated[int, Field(ge=1, le=100_000)]
    """The most rounds there may be; if the condition holds after none of them the step fails."""
    delay_seconds: Pause = 0.0
    """Pause between the end of a round and the next one, in seconds."""
    steps: Annotated[tuple[AnyStep, ...], Field(min_length=1)]
    """The steps of a round."""


@step_type("until", repeatable=True)
def run(options: UntilOptions, context: StepContext) -> StepResult:
    """Run rounds. Repeatable: the inner steps' own journal decides."""
    results: dict[str, Any] = {}
    for number in range(1, options.max_rounds + 1):
        block = Block(str(number), options.steps, {**results, "__loop_index__": number})
        (outcome,) = context.run_blocks([block])
        if outcome is None:
            break
        if outcome.error is not None:
            raise outcome.failure(round=number)
        results.update(outcome.results)
        if outcome.control is not None:
            return StepResult({**results, "rounds": number}, outcome.control)
        seen = {**results, "__loop_index__": number}
        if context.holds(options.condition, extra=seen, word="condition"):
            return StepResult({**results, "rounds": number})
        if number < options.max_rounds:
            context.pause(options.delay_seconds, since=outcome.ended_at)
    raise StepError(
        f"the condition did not hold after {options.max_rounds} rounds",
        code="until_exhausted",
        details={"rounds": options.max_rounds},
    )
