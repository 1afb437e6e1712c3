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

With `spread: true` each element becomes a run of its own, in whichever worker is free; without it all of them share
the worker of this run:

```yaml
- name: reports
  type: flow_loop
  flow_loop: {path: sub/report.yml, data_key: days, max_parallel: 16, spread: true}
```

- While they run this run has no worker, if it does nothing else. `max_parallel` is how many have a worker, or wait for
  one, at once; no more of them work at once than MAX_WORKERS says.
- They are in the history: `octospool runs list --parent RUN` lists them, with their own log, time limit
  (`timeout_seconds` of the flow) and secrets. An element is launched once, whatever crashes when.
- They run the flow as it was when this run was launched, and take no lock of it: they are part of this run.
- The result and `__errors__` are the same; an error has `run_id` too, and its `step` is one of that run.
  `__run_id__`, `__job_id__` and `__timestamp__` in their data are their own.
- With `on_item_error: fail` the first failure ends those under way too. An element that was cancelled, or is
  interrupted, has failed.
- When the step ends before them (cancel, time limit, a failure beside it), they are cancelled. When this run is tried
  again, elements that are the same and had succeeded are taken over from the old run.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from flow_processor.errors import StepError
from flow_processor.factory import step_type
from flow_processor.spec.base import RelativePath, Spec
from flow_processor.step import Element, FlowOutcome, JsonValue, StepContext, StepResult


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
    spread: bool = False
    """True: each element is a run of its own, in any worker."""
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
    outcomes = _spread(options, context, items) if options.spread else _Loop(options, context, items).run()
    failed = [(index, outcome) for index, outcome in enumerate(outcomes, 1) if outcome and outcome.error]
    if failed and options.on_item_error is OnItemError.FAIL:
        index, outcome = failed[0]
        error = outcome.error or {}
        details = {
            **error.get("details", {}),
            "index": index,
            "flow": options.path,
            "step": error.get("step"),
            **_run_of(outcome),
        }
        raise StepError(error["message"], code=error["code"], details=details)
    for index, outcome in failed:
        context.add_error(_noted(outcome, index=index, path=options.path))
    return StepResult([outcome.data for outcome in outcomes if outcome])


def _spread(
    options: FlowLoopOptions, context: StepContext, items: list[JsonValue]
) -> list[FlowOutcome | None]:
    """What the elements came to as runs of their own; None for those that another's failure ended."""
    elements = [
        Element(number, item, _params(options, context, item, number)) for number, item in enumerate(items, 1)
    ]
    outcomes = context.run_apart(
        options.path,
        elements,
        limit=options.max_parallel,
        ends_on_failure=options.on_item_error is OnItemError.FAIL,
    )
    return [outcomes.get(number) for number in range(1, len(items) + 1)]


def _params(options: FlowLoopOptions, context: StepContext, item: JsonValue, number: int) -> Any:
    extra = {"item": item, "__loop_index__": number}
    return context.render(options.params, extra=extra) if options.params else {}


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
        params = _params(self._options, self._context, item, number)
        outcome = self._context.run_flow(self._options.path, payload=item, params=params, loop_index=number)
        self._outcomes[position] = outcome
        if outcome.error is not None and self._options.on_item_error is OnItemError.FAIL:
            self._has_ended = True


def _noted(outcome: FlowOutcome, *, index: int, path: str) -> dict[str, Any]:
    error = outcome.error or {}
    return {
        "step": error.get("step"),
        "code": error["code"],
        "error": error["message"],
        "details": error.get("details", {}),
        "index": index,
        "flow": path,
        **_run_of(outcome),
    }


def _run_of(outcome: FlowOutcome) -> dict[str, Any]:
    return {} if outcome.run_id is None else {"run_id": outcome.run_id}


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    names = {dict: "a mapping", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number")
