"""What must hold about the parameters of a flow: a schedule gives them, steps name only those that there are, and
calls of sub-flows fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from flow_processor.documents import Document, did_you_mean, problem_at
from flow_processor.errors import Problem
from flow_processor.expressions import jinja
from flow_processor.expressions.template_checks import attributes_of
from flow_processor.expressions.when import truth
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.params import read_values
from flow_processor.spec.step import StepSpec

Loc = tuple[str | int, ...]

PARAMS_KEY = "params"
"""Key of the flow data that holds the values."""

_STARTERS = {"webhook": "webhook", "queue": "queue", "files": "file"}
"""Keys under `on`, and what each starts the flow by."""


def check_params(spec: FlowSpec, steps: list[tuple[Loc, StepSpec]], document: Document) -> Iterator[Problem]:
    """The problems of a flow's parameters; `steps` are all of its steps with their places."""
    declared = _declared(spec, document)
    yield from _check_schedule(spec, declared, document)
    for key, who in _STARTERS.items():
        starter = getattr(spec.on, key, None)
        if starter is not None:
            yield from _check_given(spec, starter.params, declared, document, place=("on", key), who=who)
    if not declared:
        return
    for loc, step in steps:
        if PARAMS_KEY in (step.key, getattr(step.options, "as_", None)):
            message = "the key 'params' holds the flow's parameters"
            hint = "take another name, or another result_key"
            yield problem_at(document, (*loc, "name"), "reserved_key", message, hint=hint)
        yield from _check_names(declared, loc, step, document)


def _declared(spec: FlowSpec, document: Document) -> list[str]:
    """The names of the parameters as the file has them: one whose entry is wrong is not in the spec, and there
    nevertheless."""
    written = document.data.get(PARAMS_KEY) if isinstance(document.data, dict) else None
    return [str(name) for name in written] if isinstance(written, dict) else list(spec.params)


def wrong_params(
    flow: FlowSpec, given: Mapping[str, Any], *, whose: str
) -> Iterator[tuple[str | None, str, str, str | None]]:
    """(key under which it is given or None, code, message, hint) of values that the flow's parameters do not take.

    What holds a template is taken for right; `whose` parameters they are is said where one is missing.
    """
    fixed = {name: value for name, value in given.items() if not _has_template(value)}
    templated = {name: flow.params[name] for name in given if name not in fixed and name in flow.params}
    unknown = {name: value for name, value in given.items() if name not in flow.params}
    specs = {name: spec for name, spec in flow.params.items() if name not in templated}
    for problem in read_values(specs, {**fixed, **unknown}, where="")[1]:
        if problem.key in given:
            hint = _known(problem.key, flow) if problem.code == "unknown_key" else None
            what = f"{whose} has no parameter '{problem.key}'" if hint else problem.message
            yield problem.key, problem.code, what, hint
        else:
            yield None, problem.code, f"the parameter '{problem.key}' of {whose} {problem.message}", None


def _known(name: str, flow: FlowSpec) -> str:
    return did_you_mean(name, flow.params) or f"it has: {', '.join(flow.params) or 'none'}"


def _has_template(value: Any) -> bool:
    if isinstance(value, str):
        return jinja.is_template(value)
    if isinstance(value, dict):
        return any(map(_has_template, value.values()))
    return isinstance(value, list) and any(map(_has_template, value))


def _check_schedule(spec: FlowSpec, declared: Sequence[str], document: Document) -> Iterator[Problem]:
    rule = None if spec.cron and spec.every_seconds else spec.schedule_rule
    if rule is None:
        return
    place: Loc = ("schedule",) if spec.schedule else ("cron",) if spec.cron else ("every_seconds",)
    yield from _check_given(spec, rule.params, declared, document, place=place, who="schedule")


def _check_given(
    spec: FlowSpec,
    params: Mapping[str, Any],
    declared: Sequence[str],
    document: Document,
    *,
    place: Loc,
    who: str,
) -> Iterator[Problem]:
    """What is wrong with the values that the flow's schedule gives, or what stands at `place` under `on`."""
    under = ("schedule",) if who == "schedule" else place
    for name, value in params.items():
        if _has_template(value):
            message = f"a {who} renders no templates; give a value"
            yield problem_at(document, (*under, "params", name), "invalid_value", message, of_value=True)
    for key, code, message, hint in wrong_params(spec, params, whose="this flow"):
        if key in declared and key not in spec.params:
            continue  # what its entry wants to say nobody knows
        if key is None:
            where = ".".join(map(str, under))
            hint = f"give it under {where}.params, or a default: a {who} has nobody to ask"
            yield problem_at(document, place, code, message, hint=hint)
        else:
            yield problem_at(document, (*under, "params", key), code, message, hint=hint)


def _check_names(declared: Sequence[str], loc: Loc, step: StepSpec, document: Document) -> Iterator[Problem]:
    for place, text, is_expression in _texts(loc, step):
        if PARAMS_KEY not in text:
            continue
        for name in attributes_of(PARAMS_KEY, text, is_expression=is_expression):
            if name not in declared and not hasattr(dict, name):
                message = f"there is no parameter '{name}'"
                hint = did_you_mean(name, declared) or f"there are: {', '.join(declared)}"
                yield problem_at(document, place, "unknown_param", message, hint=hint, of_value=True)


def _texts(loc: Loc, step: StepSpec) -> Iterator[tuple[Loc, str, bool]]:
    """(place, text, is it an expression?) of what is evaluated in the step; not in steps that stand inside."""
    if step.when is not None and not isinstance(step.when, bool):
        for text in step.when:
            if truth(text) is None:
                yield (*loc, "when"), text, not jinja.is_template(text)
    if step.options_key == "jinja" and step.options.data_key is not None:
        return  # its value's keys lie on top, and `params` may be one of them
    yield from _templates((*loc, step.options_key), step.options)


def _templates(loc: Loc, value: Any) -> Iterator[tuple[Loc, str, bool]]:
    if isinstance(value, str):
        if jinja.is_template(value):
            yield loc, value, False
    elif isinstance(value, BaseModel):
        if not isinstance(value, StepSpec):
            for name in type(value).model_fields:
                yield from _templates((*loc, name), getattr(value, name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _templates((*loc, key), item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _templates((*loc, index), item)
