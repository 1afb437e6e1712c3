"""Run another flow once for each element of a list, side by side.

```yaml
- name: notified
  type: flow_loop
  flow_loop: {path: sub/notify.yml, data_key: tickets, max_parallel: 4}
```

Each run of the flow sees its element as `__input__` and its number, from 1, as `__loop_index__`. The result is the
list of their data, in the order of the elements. With `on_item_error: continue` a failed one does not fail the
step: its error joins `__errors__` as `{step, code, error, details, index, flow}`, where `step` is the step that
failed; what it had gathered until then stands in the result. With `fail` no further one begins, and the step fails
with the first failed element's error.

`params` gives values for the flow's own `params`. Templates in them are rendered for each element; beside this flow's
data they see the element as `item` and its number as `__loop_index__`:

```yaml
- name: reports
  type: flow_loop
  flow_loop: {path: sub/report.yml, data_key: days, params: {day: "{{ item }}", limit: 10}}
```
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import RelativePath, Spec
from flow_processor.step import FlowOutcome, JsonValue, StepContext, StepResult


class OnItemError(StrEnum):
    """What a failed element does to the loop."""

    CONTINUE = "continue"
    FAIL = "fail"


class FlowLoopOptions(Spec):
    """Runs another flow once for each element of a list, side by side."""

    path: RelativePath
    """The flow's path, relative to FLOWS_PATH."""
    data_key: str
    """Key of the flow data that holds the list."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Values for the flow's `params`. Templates, rendered for each element, which is `item` there."""
    max_parallel: Annotated[int, Field(ge=1, le=256)] = 8
    """How many elements are under way at once."""
    on_item_error: OnItemError = OnItemError.CONTINUE
    """`continue`: a failed element is noted in `__errors__`. `fail`: it ends the loop and fails the step."""


@step_type("flow_loop", repeatable=True)
def run(options: FlowLoopOptions, context: StepContext) -> StepResult:
    """Run the flow for each element. Repeatable: the elements' own steps in the journal decide."""
    items = context.lookup(options.data_key)
    if not isinstance(items, list):
        raise StepError(
            f"flow_loop needs a list under data_key '{options.data_key}', found {_kind(items)}",
            code="not_a_list",
            details={"data_key": options.data_key},
        )
    outcomes = _Loop(options, context, items).run()
    failed = [
        (index, outcome.error) for index, outcome in enumerate(outcomes, 1) if outcome and outcome.error
    ]
    if failed and options.on_item_error is OnItemError.FAIL:
        index, error = failed[0]
        details = {
            **error.get("details", {}),
            "index": index,
            "flow": options.path,
            "step": error.get("step"),
        }
        raise StepError(error["message"], code=error["code"], details=details)
    for index, error in failed:
        context.add_error(_noted(error, index=index, path=options.path))
    return StepResult([outcome.data for outcome in outcomes if outcome])


class _Loop:
    """The elements of one loop."""

    def __init__(self, options: FlowLoopOptions, context: StepContext, items: list[JsonValue]):
        self._options = options
        self._context = context
        self._items = items
        self._outcomes: list[FlowOutcome | None] = [None] * len(items)
        self._has_ended = False

    def run(self) -> list[FlowOutcome | None]:
        """What the elements came to, in their order; None for those that never began."""
        works = [partial(self._run_item, position) for position in range(len(self._items))]
        self._context.side_by_side(works, limit=self._options.max_parallel)
        return self._outcomes

    def _run_item(self, position: int) -> None:
        if self._has_ended:
            return
        item, number = self._items[position], position + 1
        extra = {"item": item, "__loop_index__": number}
        params = self._context.render(self._options.params, extra=extra) if self._options.params else {}
        outcome = self._context.run_flow(self._options.path, payload=item, params=params, loop_index=number)
        self._outcomes[position] = outcome
        if outcome.error is not None and self._options.on_item_error is OnItemError.FAIL:
            self._has_ended = True


def _noted(error: Mapping[str, Any], *, index: int, path: str) -> dict[str, Any]:
    return {
        "step": error.get("step"),
        "code": error["code"],
        "error": error["message"],
        "details": error.get("details", {}),
        "index": index,
        "flow": path,
    }


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    names = {dict: "a mapping", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number")
