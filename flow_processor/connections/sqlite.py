"""How a step opens a SQLite file: only below the data folder, and no other file through it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.engine import URL, Engine
from sqlalchemy.pool import NullPool

from flow_processor.connections.address import AddressInvalid
from flow_processor.errors import StepError
from flow_processor.paths import inside
from flow_processor.step import StepContext

_BUSY_SECONDS = 30.0
"""How long a statement waits for others that write into the file."""
_WAY_OUT = "a SQLite file is named by its path below the data folder: sqlite:///name.db"
_REFUSED_PRAGMAS = ("temp_store_directory", "data_store_directory")


def engine(url: URL, context: StepContext, *, reads: bool) -> Engine:
    """An engine for the file. Raises AddressInvalid, PathRefused, or StepError `database_not_found`."""
    if url.host or url.query or url.username or not url.database or url.database.startswith(("file:", ":")):
        raise AddressInvalid(_WAY_OUT)
    if url.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise AddressInvalid(f"{url.drivername} is not supported; {_WAY_OUT}")
    path = inside(context.folders.data, url.database, what="database.url", private=context.folders.private)
    if path.exists() and not path.is_file():
        raise StepError(f"{url.database!r} is no file", code="path_refused")
    if reads and not path.exists():
        message = (
            f"there is no SQLite file {url.database!r} in the data folder; a statement that writes makes it"
        )
        raise StepError(message, code="database_not_found")
    path.parent.mkdir(parents=True, exist_ok=True)
    left = context.remaining_seconds()
    busy = _BUSY_SECONDS if left is None else min(left, _BUSY_SECONDS)
    return sqlalchemy.create_engine("sqlite://", poolclass=NullPool, creator=lambda: _open(path, busy))


def _open(path: Path, busy_seconds: float) -> sqlite3.Connection:
    # Its own threads may interrupt it; each connection is used by one step.
    connection = sqlite3.connect(path, timeout=busy_seconds, check_same_thread=False)
    connection.set_authorizer(_allowed)
    return connection


def _allowed(action: int, first: str | None, second: str | None, *rest: Any) -> int:
    """No other files: ATTACH (also by VACUUM INTO) and the pragmas that name folders are refused."""
    attaches = action == sqlite3.SQLITE_ATTACH and first != ""  # VACUUM itself attaches a file without a name
    names_folder = action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in _REFUSED_PRAGMAS
    return sqlite3.SQLITE_DENY if attaches or names_folder else sqlite3.SQLITE_OK
