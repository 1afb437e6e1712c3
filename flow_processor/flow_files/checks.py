"""What must hold in a flow beyond its spec: names that are unique, targets that exist, expressions that parse.

Only looks at texts; nothing of a user's is evaluated here, so the daemon may do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from flow_processor.documents import Document, did_you_mean, problem_at
from flow_processor.errors import Problem
from flow_processor.expressions import jinja, patterns
from flow_processor.expressions.jq_words import denied_word
from flow_processor.expressions.template_checks import expression_problem, filter_names, syntax_problem
from flow_processor.expressions.when import truth
from flow_processor.flow_files.order_checks import check_order
from flow_processor.flow_files.param_checks import check_params
from flow_processor.flow_files.step_lists import Loc, placed_steps, placed_texts
from flow_processor.own_code.manifest import OwnNames
from flow_processor.spec.cron import CronRule
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.step import StepSpec

ExpressionCheck = Callable[[FlowSpec], list[tuple[Loc, str, str]]]
"""A further check: (place, problem code, message) of everything it finds."""

_NOT_TEMPLATED = frozenset({"jq", "goto", "switch", "until", "parallel"})
"""Step types whose options no template is read in; steps inside them are looked at by themselves."""


# Parsing them is half the time of loading a flow, and an edit leaves most of a file's expressions alone.
_wrong_template = lru_cache(maxsize=4096)(syntax_problem)
_wrong_expression = lru_cache(maxsize=4096)(expression_problem)


def check_flow(spec: FlowSpec, document: Document, own: OwnNames) -> list[Problem]:
    """All problems, in no particular order. `own`: what there is beside the product's own filters."""
    steps = list(placed_steps(spec))
    return [
        *_check_schedule(spec, document),
        *check_order(spec, document),
        *(problem for loc, step in steps for problem in _check_step(loc, step, document, own)),
        *check_params(spec, steps, document),
    ]


def _check_schedule(spec: FlowSpec, document: Document) -> Iterator[Problem]:
    if spec.cron is not None and spec.every_seconds is not None:
        message = "give either 'cron' or 'every_seconds', not both"
        yield problem_at(document, ("every_seconds",), "invalid_value", message)
    rules: list[tuple[Loc, str | None]] = [(("cron",), spec.cron)]
    if spec.schedule is not None:
        rules.append((("schedule", "cron"), spec.schedule.cron))
    for loc, cron in rules:
        try:
            if cron is not None:
                CronRule.parse(cron)
        except ValueError as error:
            yield problem_at(document, loc, "invalid_cron", str(error), of_value=True)


def _check_step(loc: Loc, step: StepSpec, document: Document, own: OwnNames) -> Iterator[Problem]:
    yield from _check_patterns(loc, step, document)
    for place, condition in _conditions(loc, step):
        yield from _check_condition(place, condition, document, own)
    expressions = [((*loc, "jq_expression"), step.jq_expression)]
    if step.options_key == "jq":
        expressions.append(((*loc, "jq", "expression"), step.options.expression))
    for place, expression in expressions:
        word = denied_word(expression) if expression is not None else None
        if word is not None:
            message = f"'{word}' is not available in jq expressions here"
            hint = "values come from the flow's data; secrets and files from their own steps"
            yield problem_at(document, place, "jq_denied", message, hint=hint, of_value=True)
    if step.retry is not None and not step.step_type.retried(step.options):
        message = f"a step of the type '{step.type}' is not begun anew after a failure, for that could do things twice"
        hint = f"'retry' under '{step.options_key}' is for its single calls"
        yield problem_at(document, (*loc, "retry"), "retry_refused", message, hint=hint)
    if step.options_key not in _NOT_TEMPLATED:
        yield from _check_templates((*loc, step.options_key), step.options, document, own)


def _check_patterns(loc: Loc, step: StepSpec, document: Document) -> Iterator[Problem]:
    found: list[tuple[Loc, str]] = placed_texts((*loc, "ignore_errors"), step.ignore_errors, document)
    if step.retry is not None and step.retry.on is not None:
        found += placed_texts((*loc, "retry", "on"), step.retry.on, document)
    if step.options_key == "switch":
        for index, case in enumerate(step.options.cases):
            found.append(((*loc, "switch", "cases", index, "when"), case.when))
    for place, pattern in found:
        message = patterns.problem(pattern) if isinstance(pattern, str) else None
        if message is not None:
            yield problem_at(document, place, "pattern_invalid", message, of_value=True)


def _conditions(loc: Loc, step: StepSpec) -> Iterator[tuple[Loc, bool | tuple[str, ...] | None]]:
    yield (*loc, "when"), step.when
    if step.options_key == "switch":
        for index, case in enumerate(step.options.cases):
            yield (*loc, "switch", "cases", index, "if"), case.if_
    elif step.options_key == "until":
        yield (*loc, "until", "condition"), step.options.condition


def _check_condition(
    loc: Loc, condition: bool | tuple[str, ...] | None, document: Document, own: OwnNames
) -> Iterator[Problem]:
    if condition is None or isinstance(condition, bool):
        return
    word = loc[-1]
    for place, text in placed_texts(loc, condition, document):
        if truth(text) is not None:
            continue
        look = _wrong_template if jinja.is_template(text) else _wrong_expression
        wrong = look(text, own.filters)
        if wrong is not None:
            yield problem_at(
                document,
                place,
                "template_error",
                f"{word}: {wrong[1]}",
                hint=_hint(wrong, own),
                of_value=True,
            )


def _check_templates(loc: Loc, value: Any, document: Document, own: OwnNames) -> Iterator[Problem]:
    if isinstance(value, str):
        wrong = _wrong_template(value, own.filters) if jinja.is_template(value) else None
        if wrong is not None:
            yield _in_template(loc, *wrong, document=document, hint=_hint(wrong, own))
    elif isinstance(value, BaseModel):
        if not isinstance(value, StepSpec):
            for name in type(value).model_fields:
                yield from _check_templates((*loc, name), getattr(value, name), document, own)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _check_templates((*loc, key), item, document, own)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _check_templates((*loc, index), item, document, own)


def _hint(wrong: tuple[int, str], own: OwnNames) -> str | None:
    """A filter that is not there is misspelt, or in a file that is broken."""
    before, _quote, name = wrong[1].partition("there is no filter '")
    if before or not name:
        return None
    known = sorted(filter_names() | own.filters)
    return did_you_mean(name.rstrip("'"), known) or own.broken_in("filters") or None


def _in_template(loc: Loc, line: int, message: str, *, document: Document, hint: str | None) -> Problem:
    document, loc = document.origin(loc)
    place = document.position(loc, of_value=True)
    source = document.text.splitlines()[place[0] - 1][place[1] - 1 :] if place else ""
    if place and source.startswith("|"):
        # The template's own lines begin below the `|`.
        template = document.text.splitlines()[place[0] + line - 1]
        place = place[0] + line, len(template) - len(template.lstrip()) + 1
    shown = problem_at(document, loc, "template_error", message, hint=hint)
    row, column = place or (None, None)
    return Problem(shown.code, shown.file, row, column, shown.key, shown.message, shown.hint)
