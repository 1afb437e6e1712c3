"""Goes through the steps of a flow in the order of its file, and tells of each what can be told before it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from flow_processor.documents import did_you_mean
from flow_processor.engine.outputs import to_send, where_sent
from flow_processor.errors import ExpressionError, OctospoolError
from flow_processor.factory import step_type_of
from flow_processor.flow_data import child_data
from flow_processor.graph.drawing import lists_in
from flow_processor.rehearsal.context import RehearsalContext
from flow_processor.rehearsal.unknown import Data, NotKnown, Renderer
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.output import OutputType
from flow_processor.spec.step import StepSpec
from flow_processor.step import Folders

CALCULATED = frozenset({"set_fact", "jq", "jinja", "jira_names_merge"})
"""Step types that only calculate: they are run here as far as what they need is known."""

_LOOKS_AT_LIST = frozenset({"foreach", "matrix"})
"""Step types that look at their lists first: they are run here up to where their steps would begin."""

NOT_TEMPLATED = frozenset({"jq", "goto", "switch", "until", "parallel"})
"""Step types in whose options no template is read."""

_RESULT_IN_DOUBT = "result of "
_SHOWN_CHARACTERS = 100
"""So much of a wrong value is shown."""


@dataclass
class Rehearsed:
    """What can be told of a step. JSON values only: it crosses a pipe."""

    name: str
    type: str
    title: str = ""
    """What list of steps it begins, where it is the first of one inside a step or a handler."""
    when: str | None = None
    """`holds`, `does not hold`, or `unknown: needs the result of fetch`; None without a condition."""
    options: Any = None
    """Rendered; None for a step that is skipped."""
    result: Any = None
    """With `has_result`: what it comes to."""
    has_result: bool = False
    sends: str | None = None
    """What it would put on which queue: `3 items to the queue invoices`; None for nothing."""
    problem: str | None = None
    """Why it would fail."""
    remarks: list[str] = field(default_factory=list)
    """What fails nothing, and is hardly meant."""
    inner: list[Rehearsed] = field(default_factory=list)


class Rehearser:
    """One rehearsal of one flow with its sub-flows."""

    def __init__(self, renderer: Renderer, folders: Folders, spec_of: Callable[[str], FlowSpec]):
        self._renderer = renderer
        self._folders = folders
        self._spec_of = spec_of

    def flow(self, spec: FlowSpec, data: Data) -> list[Rehearsed]:
        """The steps of a flow, then its handlers."""
        found = self._steps(spec.steps, data)
        for name, steps in spec.handlers.items():
            found += self._steps(steps, data.with_values({"__run__": "run's end"}), title=name)
        return found

    def _steps(self, steps: Sequence[StepSpec], data: Data, *, title: str = "") -> list[Rehearsed]:
        found = [self._step(step, data) for step in steps]
        if found:
            found[0].title = title
        return found

    def _step(self, step: StepSpec, data: Data) -> Rehearsed:
        told = Rehearsed(step.name, step.options_key)
        try:
            is_run = self._asks_when(step, data, told)
            if is_run is False:
                return told
            seen = data
            if step.options_key == "flow_loop":  # its params are rendered for each element
                seen = Data(dict(data.values), data.shown).with_values(_of_element(step))
            told.options = self._options(step, seen)
            told.problem = self._wrong_option(step, seen)
            told.inner = self._inner(step, data, told)
            told.sends = _sent(step)
            told.result = self._result(step, data)
            told.sends = _sent_of(step, told.result)
            told.has_result = True
        except NotKnown:
            pass
        except OctospoolError as error:
            told.problem = f"{error.message} ({error.code})"
        is_certain = told.has_result and told.when in (None, "holds")
        data.values[step.key] = told.result if is_certain else data.unknown(_RESULT_IN_DOUBT + step.name)
        return told

    def _asks_when(self, step: StepSpec, data: Data, told: Rehearsed) -> bool | None:
        """Does the step run? None if only a run can tell."""
        if step.when is None:
            return True
        told.remarks += self._remarks("when", step.when, data)
        try:
            is_run = self._renderer.condition(step.when, data)
        except NotKnown as missing:
            told.when = f"unknown: needs the {missing.what}"
            return None
        told.when = "holds" if is_run else "does not hold"
        return is_run

    def _remarks(self, word: str, condition: Any, data: Data) -> list[str]:
        """Names in a condition that nothing has written: empty there, where a template would fail."""
        found = []
        for name in self._renderer.unwritten(condition, data):
            near = did_you_mean(name, data.values)
            found.append(f"{word} names '{name}', which nothing has written before; it is empty there")
            found[-1] += f" ({near})" if near else ""
        return found

    def _options(self, step: StepSpec, data: Data) -> Any:
        options = _plain(step.options)
        if step.options_key in NOT_TEMPLATED:
            return options
        return self._renderer.shown(options, data)

    def _wrong_option(self, step: StepSpec, data: Data) -> str | None:
        """What is wrong with a rendered option; one that only a run can tell counts as right."""
        if step.options_key in NOT_TEMPLATED or step.is_own or any(lists_in(step.options)):
            return None
        rendered = self._renderer.known_or_as_written(_plain(step.options), data)
        try:
            type(step.options).model_validate(rendered)
        except ValidationError as error:
            return next((said for one in error.errors() if (said := _said(one)) is not None), None)
        return None

    def _result(self, step: StepSpec, data: Data) -> Any:
        """Raises NotKnown for what only a run can tell, and StepError where it would fail."""
        if step.options_key not in CALCULATED | _LOOKS_AT_LIST:
            raise NotKnown(_RESULT_IN_DOUBT + step.name)
        context: Any = RehearsalContext(step.name, data, self._renderer, self._folders)
        try:
            value = step_type_of(step).run(step.options, context).value
            return value if step.jq_expression is None else context.jq(step.jq_expression, value)
        except ExpressionError as error:
            # What is no error with the value in its place may be one with a stand-in for it.
            what = data.named_in(str(_plain(step.options)))
            if what is None:
                raise
            raise NotKnown(what) from error

    def _inner(self, step: StepSpec, data: Data, told: Rehearsed) -> list[Rehearsed]:
        if step.options_key in ("flow", "flow_loop"):
            return self._sub_flow(step, data)
        inside: dict[str, str] = {}
        if step.options_key == "foreach":
            inside = {step.options.as_: f"element of {step.name}", "__loop_index__": "number of the element"}
        elif step.options_key == "matrix":
            inside = {"matrix": f"combination of {step.name}"}
        elif step.options_key == "until":
            inside = {"__loop_index__": "number of the round"}
        found: list[Rehearsed] = []
        for title, steps in lists_in(step.options):
            own = Data(dict(data.values), data.shown).with_values(inside)
            found += self._steps([steps] if isinstance(steps, StepSpec) else steps, own, title=title)
            if step.options_key == "until":
                told.remarks += self._remarks("condition", step.options.condition, own)
        return found

    def _sub_flow(self, step: StepSpec, data: Data) -> list[Rehearsed]:
        path = step.options.path
        is_loop = step.options_key == "flow_loop"
        try:
            payload = data.look_up(step.options.data_key) if step.options.data_key is not None else None
        except NotKnown:
            payload = data.unknown(f"payload of {path}")
        if is_loop:
            payload = data.unknown(f"element of {step.name}")
        spec = self._spec_of(path)
        values = child_data(data.values, flow=path, payload=payload, loop_index=None)
        own = Data(values, data.shown)
        if is_loop:
            own = own.with_values({"__loop_index__": "number of the element"})
        if spec.params:
            own = own.with_values({"params": f"params of {path}"})
        found = self.flow(spec, own)
        found[0].title = found[0].title or path
        return found


def _sent(step: StepSpec) -> str | None:
    """What the step would put on a queue, as long as its result is not known."""
    if step.output is None:
        return None
    what = "its result" if step.output.type is OutputType.SINGLE else "each element of its result"
    return f"{what} to the queue {step.output.queue}"


def _sent_of(step: StepSpec, result: Any) -> str | None:
    """The same of a result that is known. Raises StepError for one that cannot be sent so."""
    if step.output is None or not to_send(where_sent(step.output), result):
        return None
    count = 1 if step.output.type is OutputType.SINGLE else len(result)
    return f"{count} item{'s' if count != 1 else ''} to the queue {step.output.queue}"


def _of_element(step: StepSpec) -> dict[str, str]:
    return {"item": f"element of {step.name}", "__loop_index__": "number of the element"}


def _said(error: ErrorDetails) -> str | None:
    """What is wrong with an option once it is rendered; None for what the step itself sees to."""
    found = error["input"]
    if error["type"] == "string_type" and isinstance(found, bool | int | float):
        return None  # becomes text
    shown = json.dumps(found, ensure_ascii=False, default=str)[:_SHOWN_CHARACTERS]
    return f"{error['loc'][0] if error['loc'] else 'options'}: {error['msg']}, found {shown} (invalid_value)"


def _plain(value: Any) -> Any:
    """Options as JSON values, without what was not given and without the steps inside."""
    if isinstance(value, BaseModel):
        given = {
            key: getattr(value, key) for key in type(value).model_fields if key in value.model_fields_set
        }
        return {key.rstrip("_"): _plain(item) for key, item in given.items() if not _holds_steps(item)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _holds_steps(value: Any) -> bool:
    return any(True for _ in _steps_in(value))


def _steps_in(value: Any) -> Iterator[StepSpec]:
    if isinstance(value, StepSpec):
        yield value
    elif isinstance(value, dict):
        yield from (step for item in value.values() for step in _steps_in(item))
    elif isinstance(value, list | tuple):
        yield from (step for item in value for step in _steps_in(item))
