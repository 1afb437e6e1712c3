"""What a journal row may hold, as JSON text: nothing that could not be kept, or read again."""

from __future__ import annotations

import json
from typing import Any

from flow_processor.errors import StepError

MAX_RESULT_BYTES = 64 * 1024 * 1024
"""A larger result of one step is refused: it could not be kept."""

MAX_RESULT_DEPTH = 150
"""A result nested deeper is refused: who reads it later (JSON parsers, jq) could not. Flow data that comes from
outside may have 100 levels, and each sub-flow adds one."""


def as_text(data: dict[str, Any]) -> str:
    """A row's data as JSON text. Raises StepError for what is too large, too deep or no text."""
    try:
        text = json.dumps(data, separators=(",", ":"))
    except RecursionError:
        raise _too_deep() from None
    # A text with few brackets cannot be deep, so most results need no second look.
    if text.count("[") + text.count("{") > MAX_RESULT_DEPTH and _is_deeper(data, MAX_RESULT_DEPTH):
        raise _too_deep()
    if "\\ud" in text:
        _refuse_surrogates(data)
    if len(text) > MAX_RESULT_BYTES:
        raise StepError(
            f"the result is too large: {len(text)} bytes, the limit is {MAX_RESULT_BYTES}; "
            "write it to a file, or let jq_expression pick what is needed",
            code="result_too_large",
        )
    return text


def storable(record: Any) -> Any:
    """JSON values without halves of surrogate pairs, which a server's text may hold."""
    return json.loads(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace"))


def _refuse_surrogates(data: dict[str, Any]) -> None:
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        message = "the result holds half of a surrogate pair, which is no text (a wrong charset?)"
        raise StepError(message, code="not_json") from None


def _too_deep() -> StepError:
    return StepError(f"the result is nested deeper than {MAX_RESULT_DEPTH} levels", code="result_too_deep")


def _is_deeper(value: Any, limit: int) -> bool:
    """Is it nested deeper than `limit` levels? Level by level, so that depth cannot exhaust the stack."""
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
