"""What pydantic complains about, in words for people who write YAML."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import ErrorDetails

from flow_processor.shortened import shortened


@dataclass(frozen=True)
class Wording:
    """One complaint."""

    sentence: str
    expected: str
    """What must stand there, to follow `must be`."""
    allowed: list[str] = field(default_factory=list)
    """The values that may stand there, where they can be listed."""
    hint: str | None = None
    shows_value: bool = True
    """Does it help to show what was found?"""


_TYPES = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a mapping (key: value)",
    "mapping": "a mapping (key: value)",
    "model": "a mapping (key: value)",
    "model_attributes": "a mapping (key: value)",
    "none": "nothing (null)",
    "finite": "a finite number",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}
_LENGTHS = {
    "string_too_short": ("at least", "min_length", "characters long"),
    "string_too_long": ("at most", "max_length", "characters long"),
    "too_short": ("at least", "min_length", "entries long"),
    "too_long": ("at most", "max_length", "entries long"),
}
HIDDEN: Any = object()
"""Stands for a value that is secret, so that no message can show it."""
TEMPLATE_MARK = r"\{[\{%]"
"""The pattern of texts that must hold a template."""


def wording(error: ErrorDetails) -> Wording:
    """The complaint in our words; pydantic's own where there are none."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return _must_be(f"{words} {_number(context[key])}")
    if kind in _LENGTHS:
        words, key, unit = _LENGTHS[kind]
        if context[key] == 1 and words == "at least":
            return Wording("must not be empty", "something", shows_value=False)
        shown = kind != "too_long" and kind != "too_short"
        return Wording(
            f"must be {words} {context[key]} {unit}", f"{words} {context[key]} {unit}", shows_value=shown
        )
    if kind in ("literal_error", "enum"):
        allowed = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return Wording(f"must be one of {', '.join(allowed)}", f"one of {', '.join(allowed)}", allowed)
    if kind == "string_pattern_mismatch":
        if context["pattern"] == TEMPLATE_MARK:
            return _must_be("a {{ template }}")
        return _must_be(f"text that matches {context['pattern']}")
    if kind in ("value_error", "assertion_error"):
        sentence = error["msg"].split(", ", 1)[-1]
        return Wording(sentence, sentence, shows_value=False)
    if kind == "recursion_loop":
        return Wording("holds itself", "something that does not hold itself", shows_value=False)
    base = re.sub(r"_(type|parsing|parsing_size|from_float|number|subclass_of)$", "", kind)
    if base in _TYPES:
        return _must_be(_TYPES[base], _type_hint(base, error["input"]))
    sentence = error["msg"].replace("Input should be", "must be")
    return Wording(sentence[:1].lower() + sentence[1:], "something else")


def found(value: Any) -> str:
    """A value as its author wrote it, short: `the text 'abc'`, `a list`, `12`."""
    if value is HIDDEN:
        return "something else"
    if isinstance(value, str):
        shown = shortened(value, 60)
        return f"the text {shown!r}"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    return str(value)[:60]


def describe(docstring: str) -> str:
    """The first sentence of a field's docstring, in one line and without its full stop."""
    return re.split(r"(?<=\w)[.;](?:\s|$)", " ".join(docstring.split()), maxsplit=1)[0]


def _must_be(expected: str, hint: str | None = None) -> Wording:
    return Wording(f"must be {expected}", expected, hint=hint)


def _type_hint(base: str, value: Any) -> str | None:
    if base == "string" and isinstance(value, bool | int | float):
        return "put it in quotes to make it text"
    if base in ("tuple", "list") and isinstance(value, dict):
        return "begin each entry with '- '"
    if base in ("int", "float") and isinstance(value, str) and re.fullmatch(r"\d+:\d+(:\d+)?", value):
        return "write the number of seconds"
    return None


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
