"""Checking jq expressions by compiling them. Who may compile, and where, is the caller's business."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from flow_processor.expressions.jq_words import denied_word
from flow_processor.flow_files.checks import ExpressionCheck
from flow_processor.flow_files.step_lists import Loc, placed_steps
from flow_processor.spec.flow import FlowSpec

CompileAll = Callable[[Sequence[str]], Sequence[str | None]]
"""For each expression why it does not compile, or None."""


def jq_check(compile_all: CompileAll) -> ExpressionCheck:
    """The check of a flow's jq expressions."""

    def check(spec: FlowSpec) -> list[tuple[Loc, str, str]]:
        # A refused word is found, and told better, by the check of the text.
        found = [(loc, text) for loc, text in _expressions(spec) if denied_word(text) is None]
        answers = compile_all([text for _loc, text in found]) if found else []
        return [
            # jq's further lines draw the place; a problem is one line.
            (loc, "jq_compile_error", answer.splitlines()[0].rstrip(" :"))
            for (loc, _text), answer in zip(found, answers, strict=True)
            if answer is not None
        ]

    return check


def _expressions(spec: FlowSpec) -> Iterator[tuple[Loc, str]]:
    for loc, step in placed_steps(spec):
        if step.jq_expression is not None:
            yield (*loc, "jq_expression"), step.jq_expression
        if step.options_key == "jq":
            yield (*loc, "jq", "expression"), step.options.expression
