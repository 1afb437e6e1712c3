"""The text of one flow file -> its FlowSpec, or every problem in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import flow_processor.steps  # noqa: F401  registers the step types
from flow_processor.documents import TagCodes, TagWords, in_file_order, parse, problem_at, validate
from flow_processor.errors import Problem, SpecError
from flow_processor.factory import flow_model
from flow_processor.flow_files.checks import ExpressionCheck, check_flow
from flow_processor.flow_files.defaults import Defaults, own_defaults_problems, with_defaults
from flow_processor.flow_files.partial import right_part
from flow_processor.own_code.manifest import NO_NAMES, OwnNames
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.step import StepSpec

_TAGS: TagCodes = {StepSpec: TagWords("step type", code="unknown_step_type")}


@dataclass(frozen=True)
class LoadedFlow:
    """A flow file that is right, as it was when it was read."""

    path: str
    """Below the flows folder, with its suffix; `/` separates."""
    spec: FlowSpec = field(repr=False)
    text: str = field(repr=False)
    hash: str
    """SHA-256 of the text."""
    defaults: Defaults | None = field(default=None, repr=False)
    """What data/defaults.yml gave its steps."""


def parse_flow(
    text: str | bytes,
    file: str,
    *,
    check_expressions: ExpressionCheck | None = None,
    checked: bool = False,
    own: OwnNames = NO_NAMES,
    defaults: Defaults | None = None,
) -> FlowSpec:
    """The flow that the text describes; `file` names it in problems.

    `own`: what flows may use beside the product's own step types and filters; `defaults`: what steps say that do not
    say it themselves. `checked` texts have passed before and are not looked at beyond their spec. Raises SpecError:
    for what is no YAML, or else with all problems of spec, names, targets and expressions.
    """
    written = parse(text, file=file)
    model = flow_model(own.steps)
    document = with_defaults(written, defaults, model)
    problems: list[Problem] = [] if checked else own_defaults_problems(written)
    try:
        spec = validate(model, document, tags=_TAGS)
    except SpecError as error:
        found = None if checked else right_part(document.data, model)
        if found is None:
            raise
        spec = found
        problems += [_with_broken(problem, own) for problem in error.problems]
    if checked:
        return spec
    problems += check_flow(spec, document, own)
    if check_expressions is not None:
        problems += [
            problem_at(document, loc, code, message, of_value=True)
            for loc, code, message in check_expressions(spec)
        ]
    if problems:
        # A wrong default is met by each step that takes it.
        raise SpecError(in_file_order(dict.fromkeys(problems)))
    return spec


def _with_broken(problem: Problem, own: OwnNames) -> Problem:
    """A step type that is not there may be in a file that is broken."""
    broken = own.broken_in("steps") if problem.code == "unknown_step_type" else ""
    return replace(problem, hint="; ".join(filter(None, (problem.hint, broken)))) if broken else problem


def text_of(raw: bytes) -> str:
    """What the bytes of a flow file say; bytes that are no text become U+FFFD."""
    return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")


def load_text(
    raw: bytes,
    path: str,
    file: str,
    *,
    check_expressions: ExpressionCheck | None,
    own: OwnNames,
    defaults: Defaults | None,
) -> LoadedFlow:
    """The flow file of these bytes. Raises SpecError."""
    spec = parse_flow(raw, file, check_expressions=check_expressions, own=own, defaults=defaults)
    text = text_of(raw)
    return LoadedFlow(path, spec, text, hashlib.sha256(text.encode()).hexdigest(), defaults)
