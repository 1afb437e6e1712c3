"""Regular expressions of a flow: `ignore_errors`, `retry.on`, the cases of `switch`. Compiled once, kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from flow_processor.errors import ExpressionError


def first_match(patterns: Sequence[str], text: str) -> str | None:
    """The first pattern that is found anywhere in the text, or None. `.` also takes line ends.

    Raises ExpressionError pattern_invalid.
    """
    return next((pattern for pattern in patterns if _compiled(pattern).search(text)), None)


def full_match(pattern: str, text: str) -> bool:
    """Whether the pattern takes the whole text. Raises ExpressionError pattern_invalid."""
    return _compiled(pattern).fullmatch(text) is not None


def problem(pattern: str) -> str | None:
    """Why the pattern is no regular expression, or None."""
    try:
        _compiled(pattern)
    except ExpressionError as error:
        return error.message
    return None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise ExpressionError(
            f"'{pattern}' is no regular expression: {error}",
            code="pattern_invalid",
            details={"pattern": pattern},
        ) from error
