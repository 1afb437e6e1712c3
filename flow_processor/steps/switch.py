"""Run the one step whose case matches a value.

```yaml
- name: route
  type: switch
  switch:
    data_key: priority
    cases:
      - when: "Highest|High"
        step:
          type: set_fact
          set_fact: {value: call somebody}
      - when: "P[3-5]"
        step:
          name: later
          type: set_fact
          set_fact: {value: next week}
    default:
      type: set_fact
      set_fact: {value: today}
```

`when` is a regular expression that must match the whole value; the first case that does decides. Numbers, true,
false and null are matched as JSON writes them. The step of a case may leave out its `name`; then the case's number
stands for it. Its result is the result of the switch; without a match and a `default` that is null.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from flow_processor.errors import StepError
from flow_processor.expressions import patterns
from flow_processor.factory import step_type
from flow_processor.spec.base import Spec
from flow_processor.step import JsonValue, StepContext, StepResult

if TYPE_CHECKING:
    from flow_processor.spec.step import StepSpec as AnyStep


def _as_text(value: Any) -> Any:
    """YAML reads `when: 5` and `when: true` as no texts; they mean what JSON writes."""
    return json.dumps(value) if value is None or isinstance(value, bool | int | float) else value


Pattern = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | bool | int | float | None)]


class SwitchCase(Spec):
    """One case: a pattern and the step that is run if it matches."""

    when: Pattern
    """A regular expression that must match the whole value."""
    step: AnyStep
    """The step; without a `name` it is called by the case's number."""


class SwitchOptions(Spec):
    """Runs the one step whose case matches a value."""

    data_key: str
    """Key of the flow data whose value decides: a text, number, true, false or null."""
    cases: Annotated[tuple[SwitchCase, ...], Field(min_length=1)]
    """Looked at in order; the first that matches is taken."""
    default: AnyStep | None = None
    """The step that is run if no case matches; absent: none, and the result is null."""

    @model_validator(mode="before")
    @classmethod
    def _name_steps(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        named = dict(raw)
        if isinstance(raw.get("cases"), list | tuple):
            named["cases"] = [_named_case(case, number) for number, case in enumerate(raw["cases"], 1)]
        if "default" in raw:
            named["default"] = _named(raw["default"], "default")
        return named


def _named_case(case: Any, number: int) -> Any:
    if isinstance(case, dict) and "step" in case:
        return {**case, "step": _named(case["step"], str(number))}
    return case


def _named(step: Any, name: str) -> Any:
    return {"name": name, **step} if isinstance(step, dict) else step


@step_type("switch", repeatable=True)
def run(options: SwitchOptions, context: StepContext) -> StepResult:
    """Run the matching step. Repeatable: the inner step's own journal decides."""
    text = _text_of(context.lookup(options.data_key), options.data_key)
    for case in options.cases:
        if patterns.full_match(case.when, text):
            return context.run_nested(case.step, case.step.name)
    if options.default is not None:
        return context.run_nested(options.default, options.default.name)
    return StepResult()


def _text_of(value: JsonValue, data_key: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        kind = "list" if isinstance(value, list) else "mapping"
        raise StepError(
            f"switch needs a text, number, true, false or null under data_key '{data_key}', found a {kind}",
            code="not_a_scalar",
            details={"data_key": data_key},
        )
    return json.dumps(value)
