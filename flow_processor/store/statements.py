"""Statements of the hot path, which each run or each item needs: made into text once, and handed to SQLite straight.

SQLAlchemy's own way costs more than the database does: 70 µs for an update by key, and 200 µs where it has an IN, of
which SQLite takes 15. All of it is the one writer's time, which everybody waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

_COUNTED = {"preserve_rowcount": True}


@dataclass(frozen=True, slots=True)
class _Made:
    """A statement as one kind of database takes it."""

    text: str
    own: Mapping[str, Any]
    """The values that the clause itself has."""
    order: Sequence[str] | None
    """The order of all values where the driver takes them by position."""

    def values(self, given: Mapping[str, Any]) -> Any:
        found = {**self.own, **given} if self.own else given
        return found if self.order is None else [found[name] for name in self.order]


class Statement:
    """An INSERT, UPDATE or DELETE, whose values are told apart by name. Thread safe.

    The values go to the driver as they are: numbers, texts and None. A transaction must have begun.
    """

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
        self._made: dict[str, _Made] = {}
        """By kind of database."""

    def execute(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Do it; how many rows it was done to. Raises KeyError where a value is missing, DBAPIError."""
        made = self._made.get(connection.dialect.name) or self._make(connection)
        if made.order is None:  # PostgreSQL, which forgets how many rows went in unless it is told
            return connection.exec_driver_sql(made.text, made.values(values), _COUNTED).rowcount
        return execute_straight(connection, made.text, made.values(values))

    def execute_each(self, connection: Connection, many: Sequence[Mapping[str, Any]]) -> int:
        """The same with each of these values, of which there is at least one; how many rows it was done to."""
        made = self._made.get(connection.dialect.name) or self._make(connection)
        values = [made.values(given) for given in many]
        if made.order is None:
            return connection.exec_driver_sql(made.text, values, _COUNTED).rowcount
        return _straight(connection, made.text, values, is_each=True)

    def _make(self, connection: Connection) -> _Made:
        clause = self._clause if isinstance(self._clause, ClauseElement) else self._clause(connection)
        made = clause.compile(
            dialect=connection.dialect,
            column_keys=None if self._columns is None else list(self._columns),
        )
        compiled = cast("SQLCompiler", made)
        order = compiled.positiontup if compiled.positional else None
        own = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        found = self._made[connection.dialect.name] = _Made(str(compiled), own, order)
        return found


def execute_straight(connection: Connection, text: str, values: Sequence[Any] = ()) -> int:
    """Have SQLite execute a statement; how many rows it was done to. Raises DBAPIError."""
    return _straight(connection, text, values, is_each=False)


def _straight(connection: Connection, text: str, values: Sequence[Any], *, is_each: bool) -> int:
    driver: Any = connection.connection.driver_connection
    dialect = connection.dialect
    try:
        done = driver.executemany(text, values) if is_each else driver.execute(text, values)
        return int(done.rowcount)
    except dialect.loaded_dbapi.Error as error:
        raise DBAPIError.instance(text, None, error, dialect.loaded_dbapi.Error, dialect=dialect) from error
