"""Plain (unquoted) scalars by YAML 1.2 core, without its leading zeros."""

from __future__ import annotations

import re
from typing import Any

from flow_processor.documents.refusal import Refused

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_MAX_DIGITS = 300
"""Longer whole numbers are no numbers any more for jq, databases and other readers of JSON."""


def plain_scalar(text: str, mark: Any = None) -> bool | int | float | str | None:
    """The value of an unquoted scalar by YAML 1.2 core, leading zeros being text. Raises Refused for numbers
    that JSON cannot hold."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-+.0123456789":
        return text
    if INTEGER.match(text):
        if len(text) > _MAX_DIGITS:
            raise Refused(
                "yaml_invalid", f"a number of {len(text)} digits", mark, hint="quote it to make it text"
            )
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    number = float(text) if FLOAT.match(text) else None
    if number in (float("inf"), float("-inf")) or (number is None and _NOT_FINITE.match(text)):
        raise Refused(
            "yaml_invalid", f"{text} is no number that JSON can hold", mark, hint="quote it to make it text"
        )
    return text if number is None else number
