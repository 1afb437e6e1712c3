"""Statements of the hot path, which each run or each item needs: made into text once.

SQLAlchemy's own way costs more than the database does: 70 µs for an update by key, and 200 µs where it has an IN, of
which SQLite takes 15. All of it is the one writer's time, which everybody waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Connection, CursorResult
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

_COUNTED = {"preserve_rowcount": True}


class Statement:
    """An INSERT, UPDATE or DELETE, whose values are told apart by name. Thread safe."""

    def __init__(
        self,
        clause: ClauseElement | Callable[[Connection], ClauseElement],
        *,
        columns: Sequence[str] | None = None,
    ) -> None:
        """`clause`: no IN of values, whose number SQLAlchemy would count at each call; a function where it is another
        one for each kind of database. `columns` of an INSERT that are given a value of their name; None: the clause
        says all."""
        self._clause = clause
        self._columns = columns
        self._made: dict[str, tuple[str, Mapping[str, Any], Sequence[str] | None]] = {}
        """By kind of database: the text, the values that the clause itself has, and the order of all of them where the
        driver takes them by position."""

    def execute(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Do it. The values go to the driver as they are: numbers, texts and None. Raises KeyError where one is
        missing."""
        made = self._made.get(connection.dialect.name) or self._make(connection)
        text, own, order = made
        given = {**own, **values}
        if order is None:  # PostgreSQL, which forgets how many rows went in unless it is told
            return connection.exec_driver_sql(text, given, _COUNTED)
        return connection.exec_driver_sql(text, tuple([given[name] for name in order]))

    def _make(self, connection: Connection) -> tuple[str, Mapping[str, Any], Sequence[str] | None]:
        clause = self._clause if isinstance(self._clause, ClauseElement) else self._clause(connection)
        made = clause.compile(
            dialect=connection.dialect,
            column_keys=None if self._columns is None else list(self._columns),
        )
        compiled = cast("SQLCompiler", made)
        order = compiled.positiontup if compiled.positional else None
        own = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        found = str(compiled), own, order
        self._made[connection.dialect.name] = found
        return found
