"""How the few queries that are written as text are spelt for SQLite and for PostgreSQL.

They are written with `?` for each value, as SQLite has it. Documents are JSON text in both.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, CursorResult

from flow_processor.run import ParamValue


class Spelling(Protocol):
    """What the two databases say differently. Each condition comes with the values for its `?`."""

    def execute(
        self, connection: Connection, query: str, values: Sequence[Any]
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run a query."""

    def unindexed(self, column: str) -> str:
        """A column whose index is not to be used."""

    def has_id(self, ids: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
        """The id is one of these."""

    def matches(self, column: str, patterns: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
        """The column fits one of these patterns (`*`, `?`, `[…]`)."""

    def json_text(self, column: str, key: str) -> str:
        """A text in an object."""

    def contains(self, text: str) -> str:
        """A text holds another one, whatever their case."""

    def has_param(self, name: str, value: ParamValue) -> tuple[str, tuple[Any, ...]]:
        """The run's parameter has this value, which was given as text or as itself."""


class SqliteSpelling:
    """See Spelling."""

    def execute(
        self, connection: Connection, query: str, values: Sequence[Any]
    ) -> CursorResult[*tuple[Any, ...]]:
        """See Spelling."""
        return connection.exec_driver_sql(query, tuple(values))

    def unindexed(self, column: str) -> str:
        """See Spelling."""
        return f"+{column}"

    def has_id(self, ids: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
        """See Spelling."""
        return "id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),)

    def matches(self, column: str, patterns: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
        """See Spelling."""
        return f"({' OR '.join([f'{column} GLOB ?'] * len(patterns))})", tuple(patterns)

    def json_text(self, column: str, key: str) -> str:
        """See Spelling."""
        return f"json_extract({column}, '$.{key}')"

    def contains(self, text: str) -> str:
        """See Spelling."""
        return f"instr(lower({text}), lower(?)) > 0"

    def has_param(self, name: str, value: ParamValue) -> tuple[str, tuple[Any, ...]]:
        """See Spelling."""
        path = f'$."{name}"'
        if value is None:
            return "params IS NOT NULL AND json_extract(params, ?) IS NULL", (path,)
        # SQLite keeps whole numbers of 64 bits; it reads larger ones as floating ones, as it does those of the run.
        is_large = isinstance(value, int) and not -(2**63) <= value < 2**63
        spelt = [float(str(value)), *_read(value)] if is_large else [value, *_read(value)]
        return f"json_extract(params, ?) IN ({', '.join('?' * len(spelt))})", (path, *spelt)


class PostgresqlSpelling:
    """See Spelling."""

    def execute(
        self, connection: Connection, query: str, values: Sequence[Any]
    ) -> CursorResult[*tuple[Any, ...]]:
        """See Spelling."""
        return connection.exec_driver_sql(_PLACE.sub("%s", query), tuple(values))

    def unindexed(self, column: str) -> str:
        """See Spelling."""
        return column  # its planner knows how many rows there are of each value

    def has_id(self, ids: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
        """See Spelling."""
        return "id = ANY(?)", (list(ids),)

    def matches(self, column: str, patterns: Sequence[str]) -> tuple[str, tuple[Any, ...]]:
        """See Spelling."""
        return f"{column} ~ ANY(?)", ([_regex(pattern) for pattern in patterns],)

    def json_text(self, column: str, key: str) -> str:
        """See Spelling."""
        return f"({_object(column)} ->> '{key}')"

    def contains(self, text: str) -> str:
        """See Spelling."""
        return f"strpos(lower({text}), lower(?)) > 0"

    def has_param(self, name: str, value: ParamValue) -> tuple[str, tuple[Any, ...]]:
        """See Spelling."""
        if value is None:
            return f"params IS NOT NULL AND ({_object('params')} ->> ?) IS NULL", (name,)
        spelt = [json.dumps(one) for one in (value, *_read(value))]
        wanted = ", ".join(["?::jsonb"] * len(spelt))
        return f"({_object('params')} -> ?) IN ({wanted})", (name, *spelt)


def spelling_of(connection: Connection) -> Spelling:
    """That of the connection's database."""
    return _POSTGRESQL if connection.dialect.name == "postgresql" else _SQLITE


_SQLITE, _POSTGRESQL = SqliteSpelling(), PostgresqlSpelling()


def _read(value: ParamValue) -> list[Any]:
    """What a text may mean besides itself."""
    spelt: list[Any] = []
    if value in ("true", "false") and isinstance(value, str):
        spelt.append(value == "true")
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            number = float(value)
            spelt += (
                [number] if number - number == 0 else []
            )  # neither infinite nor NaN, which no document holds
    return spelt


_PLACE = re.compile(r"\?(?![!<])")
"""A value's place; other question marks are part of _UNREADABLE."""

_UNREADABLE = (
    r"\\u0000|\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    r"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def _object(column: str) -> str:
    """A column's document. What PostgreSQL's JSON does not take (NUL, halves of surrogate pairs) is replaced."""
    return rf"regexp_replace({column}, '{_UNREADABLE}', '\\ufffd', 'g')::jsonb"


_PART = re.compile(r"\*|\?|\[!?\]?[^]]*\]|.", re.DOTALL)


def _regex(pattern: str) -> str:
    """A pattern as a regular expression for the whole text."""
    return f"^(?:{''.join(_regex_of(part) for part in _PART.findall(pattern))})$"


def _regex_of(part: str) -> str:
    if part in ("*", "?"):
        return ".*" if part == "*" else "."
    if len(part) > 1:
        inner = part[1:-1].replace("\\", "\\\\")
        return f"[^{inner[1:]}]" if inner.startswith(("!", "^")) else f"[{inner}]"
    return re.escape(part)
