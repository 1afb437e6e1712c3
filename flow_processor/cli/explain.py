"""A problem in a file as a person wants to be told of it: the place, the line with a mark, the reason, the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from flow_processor.errors import Problem
from flow_processor.logs import escape

MAX_CHARACTERS = 100
"""Of a line that is shown; of a longer one the part around the place."""

_WORD = re.compile(r'"[^"]*"?|\'[^\']*\'?|[^\s,:{}\[\]]+')
"""What stands at a place: a text in quotes, or a word."""

_WAYS_OUT = {
    "duplicate_key": "keep one of the two",
    "file_unreadable": "look at its rights, and where it leads if it is a link",
    "flow_cycle": "let one of them do without the other",
    "flow_depth": "let a flow call others directly, not one through the next",
    "invalid_cron": "five fields: minute hour day month weekday, as in '30 7 * * 1-5'",
    "jq_compile_error": "try it by hand: jq -n '…'",
    "path_refused": "name a file of the data folder that is no part of the product's own",
    "pattern_invalid": r"put a backslash before a sign that stands for itself: \( \[ \+ \?",
    "sub_flow_missing": "write that flow, or correct the path: it begins at the flows folder",
    "template_error": "close what is open ({{ }}, {% %}, quotes, brackets), and look at the names of filters",
    "template_not_found": "write it, or correct the path: it begins at the templates folder",
    "yaml_limit": "write it shorter, or split it",
}
"""What to do about problems that do not say so themselves, by code."""


def with_way_out(problem: Problem) -> Problem:
    """The problem with a hint, if there is one for its code."""
    return problem if problem.hint else replace(problem, hint=_WAYS_OUT.get(problem.code))


def explained(problem: Problem, file: Path | None) -> Iterator[str]:
    """Lines about a problem; the first begins with `file:line:column:`. `file` is the one it stands in (None: its
    lines are not to be shown)."""
    yield escape(f"{replace(problem, hint=None)} [{problem.code}]")
    line = _line(file, problem.line) if file is not None and problem.line is not None else None
    if line is not None:
        yield from _marked(line, problem.line or 0, problem.column or 1)
    if problem.hint:
        yield escape(f"  way out: {problem.hint}")


def _marked(line: str, number: int, column: int) -> Iterator[str]:
    # One sign for each sign, so that the mark stands below its place; a terminal obeys control characters.
    shown = "".join(sign if sign.isprintable() else " " if sign == "\t" else "?" for sign in line).rstrip()
    start = min(column - 1, len(shown))
    if len(shown) > MAX_CHARACTERS:
        cut = max(0, min(start - MAX_CHARACTERS // 3, len(shown) - MAX_CHARACTERS))
        before, after = "…" if cut else "", "…" if cut + MAX_CHARACTERS < len(shown) else ""
        shown, start = before + shown[cut : cut + MAX_CHARACTERS] + after, start - cut + len(before)
    word = _WORD.match(shown, start)
    width = max(1, word.end() - start if word else 1)
    margin = len(f"{number}")
    yield f"  {number} | {shown}"
    yield f"  {' ' * margin} | {' ' * start}{'^' * width}"


def _line(file: Path, number: int) -> str | None:
    lines = _lines(file)
    return lines[number - 1] if number <= len(lines) else None


@lru_cache(maxsize=16)
def _lines(file: Path) -> list[str]:
    try:
        raw = file.read_bytes()
    except OSError:
        return []
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return raw.decode(encoding, "replace").splitlines()
