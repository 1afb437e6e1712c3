"""Run several lists of steps beside each other.

```yaml
- name: both
  type: parallel
  parallel:
    greeting:
      - name: text
        type: set_fact
        set_fact: {value: "hello {{ __input__.name }}"}
      - name: loud
        type: set_fact
        set_fact: {value: "{{ text | upper }}"}
    size:
      - name: letters
        type: set_fact
        set_fact: {value: "{{ __input__.name | length }}"}
```

Each branch has a name and its own steps, which run in order. They see the flow data and what their own branch wrote.
The result is `{branch: {key: result}}`; the flow data does not change otherwise. When a branch fails the others are
ended (`sibling_failed`) and the step fails with its error. In the journal the steps of the branch `size` are
`both[size]/letters`.

For steps that wait for each other one by one, use `needs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, RootModel

from flow_processor.factory import step_type
from flow_processor.spec.block import BlockName
from flow_processor.step import Block, OnFailure, StepContext, StepResult

if TYPE_CHECKING:
    from flow_processor.spec.step import StepSpec as AnyStep


class ParallelOptions(RootModel[Any]):
    """Runs several lists of steps beside each other; a branch's name stands before its steps."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    root: Annotated[
        dict[BlockName, Annotated[tuple[AnyStep, ...], Field(min_length=1)]],
        Field(min_length=1, max_length=64),
    ]
    """The branches: a name and a list of steps each."""


@step_type("parallel", repeatable=True)
def run(options: ParallelOptions, context: StepContext) -> StepResult:
    """Run the branches. Repeatable: the inner steps' own journal decides."""
    blocks = [Block(name, steps) for name, steps in options.root.items()]
    outcomes = context.run_blocks(blocks, limit=len(blocks), on_failure=OnFailure.END_ALL)
    named = [(block.label, one) for block, one in zip(blocks, outcomes, strict=True) if one is not None]
    for name, outcome in named:
        if outcome.error is not None:
            raise outcome.failure(branch=name)
    control = next((outcome.control for _name, outcome in named if outcome.control is not None), None)
    return StepResult({name: outcome.results for name, outcome in named}, control)
