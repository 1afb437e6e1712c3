"""PostgreSQL as the store: how its connections are set up, and how several daemons write into one database.

All that write take one lock of the database first, for the length of their transaction. So there is one writer at a
time over all daemons, as there is one thread in each: what an operation reads before it writes nobody else changes,
and no two of them ever wait for each other in a circle. The lock goes with the transaction, whatever ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event
from sqlalchemy.exc import DBAPIError

from flow_processor.errors import StoreUnavailable
from flow_processor.store.database import CommitUnknown

DRIVER = "psycopg"
"""The package that speaks with PostgreSQL."""
WAY_OUT = "pip install 'octospool[postgresql]' (or -r requirements-extras.txt)"
"""How to get it."""

WRITERS = 0x0C70
"""The first number of the lock that writers take; the second one stands for the schema."""

_SETTINGS = {
    "idle_in_transaction_session_timeout": "15s",
    "lock_timeout": "10s",
    # The server notices within half a minute that a machine is gone, and frees what it had locked.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "timezone": "UTC",
    "standard_conforming_strings": "on",
}
"""What holds in each session. A daemon that stands still in the middle of a transaction must not stop the others."""

_ALONE = f"SELECT txid_current() FROM pg_advisory_xact_lock({WRITERS}, hashtext(current_schema()))"  # noqa: S608


def engine_for(url: URL) -> Engine:
    """An engine over a PostgreSQL database. Raises StoreUnavailable `driver_missing`."""
    try:
        engine = create_engine(
            url.set(drivername=f"postgresql+{DRIVER}"),
            pool_size=10,
            max_overflow=10,
            pool_pre_ping=True,  # a server that was restarted is noticed here, not by whoever reads
            isolation_level="READ COMMITTED",
            connect_args={"connect_timeout": 10, "application_name": "octospool"} | dict(url.query),
        )
    except ModuleNotFoundError as error:
        message = f"a store on PostgreSQL needs the package {DRIVER}: {WAY_OUT}"
        raise StoreUnavailable(message, code="driver_missing") from error
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    from psycopg.types.string import StrDumperUnknown

    class WithoutNul(StrDumperUnknown):
        """PostgreSQL keeps no NUL in a text; a line of a log may hold one."""

        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in obj else obj)

    connection.adapters.register_dumper(str, WithoutNul)
    values = ", ".join("set_config(%s, %s, false)" for _ in _SETTINGS)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {values}", [part for setting in _SETTINGS.items() for part in setting])
        # Where the server reports commits that a power cut may take back, this program's do not.
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'"
        )
    connection.commit()


def fit(connection: Connection, metadata: MetaData) -> None:
    """Look at a database that is to become a store, and make the tables suit it. Raises StoreUnavailable."""
    encoding = connection.exec_driver_sql("SELECT current_setting('server_encoding')").scalar_one()
    if encoding != "UTF8":
        raise StoreUnavailable(
            f"the database has the encoding {encoding}; make one that has UTF8: CREATE DATABASE octospool "
            "ENCODING 'UTF8' TEMPLATE template0",
            code="store_unfit",
        )
    for table in metadata.tables.values():
        for index in table.indexes:
            # Said for SQLite only, so that its stores need not load this dialect at each start.
            index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes, while no other daemon's does. Raises CommitUnknown."""
    with engine.connect() as connection:
        transaction = connection.begin()
        try:
            number = connection.exec_driver_sql(_ALONE).scalar_one()
            _refuse_dead(connection, engine.get_execution_options().get("daemon"))
            yield connection
        except BaseException:
            transaction.rollback()
            raise
        try:
            transaction.commit()
        except DBAPIError as error:
            if error.connection_invalidated:
                raise CommitUnknown(partial(_took_place, engine, number)) from error
            raise


def _refuse_dead(connection: Connection, daemon: str | None) -> None:
    """Raises StoreUnavailable `declared_dead` for a daemon whose runs others have by now."""
    query = "SELECT 1 FROM daemons WHERE id = %s AND seen_at < 0"
    if daemon is not None and connection.exec_driver_sql(query, (daemon,)).scalar() is not None:
        raise StoreUnavailable(
            "the database had lost sight of this daemon, and another one has taken its queued runs over; start it anew",
            code="declared_dead",
        )


def _took_place(engine: Engine, number: int) -> bool:
    """Has the transaction of that number been committed? Raises DBAPIError where the server cannot be asked."""
    with engine.begin() as connection:
        connection.exec_driver_sql(_ALONE)  # which the transaction had, so that it has ended now
        try:
            status = connection.exec_driver_sql("SELECT txid_status(%s)", (number,)).scalar_one()
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            return False  # a server that took over from that one has never heard of it
    return bool(status == "committed")
