"""Run steps once for each element of a list.

```yaml
- name: labels
  type: foreach
  foreach:
    data_key: tickets
    as: ticket
    max_parallel: 4
    collect: label
    steps:
      - name: text
        type: set_fact
        set_fact: {value: "{{ ticket.key }} is {{ ticket.status }}"}
      - name: label
        type: set_fact
        set_fact: {value: "{{ text | upper }}"}
```

The list stands in the flow data under `data_key`, or is given as `items`: a list whose texts may hold templates, or
one template that gives a list. The steps see the flow data, the element under the name in `as`, its number, from 1,
as `__loop_index__`, and what the steps before them wrote for the same element; the flow data does not change.

The result is a list in the order of the elements: of the mappings of the results by their keys, or, with `collect`,
of the values of that one key (null where nothing was written). If an element fails, no further one begins and the
step fails with its error. With `on_item_error: continue` the others go on, and `__errors__` gets
`{step, code, error, details, index}`, where `step` is the path of the step that failed.

An `exit` inside ends the flow once the elements under way have ended. In the journal the steps of the third element
are `labels[3]/text`; `octospool runs show RUN --path 'labels[3]/'` shows them alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import Spec, TemplateText
from flow_processor.spec.block import BlockName, check_collect
from flow_processor.step import Block, BlockOutcome, JsonValue, OnFailure, StepContext, StepResult

if TYPE_CHECKING:
    from flow_processor.spec.step import StepSpec as AnyStep


class OnItemError(StrEnum):
    """What a failed element does to the loop."""

    FAIL = "fail"
    CONTINUE = "continue"


class ForeachOptions(Spec):
    """Runs steps once for each element of a list."""

    model_config = ConfigDict(populate_by_name=False)

    data_key: str | None = None
    """Key of the flow data that holds the list."""
    items: Annotated[list[Any] | TemplateText | None, Field(union_mode="left_to_right")] = None
    """The list itself, or a template that gives one."""
    as_: Annotated[BlockName, Field(alias="as")] = "item"
    """The name under which the steps see the element."""
    max_parallel: Annotated[int, Field(ge=1, le=256)] = 1
    """How many elements are under way at once."""
    on_item_error: OnItemError = OnItemError.FAIL
    """`fail`: a failed element ends the loop and fails the step. `continue`: it is noted in `__errors__`."""
    collect: str | None = None
    """The key inside whose values become the result; absent: all keys of each element."""
    steps: Annotated[tuple[AnyStep, ...], Field(min_length=1)]
    """The steps, run for each element."""

    @model_validator(mode="after")
    def _fits(self) -> ForeachOptions:
        if (self.data_key is None) == (self.items is None):
            raise ValueError("give either 'data_key' or 'items'")
        check_collect(self.collect, self.steps)
        return self


@step_type("foreach", repeatable=True)
def run(options: ForeachOptions, context: StepContext) -> StepResult:
    """Run the steps for each element. Repeatable: the inner steps' own journal decides."""
    items = _items(options, context)
    blocks = [
        Block(str(index), options.steps, {options.as_: item, "__loop_index__": index})
        for index, item in enumerate(items, 1)
    ]
    goes_on = options.on_item_error is OnItemError.CONTINUE
    outcomes = context.run_blocks(
        blocks,
        limit=options.max_parallel,
        on_failure=OnFailure.GO_ON if goes_on else OnFailure.BEGIN_NO_MORE,
    )
    for index, outcome in enumerate(outcomes, 1):
        if outcome is None or outcome.error is None:
            continue
        failure = outcome.failure(index=index)
        if not goes_on:
            raise failure
        context.add_error(_noted(outcome, index))
    begun = [outcome for outcome in outcomes if outcome is not None]
    control = next((outcome.control for outcome in begun if outcome.control is not None), None)
    return StepResult([_collected(outcome, options.collect) for outcome in begun], control)


def _items(options: ForeachOptions, context: StepContext) -> list[JsonValue]:
    if options.data_key is not None:
        items, where = context.lookup(options.data_key), f"under data_key '{options.data_key}'"
    else:
        items, where = context.render(options.items), "as items"
    if not isinstance(items, list):
        raise StepError(f"foreach needs a list {where}, found {_kind(items)}", code="not_a_list")
    return items


def _collected(outcome: BlockOutcome, collect: str | None) -> JsonValue:
    return outcome.results if collect is None else outcome.results.get(collect)


def _noted(outcome: BlockOutcome, index: int) -> dict[str, Any]:
    error = outcome.error or {}
    return {
        "step": error["step"],
        "code": error["code"],
        "error": error["message"],
        "details": error["details"],
        "index": index,
    }


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    names = {dict: "a mapping", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number")
