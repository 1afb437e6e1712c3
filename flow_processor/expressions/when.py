"""`when`: whether a step runs. Looked at before anything else of the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flow_processor.errors import ExpressionError
from flow_processor.expressions.jinja import Templates, is_template
from flow_processor.shortened import shortened

_TRUE_TEXTS = frozenset({"true", "1", "yes", "on"})
_FALSE_TEXTS = frozenset({"false", "0", "no", "off", ""})


def holds(
    when: bool | Sequence[str] | None, data: Mapping[str, Any], templates: Templates, *, word: str = "when"
) -> bool:
    """Whether the condition holds: an expression, a {{ template }}, or several of which all must hold.

    Later ones are not looked at once one does not hold. Absent (None) it holds. `word` is the key it stands under.
    Raises ExpressionError: when_failed, when_not_boolean, template_security.
    """
    if when is None:
        return True
    if isinstance(when, bool):
        return when
    texts = (when,) if isinstance(when, str) else when
    return all(_one_holds(text, data, templates, word) for text in texts)


def truth(value: Any) -> bool | None:
    """What a value means as a condition; None for a text that means nothing.

    Booleans as they are; true/1/yes/on and false/0/no/off/empty in any case; numbers, lists and maps by
    emptiness; null is false.
    """
    if not isinstance(value, str):
        return bool(value)
    word = value.strip().lower()
    if word in _TRUE_TEXTS:
        return True
    return False if word in _FALSE_TEXTS else None


def _one_holds(text: str, data: Mapping[str, Any], templates: Templates, word: str) -> bool:
    literal = truth(text)
    if literal is not None:
        return literal
    try:
        value = (
            templates.evaluate_condition(text, data) if is_template(text) else templates.evaluate(text, data)
        )
    except ExpressionError as error:
        if error.code == "template_security":
            raise
        raise ExpressionError(
            f"{word} '{text}' failed: {error.message}", code="when_failed", details={"when": text}
        ) from error
    answer = truth(value)
    if answer is None:
        raise ExpressionError(
            f"{word} '{text}' gives the text '{shortened(value, 100)}', which is neither true nor false; "
            "compare it, as in \"status == 'open'\"",
            code="when_not_boolean",
            details={"when": text},
        )
    return answer
