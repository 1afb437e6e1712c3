"""A copy of the store as it is at one moment, taken while others read and write it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flow_processor.errors import StoreUnavailable
from flow_processor.store.database import SCHEMA_VERSION, database_file, store_error


@dataclass(frozen=True)
class Snapshot:
    """What a copy holds."""

    schema: int
    """The version of its tables."""
    runs: int
    """How many runs it has."""


def write_snapshot(url: str, target: Path) -> Snapshot:
    """Copy the store at `url` into a new file. Raises StoreUnavailable: `store_too_new` if a newer program wrote it,
    `store_on_server` where it is no file, `no_store`.

    The copy is compact and needs no write-ahead log. The store itself is only read, nothing in it is migrated.
    """
    path = database_file(url)
    if path is None:
        raise StoreUnavailable(
            "the store is on PostgreSQL, whose own tools back it up: pg_dump --format=custom --file=octospool.dump "
            "DATABASE_URL, and after that a copy of the data folder. See docs/postgresql.md",
            code="store_on_server",
        )
    if not path.exists():
        raise StoreUnavailable(
            f"there is no store at {path}; a daemon that starts makes one", code="no_store"
        )
    with _reading(path) as connection:
        schema = _schema(connection, path)
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # so that the copy can give space back
        connection.execute("VACUUM INTO ?", (str(target),))
    with _reading(target) as copy:
        (runs,) = copy.execute("SELECT count(*) FROM runs").fetchone()
    return Snapshot(schema, runs)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        yield connection
    except sqlite3.Error as error:
        raise store_error(error, path) from error
    finally:
        connection.close()


def _schema(connection: sqlite3.Connection, path: Path) -> int:
    found = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    schema = int(found[0]) if found else 0
    if schema > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"the store {path} was written by a newer version of octospool (schema {schema}, this program knows "
            f"{SCHEMA_VERSION}); use that version",
            code="store_too_new",
        )
    return schema
