"""Opening the database: connection settings and numbered migrations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from flow_processor.errors import DiskFull, StoreUnavailable
from flow_processor.store import tables
from flow_processor.store.statements import Statement, execute_straight

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

SCHEMA_VERSION = 5
"""The version that this program writes and reads."""


def open_database(url: str, daemon: str | None = None) -> Engine:
    """An engine over `url`, its schema brought up to date. `daemon`: see `Store`. Raises StoreUnavailable."""
    if make_url(url).get_backend_name() == "postgresql":
        from flow_processor.store import postgresql  # here, because few stores are one

        engine = postgresql.engine_for(make_url(url))
    else:
        engine = create_engine(url, pool_size=20, max_overflow=20)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        with writing(engine) as connection:
            _migrate(connection)
    except DBAPIError as error:
        engine.dispose()
        raise store_error(error, database_file(url)) from error
    except StoreUnavailable:
        engine.dispose()
        raise
    return engine if daemon is None else engine.execution_options(daemon=daemon)


def writing(engine: Engine) -> AbstractContextManager[Connection]:
    """A transaction that writes. Of one store there is one at a time: the writer's, and on PostgreSQL all daemons'.

    Raises CommitUnknown where it is not known whether it took place.
    """
    if engine.dialect.name != "postgresql":
        return engine.begin()
    from flow_processor.store import postgresql

    return postgresql.alone(engine)


class CommitUnknown(Exception):
    """The connection broke while a transaction was being committed: whether it took place is not known yet."""

    def __init__(self, took_place: Callable[[], bool]) -> None:
        """`took_place` asks the database; it raises what the driver raises where that cannot be asked."""
        super().__init__("the connection broke while a transaction was being committed")
        self.took_place = took_place


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions leave out DDL; without them a migration is whole or not at all.
    connection.isolation_level = None
    cursor = connection.cursor()
    if not cursor.execute("PRAGMA page_count").fetchone()[0]:
        # Only a new file can be told to give space back bit by bit, before anything else is said of it.
        cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
    # WAL: readers never wait for the writer. FULL: a commit that was reported survives a power cut.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    execute_straight(connection, "BEGIN")


def _to_version_2(connection: Connection) -> None:
    """Runs that wait, that try another one again, and that are removed bit by bit; lists of a million of them."""
    for column in (
        "wake_at FLOAT",
        "retry_of TEXT",
        "attempt INTEGER NOT NULL DEFAULT 1",
        "bytes INTEGER NOT NULL DEFAULT 0",
    ):
        connection.exec_driver_sql(f"ALTER TABLE runs ADD COLUMN {column}")
    connection.exec_driver_sql("DROP INDEX runs_by_flow")
    connection.exec_driver_sql("CREATE INDEX runs_by_flow ON runs (flow, status, id)")
    connection.exec_driver_sql("CREATE INDEX runs_by_trigger ON runs (trigger, status, id)")
    connection.exec_driver_sql("CREATE INDEX runs_by_version ON runs (flow_hash)")
    connection.exec_driver_sql("CREATE INDEX runs_by_retry ON runs (retry_of) WHERE retry_of IS NOT NULL")
    connection.exec_driver_sql("CREATE TABLE removals (run_id TEXT NOT NULL, PRIMARY KEY (run_id))")


def _to_version_3(connection: Connection) -> None:
    """Runs that are part of another one."""
    for column in ("parent TEXT", "parent_path TEXT", "parent_index INTEGER"):
        connection.exec_driver_sql(f"ALTER TABLE runs ADD COLUMN {column}")
    connection.exec_driver_sql(
        "CREATE UNIQUE INDEX runs_by_parent ON runs (parent, parent_path, parent_index) WHERE parent IS NOT NULL"
    )


def _to_version_4(connection: Connection) -> None:
    """Any number of schedules of a flow, with a name and an input; calls of webhooks that must not count twice;
    versions of flow files."""
    # Made anew: SQLite cannot drop the constraint that a flow is in once.
    connection.exec_driver_sql("ALTER TABLE schedules RENAME TO old_schedules")
    connection.exec_driver_sql(
        "CREATE TABLE schedules (id TEXT NOT NULL, flow TEXT NOT NULL, origin TEXT NOT NULL, name TEXT, rule TEXT, "
        "input TEXT, timeout_seconds FLOAT, active INTEGER NOT NULL, revision INTEGER NOT NULL DEFAULT 0, "
        "added_by TEXT, added_at FLOAT NOT NULL, anchor FLOAT, last_slot FLOAT, PRIMARY KEY (id))"
    )
    connection.exec_driver_sql(
        "INSERT INTO schedules (id, flow, origin, rule, timeout_seconds, active, added_at, anchor, last_slot) "
        "SELECT id, flow, CASE origin WHEN 'api' THEN 'flow' ELSE origin END, rule, timeout_seconds, active, "
        "added_at, anchor, last_slot FROM old_schedules"
    )
    connection.exec_driver_sql("DROP TABLE old_schedules")
    connection.exec_driver_sql("CREATE INDEX schedules_by_flow ON schedules (flow)")
    connection.exec_driver_sql(
        "CREATE TABLE deliveries (hook TEXT NOT NULL, mark TEXT NOT NULL, run_id TEXT NOT NULL, "
        "expires_at FLOAT NOT NULL, PRIMARY KEY (hook, mark))"
    )
    connection.exec_driver_sql("CREATE INDEX deliveries_by_end ON deliveries (expires_at)")
    connection.exec_driver_sql(
        "CREATE TABLE flow_edits (flow TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, at FLOAT NOT NULL, "
        '"by" TEXT, restored INTEGER, content BLOB NOT NULL, is_settled INTEGER NOT NULL, PRIMARY KEY (flow, number))'
    )
    connection.exec_driver_sql("CREATE INDEX flow_edits_unsettled ON flow_edits (flow) WHERE is_settled = 0")


def _to_version_5(connection: Connection) -> None:
    """Items of queues and what became of them, results on their way to a queue; several daemons on one store."""
    for column in ("item TEXT", "daemon TEXT"):
        connection.exec_driver_sql(f"ALTER TABLE runs ADD COLUMN {column}")
    connection.exec_driver_sql("CREATE INDEX runs_by_item ON runs (item) WHERE item IS NOT NULL")
    connection.exec_driver_sql(
        "CREATE TABLE items (queue TEXT NOT NULL, item TEXT NOT NULL, flow TEXT NOT NULL, state TEXT NOT NULL, "
        "attempt INTEGER NOT NULL, run_id TEXT, name TEXT, put_at FLOAT NOT NULL, "
        "priority INTEGER NOT NULL DEFAULT 0, next_at FLOAT, error TEXT, ended_at FLOAT, daemon TEXT, "
        "PRIMARY KEY (queue, item, flow))"
    )
    connection.exec_driver_sql("CREATE INDEX items_by_state ON items (queue, state, ended_at)")
    connection.exec_driver_sql("CREATE INDEX items_by_run ON items (run_id) WHERE run_id IS NOT NULL")
    connection.exec_driver_sql(
        "CREATE INDEX items_due ON items (queue, flow, priority DESC, next_at) WHERE next_at IS NOT NULL"
    )
    connection.exec_driver_sql(
        "CREATE TABLE outbox (run_id TEXT NOT NULL, seq INTEGER NOT NULL, queue TEXT NOT NULL, at FLOAT NOT NULL, "
        "PRIMARY KEY (run_id, seq))"
    )
    connection.exec_driver_sql("CREATE INDEX outbox_by_queue ON outbox (queue, at)")
    connection.exec_driver_sql(
        'CREATE TABLE queue_states (queue TEXT NOT NULL, is_paused INTEGER NOT NULL, "by" TEXT, at FLOAT NOT NULL, '
        "PRIMARY KEY (queue))"
    )
    connection.exec_driver_sql(
        "CREATE TABLE daemons (id TEXT NOT NULL, name TEXT NOT NULL, url TEXT, seen_at FLOAT NOT NULL, "
        "PRIMARY KEY (id))"
    )
    connection.exec_driver_sql(
        "CREATE TABLE flow_locks (flow TEXT NOT NULL, run_id TEXT NOT NULL, daemon TEXT NOT NULL, at FLOAT NOT NULL, "
        "PRIMARY KEY (flow, run_id))"
    )


MIGRATIONS: dict[int, Callable[[Connection], None]] = {
    2: _to_version_2,
    3: _to_version_3,
    4: _to_version_4,
    5: _to_version_5,
}
"""What brings the store to each version from the one before. Written as they were then: `tables` goes on changing.
Up to version 5 there were stores on SQLite only; later ones have to suit PostgreSQL too."""


def _migrate(connection: Connection) -> None:
    if not inspect(connection).has_table("meta"):
        if connection.dialect.name == "postgresql":
            from flow_processor.store import postgresql

            postgresql.fit(connection, tables.metadata)
        tables.metadata.create_all(connection)
        connection.execute(insert(tables.meta).values(key="schema_version", value=str(SCHEMA_VERSION)))
        return
    found = connection.scalar(select(tables.meta.c.value).where(tables.meta.c.key == "schema_version"))
    version = int(found or 0)
    if version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"the store was written by a newer version of octospool (schema {version}, this program knows "
            f"{SCHEMA_VERSION}); install that version, or use another data folder",
            code="store_too_new",
        )
    for number in range(version + 1, SCHEMA_VERSION + 1):
        MIGRATIONS[number](connection)
    if version < SCHEMA_VERSION:
        connection.execute(
            update(tables.meta).where(tables.meta.c.key == "schema_version").values(value=str(SCHEMA_VERSION))
        )


def insert_or_ignore(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that leaves rows alone whose key is there already."""
    return _insert_or_ignore(connection.dialect.name, table)


@cache
def _insert_or_ignore(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    # Kept: making the statement anew would cost more than running it.
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # here, because few stores are one

        # How many rows went in is asked of it; of an INSERT that is not kept unless it is said.
        return postgresql.insert(table).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return sqlite.insert(table).on_conflict_do_nothing()


@cache
def insert_of(table: Table) -> Statement:
    """An INSERT of rows that have a value for each column; it leaves those alone whose key is there already."""
    columns = [column.name for column in table.c]
    return Statement(lambda connection: insert_or_ignore(connection, table), columns=columns)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection to read with. What the database refuses is raised as StoreUnavailable."""
    try:
        with engine.connect() as connection:
            yield connection
    except (DBAPIError, PoolTimeout) as error:
        if not refuses(error):
            raise
        raise store_error(error, database_file(engine.url)) from error


def refuses(error: Exception) -> bool:
    """Is it the database that cannot, not the statement or its values that are wrong?"""
    # The driver says of a damaged file that it is a DatabaseError and no more.
    if isinstance(error, OperationalError | PoolTimeout | OSError) or type(error) is DatabaseError:
        return True
    # PostgreSQL's says so of a broken connection, and of a server that became a read-only copy of another.
    is_broken = isinstance(error, DBAPIError) and error.connection_invalidated
    return is_broken or getattr(getattr(error, "orig", None), "sqlstate", None) == "25006"


def database_file(url: str | URL) -> Path | None:
    """The file that holds the database; None for a server's."""
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


_DAMAGED = ("malformed", "not a database")


def store_error(error: Exception, path: Path | None = None) -> StoreUnavailable:
    """The product's error for a database driver's; `path` is the file of the database."""
    text = str(getattr(error, "orig", None) or error)
    if "disk is full" in text or "No space left" in text or "disk full" in text:
        return DiskFull(f"no space left to record anything ({text}); free some space on the store's disk")
    if any(words in text for words in _DAMAGED):
        return StoreUnavailable(
            f"the store {path or ''} is damaged ({text}). Stop the daemon and restore a backup: octospool restore "
            "FILE --force, which keeps the damaged one aside. 'octospool doctor' tells how bad it is",
            code="store_damaged",
        )
    return StoreUnavailable(f"the store cannot be used: {text}")
