"""One SQL statement: sent, its rows taken, its transaction ended; the database's errors in its own words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy.engine import URL, Connection, CursorResult, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from flow_processor.connections import postgresql, sqlite
from flow_processor.connections.address import Address, AddressInvalid, address_of
from flow_processor.connections.column_values import as_json
from flow_processor.connections.ending import ended_with, unknown_outcome
from flow_processor.connections.packages import import_package
from flow_processor.errors import StepError
from flow_processor.shortened import shortened
from flow_processor.step import JsonValue, StepContext

MAX_WORDS = 2000
"""So many characters of what the database says are kept; it may quote values."""

_CODES = {"IntegrityError": "database_constraint", "DataError": "database_data"}


class DatabaseError(StepError):
    """The database did not do what the statement says."""

    code = "database_failed"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is sent, and what is taken of the answer."""

    query: str
    sets: Sequence[Mapping[str, JsonValue]]
    """Values by name; at least one set."""
    is_many: bool
    """Sent once for each set; gives no rows."""
    reads: bool
    """It changes nothing: its rows may be fetched as they are taken, from a file that is only read."""
    max_rows: int
    cuts: bool
    """Take the first rows where there are more; else that is an error."""


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """What a statement came to."""

    rows: list[dict[str, JsonValue]] | None
    """None: it gives none."""
    columns: list[str]
    rows_affected: int | None
    """None: the database does not say."""
    cut: bool = False

    def as_value(self) -> dict[str, JsonValue]:
        """All of it as JSON."""
        return {
            "rows": self.rows,
            "columns": self.columns,
            "rows_affected": self.rows_affected,
            "cut": self.cut,
        }


def execute(statement: Statement, context: StepContext, *, url: str | None, secret: str | None) -> SqlAnswer:
    """Send the statement in a transaction of its own. Raises DatabaseError, AddressInvalid, PathRefused."""
    address = _sql_url(address_of(context, url=url, secret=secret))
    with (
        _connected(address, context, reads=statement.reads) as connection,
        ended_with(context, lambda: _end(connection)),
    ):
        return _in_transaction(connection, statement)


def _in_transaction(connection: Connection, statement: Statement) -> SqlAnswer:
    transaction = connection.begin()
    try:
        with closing(_send(connection, statement)) as result:
            answer = _answer(result, statement)
    except DBAPIError as error:
        _roll_back(transaction)
        raise _failed(error, connection) from error
    except BaseException:
        _roll_back(transaction)
        raise
    try:
        transaction.commit()
    except DBAPIError as error:
        if not error.connection_invalidated:  # the database has answered: a deferred constraint, say
            raise _failed(error, connection) from error
        message = "the connection broke while the transaction was being committed; whether it took place is not known"
        raise DatabaseError(message, code="database_unclear", details=unknown_outcome()) from error
    return answer


def _roll_back(transaction: sqlalchemy.RootTransaction) -> None:
    try:
        transaction.rollback()
    except SQLAlchemyError:
        return  # the connection is gone, and the transaction with it


def _send(connection: Connection, statement: Statement) -> CursorResult[Any]:
    text = sqlalchemy.text(statement.query)
    sets = [{name: _bound(value) for name, value in one.items()} for one in statement.sets]
    if statement.is_many:
        if any(isinstance(value, list) for one in sets for value in one.values()):
            message = "a list as a value (for IN) goes with one set of params only"
            raise DatabaseError(message, code="database_params")
        return connection.execute(text, sets)
    lists = [name for name, value in sets[0].items() if isinstance(value, list)]
    for name in lists:
        text = text.bindparams(sqlalchemy.bindparam(name, expanding=True))
    return connection.execution_options(stream_results=statement.reads).execute(text, sets[0])


def _bound(value: JsonValue) -> Any:
    if isinstance(value, list):
        return [_bound(item) for item in value]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def _answer(result: CursorResult[Any], statement: Statement) -> SqlAnswer:
    affected = result.rowcount if result.rowcount >= 0 else None
    if not result.returns_rows:
        return SqlAnswer(None, [], affected)
    columns = list(result.keys())
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        text = f"two columns have the name {twice[0]!r}; give one another name: … AS other_name"
        raise DatabaseError(text, code="database_columns")
    rows = result.fetchmany(statement.max_rows + 1)
    cut = len(rows) > statement.max_rows
    if cut and not statement.cuts:
        message = (
            f"the statement gives more than {statement.max_rows:,} rows (max_rows); "
            "add a LIMIT, raise max_rows, or take the first ones with on_more_rows: cut"
        )
        raise DatabaseError(message, code="database_too_many_rows", details={"max_rows": statement.max_rows})
    taken = [
        {name: as_json(value) for name, value in zip(columns, row, strict=True)}
        for row in rows[: statement.max_rows]
    ]
    return SqlAnswer(taken, columns, None if statement.reads else affected, cut)


def _sql_url(address: Address) -> URL:
    try:
        url = make_url(address.url)
        backend = url.get_backend_name()
        if backend == "postgresql" and url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        known = "postgresql://user@host/name, sqlite:///file.db"
        message = f"url is no address of a database that SQLAlchemy knows; for example: {known}"
        raise AddressInvalid(message) from error
    if address.password is not None:
        url = url.set(username=address.username, password=address.password)
    return url


@contextmanager
def _connected(url: URL, context: StepContext, *, reads: bool) -> Iterator[Connection]:
    try:
        if url.get_backend_name() == "sqlite":
            engine = sqlite.engine(url, context, reads=reads)
        elif url.drivername == "postgresql+psycopg":
            import_package("psycopg")
            engine = sqlalchemy.create_engine(
                url, poolclass=NullPool, connect_args=postgresql.connect_args(url.query, context)
            )
        else:
            engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    except ModuleNotFoundError as error:  # the driver of another database
        import_package(error.name or url.drivername)
        raise
    try:
        connection = engine.connect()
    except DBAPIError as error:
        message = f"cannot connect to {_shown(url)}: {_words(error)}"
        raise DatabaseError(message, code="database_connection", details=_details(error)) from error
    try:
        yield connection
    finally:
        try:
            connection.close()
        except SQLAlchemyError:
            connection.invalidate()


def _shown(url: URL) -> str:
    """The address without user, password and options."""
    where = "" if url.host is None else f" at {url.host}{'' if url.port is None else f':{url.port}'}"
    return f"{url.get_backend_name()} database {url.database}{where}"


def _end(connection: Connection) -> None:
    """End the statement that is under way, from another thread."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        driver.interrupt()
    elif connection.dialect.driver == "psycopg":
        driver.cancel_safe(timeout=2)
    else:
        driver.close()


def _failed(error: DBAPIError, connection: Connection) -> DatabaseError:
    message, details = f"{connection.dialect.name}: {_words(error)}", _details(error)
    if error.connection_invalidated:
        return DatabaseError(f"the connection broke: {message}", code="database_connection", details=details)
    code = _CODES.get(type(error).__name__, "database_failed")
    return DatabaseError(message, code=code, details=details)


def _words(error: DBAPIError) -> str:
    """What the database says. Not SQLAlchemy's own text: that has the statement and its values in it."""
    original: Any = error.orig
    details = _details(error)
    code = details.get("sqlstate") or details.get("sqlite_error")
    text = details.get("message") or re.sub(r"\s+", " ", str(original)).strip() or type(original).__name__
    more = f" ({details['detail']})" if "detail" in details else ""
    return shortened(f"{f'{code}: ' if code else ''}{text}{more}", MAX_WORDS)


def _details(error: DBAPIError) -> dict[str, JsonValue]:
    original: Any = error.orig
    diagnosis = getattr(original, "diag", None)
    found = {
        "sqlstate": getattr(original, "sqlstate", None),
        "sqlite_error": getattr(original, "sqlite_errorname", None),
        "message": getattr(diagnosis, "message_primary", None),
        "detail": getattr(diagnosis, "message_detail", None),
        "hint": getattr(diagnosis, "message_hint", None),
        "position": getattr(diagnosis, "statement_position", None),
        "constraint": getattr(diagnosis, "constraint_name", None),
    }
    return {name: value for name, value in found.items() if value is not None}
