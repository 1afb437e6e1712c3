"""Run steps once for each combination of some values.

```yaml
- name: builds
  type: matrix
  matrix:
    axes:
      system: [linux, windows]
      python: ["3.11", "3.12"]
    exclude:
      - {system: windows, python: "3.11"}
    include:
      - {system: macos, python: "3.12"}
    collect: label
    steps:
      - name: label
        type: set_fact
        set_fact: {value: "{{ matrix.system }}-{{ matrix.python }}"}
```

The steps see the flow data and the combination as `matrix`: the axes' names with one value each. Combinations come in
the order of the axes, the last axis turning fastest. A combination that has all the values of an entry of `exclude`
is left out; an entry that fits none leaves nothing out. Each entry of `include` is one more combination, at the end, as
it stands: it may lack an axis, which is then undefined in `matrix`, or have further names. An axis may be a template
that gives a list. If an axis is empty, or all is excluded, and nothing is included, no step runs, and the step succeeds
with an empty list.

The result is a list in the order of the combinations: of mappings that hold the combination as `matrix` and the
results by their keys, or, with `collect`, of the values of that one key. When a combination fails, those under way are
ended (`sibling_failed`) and the step fails with its error; with `fail_fast: false` the others run first. In the journal
the steps of the third combination are `builds[3]/label`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import Spec, TemplateText
from flow_processor.spec.block import BlockName, check_collect
from flow_processor.step import Block, BlockOutcome, JsonValue, OnFailure, StepContext, StepResult

if TYPE_CHECKING:
    from flow_processor.spec.step import StepSpec as AnyStep

MAX_COMBINATIONS = 10_000
"""More are taken for a mistake: axes multiply."""

Axis = Annotated[list[Any] | TemplateText, Field(union_mode="left_to_right")]


class MatrixOptions(Spec):
    """Runs steps once for each combination of some values."""

    axes: Annotated[dict[BlockName, Axis], Field(min_length=1)]
    """The axes' names, each with the list of its values, or a template that gives one."""
    include: tuple[dict[str, Any], ...] = ()
    """Combinations to add."""
    exclude: tuple[dict[str, Any], ...] = ()
    """Combinations to leave out; one that names only some axes leaves out all that have its values."""
    max_parallel: Annotated[int, Field(ge=1, le=256)] = 8
    """How many combinations are under way at once."""
    fail_fast: bool = True
    """Does a combination that fails end those under way, and keep others from beginning?"""
    collect: str | None = None
    """The key inside whose values become the result; absent: all keys of each combination."""
    steps: Annotated[tuple[AnyStep, ...], Field(min_length=1)]
    """The steps, run for each combination."""

    @model_validator(mode="after")
    def _fits(self) -> MatrixOptions:
        for entry in self.exclude:
            strange = [name for name in entry if name not in self.axes]
            if strange:
                raise ValueError(
                    f"'exclude' names '{strange[0]}', which is no axis; there are: {', '.join(self.axes)}"
                )
        check_collect(self.collect, self.steps)
        return self


@step_type("matrix", repeatable=True)
def run(options: MatrixOptions, context: StepContext) -> StepResult:
    """Run the steps for each combination. Repeatable: the inner steps' own journal decides."""
    combinations = _combinations(options, context)
    blocks = [
        Block(str(number), options.steps, {"matrix": combination})
        for number, combination in enumerate(combinations, 1)
    ]
    outcomes = context.run_blocks(
        blocks,
        limit=options.max_parallel,
        on_failure=OnFailure.END_ALL if options.fail_fast else OnFailure.GO_ON,
    )
    results: list[JsonValue] = []
    for combination, outcome in zip(combinations, outcomes, strict=True):
        if outcome is None:
            continue
        if outcome.error is not None:
            raise outcome.failure(matrix=combination)
        results.append(_result(outcome, combination, options.collect))
    control = next((one.control for one in outcomes if one is not None and one.control is not None), None)
    return StepResult(results, control)


def _combinations(options: MatrixOptions, context: StepContext) -> list[dict[str, JsonValue]]:
    axes = context.render(options.axes)
    count = len(options.include)
    size = 1
    for name, values in axes.items():
        if not isinstance(values, list):
            raise StepError(f"matrix needs a list for its axis '{name}'", code="not_a_list")
        size *= len(values)
    if size + count > MAX_COMBINATIONS:
        message = f"the matrix has {size + count} combinations; at most {MAX_COMBINATIONS} are allowed"
        raise StepError(message, code="matrix_too_large")
    excluded = context.render(list(options.exclude))
    found = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    kept = [one for one in found if not any(one | entry == one for entry in excluded)]
    return [*kept, *context.render(list(options.include))]


def _result(outcome: BlockOutcome, combination: dict[str, JsonValue], collect: str | None) -> JsonValue:
    if collect is not None:
        return outcome.results.get(collect)
    return {"matrix": combination, **outcome.results}
