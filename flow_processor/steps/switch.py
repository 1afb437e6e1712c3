"""Run what stands under the first case that fits.

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
      - if: priority == 'P5' and __input__.is_vip
        steps:
          - {name: note, type: set_fact, set_fact: {value: "{{ __input__.name }} waits"}}
          - {name: when_to, type: set_fact, set_fact: {value: today}}
      - when: "P[3-5]"
        step:
          name: later
          type: set_fact
          set_fact: {value: next week}
    default:
      type: set_fact
      set_fact: {value: today}
```

`when` is a regular expression that must match the whole value under `data_key`; numbers, true, false and null are
matched as JSON writes them. `if` is an expression over the flow data, as the `when` of a step. The first case that
fits decides; where all cases have `if`, no `data_key` is needed.

A case has one `step`, which may leave out its `name` (then the case's number stands for it) and whose result is the
result of the switch; its goto jumps in the list that the switch stands in. Or it has `steps`, a block: they see the
flow data and what they wrote, the flow data does not change, and the result is the mapping of their results by keys.
In the journal they are `route[2]/note`. `default` is the step for when no case fits (for several steps let the last
case say `if: true`); without it the result is then null.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from flow_processor.errors import StepError
from flow_processor.expressions import patterns
from flow_processor.factory import step_type
from flow_processor.spec.base import Spec, Texts
from flow_processor.step import Block, JsonValue, StepContext, StepResult

if TYPE_CHECKING:
    from flow_processor.spec.step import StepSpec as AnyStep


def _as_text(value: Any) -> Any:
    """YAML reads `when: 5` and `when: true` as no texts; they mean what JSON writes."""
    return json.dumps(value) if value is None or isinstance(value, bool | int | float) else value


Pattern = Annotated[str, BeforeValidator(_as_text, json_schema_input_type=str | bool | int | float | None)]


class SwitchCase(Spec):
    """One case: a pattern or condition, and what is run if it fits."""

    model_config = ConfigDict(populate_by_name=False)

    when: Pattern | None = None
    """A regular expression that must match the whole value under `data_key`."""
    if_: Annotated[bool | Texts | None, Field(alias="if")] = None
    """An expression as in the `when` of a step, or a list of which all must hold."""
    step: AnyStep | None = None
    """The step; without a `name` it is called by the case's number."""
    steps: tuple[AnyStep, ...] = ()
    """Several steps, run in order as a block."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_a_pattern(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("when", "") is None:
            return {**raw, "when": "null"}
        return raw

    @model_validator(mode="after")
    def _one_of_each(self) -> SwitchCase:
        if (self.when is None) == (self.if_ is None):
            raise ValueError("give either 'when' or 'if'")
        if (self.step is None) == (not self.steps):
            raise ValueError("give either 'step' or 'steps'")
        return self


class SwitchOptions(Spec):
    """Runs what stands under the first case that fits."""

    data_key: str | None = None
    """Key of the flow data whose value `when` is matched with: a text, number, true, false or null."""
    cases: Annotated[tuple[SwitchCase, ...], Field(min_length=1)]
    """Looked at in order; the first that fits is taken."""
    default: AnyStep | None = None
    """The step that is run if no case fits; absent: none, and the result is null."""

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

    @model_validator(mode="after")
    def _has_value(self) -> SwitchOptions:
        if self.data_key is None and any(case.when is not None for case in self.cases):
            raise ValueError("a case with 'when' needs 'data_key'; to look at the flow data, use 'if'")
        return self


def _named_case(case: Any, number: int) -> Any:
    if isinstance(case, dict) and "step" in case:
        return {**case, "step": _named(case["step"], str(number))}
    return case


def _named(step: Any, name: str) -> Any:
    return {"name": name, **step} if isinstance(step, dict) else step


@step_type("switch", repeatable=True)
def run(options: SwitchOptions, context: StepContext) -> StepResult:
    """Run what fits. Repeatable: the inner steps' own journal decides."""
    text = None if options.data_key is None else _text_of(context.lookup(options.data_key), options.data_key)
    for number, case in enumerate(options.cases, 1):
        if _fits(case, text, context):
            return _run_case(case, str(number), context)
    if options.default is not None:
        return context.run_nested(options.default, options.default.name)
    return StepResult()


def _fits(case: SwitchCase, text: str | None, context: StepContext) -> bool:
    if case.when is not None:
        return text is not None and patterns.full_match(case.when, text)
    return context.holds(case.if_, word="if")


def _run_case(case: SwitchCase, label: str, context: StepContext) -> StepResult:
    if case.step is not None:
        return context.run_nested(case.step, case.step.name)
    (outcome,) = context.run_blocks([Block(label, case.steps)])
    if outcome is None:
        return StepResult()
    if outcome.error is not None:
        raise outcome.failure(case=label)
    return StepResult(outcome.results, outcome.control)


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
