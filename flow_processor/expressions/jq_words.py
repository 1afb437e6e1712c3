"""A jq expression read word by word, without running or compiling it: safe in the daemon.

A flow's jq works on the value it is given and on nothing else. Words that would reach past it (environment,
other inputs, files, the end of the process) are refused by name. The worker's clean environment is the first
wall, this is the second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DENIED_NAMES = frozenset(
    {
        "env",
        "input",
        "inputs",
        "input_filename",
        "input_line_number",
        "halt",
        "halt_error",
        "import",
        "include",
        "modulemeta",
        "get_search_list",
    }
)
_DENIED_VARIABLES = frozenset({"ENV", "__prog_args", "__prog_name"})

_WORD = re.compile(
    r"""
      (?P<space>[ \t\r\n]+)
    | (?P<comment>\#[^\n]*)
    | (?P<string>")
    | (?P<recurse>\.\.)
    | (?P<field>\.[a-zA-Z_][a-zA-Z0-9_]*)
    | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<variable>\$\s*(?:[a-zA-Z_][a-zA-Z0-9_]*::)*[a-zA-Z_][a-zA-Z0-9_]*)
    | (?P<name>(?:[a-zA-Z_][a-zA-Z0-9_]*::)*[a-zA-Z_][a-zA-Z0-9_]*)
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_TEXT = re.compile(r'[^"\\]*')
_PAIRS = {"(": ")", "[": "]", "{": "}", "\\(": ")", "if": "end"}
_UNCLEAR_COMMENT = re.compile(r"\\\r?$|\r(?!$)")
"""A comment that some versions of jq carry on over the end of the line, and some do not."""
_ANY_DENIED = re.compile(
    r"\$\s*(" + "|".join(_DENIED_VARIABLES) + r")\b|\b(" + "|".join(sorted(_DENIED_NAMES)) + r")\b"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading an expression found."""

    denied: str | None
    """The first word that is refused; None if there is none."""
    complete: bool
    """There is something to run, and every bracket and text is closed."""


class _Unclear(Exception):
    """The expression cannot be told apart into words for certain."""


def denied_word(expression: str) -> str | None:
    """The first word of a jq expression that is refused (`env`, `$ENV`, `input`, `import`, …), or None.

    Field names, object keys, texts and comments may be spelled like one: `.env`, `{input: 1}` are allowed.
    """
    return read(expression).denied


def read(expression: str) -> Reading:
    """Read the expression; never raises."""
    reader = _Reader(expression)
    try:
        for kind, word in reader.words():
            name = word.removeprefix("$").strip().rpartition("::")[2]
            if kind == "variable" and name in _DENIED_VARIABLES:
                return Reading("$" + name, complete=False)
            if kind == "name" and name in _DENIED_NAMES:
                return Reading(name, complete=False)
    except _Unclear:
        found = _ANY_DENIED.search(expression)
        return Reading(found.group() if found else None, complete=False)
    return Reading(None, complete=reader.is_complete)


class _Reader:
    """Walks over one expression; knows in which bracket it is, and that `\\( … )` in a text is code."""

    def __init__(self, expression: str):
        self._expression = expression
        self._open: list[str] = []
        self._found_any = False
        self._balanced = True

    @property
    def is_complete(self) -> bool:
        return self._found_any and self._balanced and not self._open

    def words(self) -> Iterator[tuple[str, str]]:
        """(kind, word) of everything that is code and no object key."""
        position = 0
        before = ""
        while position < len(self._expression):
            match = _WORD.match(self._expression, position)
            if match is None or match.lastgroup is None:  # `other` takes every character
                raise _Unclear
            kind, word, position = match.lastgroup, match.group(), match.end()
            if kind == "space":
                continue
            if kind == "comment":
                if _UNCLEAR_COMMENT.search(word):
                    raise _Unclear
                continue
            self._found_any = True
            if kind == "string":
                position = self._skip_text(position)
            elif kind == "open":
                self._open.append(word)
            elif kind == "close":
                position = self._close(word, position)
            elif kind == "name" and self._open[-1:] == ["{"] and before in ("{", ","):
                kind = "key"
            elif word == "if":
                # Commas between `if` and `end` separate outputs, even inside `{ }`: no key follows them.
                self._open.append(word)
            elif word == "end":
                position = self._close(word, position)
            before = word
            if kind != "key":
                yield kind, word

    def _close(self, word: str, position: int) -> int:
        opener = self._open.pop() if self._open else ""
        if _PAIRS.get(opener) != word:
            self._balanced = False
        return self._skip_text(position) if opener == "\\(" else position

    def _skip_text(self, position: int) -> int:
        """From inside a text to its end, or to the code that stands in it."""
        while True:
            match = _TEXT.match(self._expression, position)
            position = match.end() if match else position
            if position >= len(self._expression):
                self._balanced = False
                return position
            if self._expression[position] == '"':
                return position + 1
            if self._expression.startswith("\\(", position):
                self._open.append("\\(")
                return position + 2
            position += 2
