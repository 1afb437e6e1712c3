"""How a daemon says that it lives, and what it sees of the others: over a connection of its own.

Its row says when it was seen, by the database's clock; its lock goes with the connection. See `store.daemons`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, select, update
from sqlalchemy.exc import DBAPIError

from flow_processor.store.daemons import DECLARED_DEAD, LIVING, schedule_changes
from flow_processor.store.database import insert_or_ignore, reading, store_error
from flow_processor.store.tables import daemons

_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


@dataclass(frozen=True, slots=True)
class DaemonRow:
    """One of the daemons."""

    id: str
    name: str
    url: str | None
    """Where its API listens."""
    silent_seconds: float | None
    """How long ago it was seen; None: it was declared dead."""

    def __str__(self) -> str:
        where = f" at {self.url}" if self.url else ""
        seen = "which is dead" if self.silent_seconds is None else f"seen {self.silent_seconds:.0f} s ago"
        return f"the daemon {self.name}{where} ({seen})"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look has shown."""

    others: tuple[DaemonRow, ...]
    """The other daemons, by name."""
    schedules: str
    """Another text after each change of a schedule."""
    is_declared_dead: bool
    """Another daemon has taken over what this one had not begun."""
    is_new: bool
    """The connection is a new one: the others may just be coming back, too."""


class IdTaken(Exception):
    """Somebody who lives has the same id."""


class Presence:
    """One daemon's. For one thread at a time."""

    def __init__(self, engine: Engine, daemon: str, *, name: str, url: str | None) -> None:
        self._engine = engine
        self._daemon = daemon
        self._values = {"name": name, "url": url}
        self._connection: Connection | None = None

    def begin(self) -> None:
        """Say for the first time that it lives. Raises IdTaken, StoreUnavailable."""
        try:
            connection = self._held()
            now = connection.exec_driver_sql(_NOW).scalar_one()
            values = {**self._values, "seen_at": now}
            connection.execute(insert_or_ignore(connection, daemons).values(id=self._daemon, **values))
            connection.execute(update(daemons).where(daemons.c.id == self._daemon).values(values))
        except DBAPIError as error:
            self._drop()
            raise store_error(error) from error

    def look(self) -> Seen:
        """Say that it lives, and look around. Raises IdTaken, StoreUnavailable."""
        try:
            is_new = self._connection is None
            connection = self._held()
            now = connection.exec_driver_sql(_NOW).scalar_one()
            alive = update(daemons).where(daemons.c.id == self._daemon, daemons.c.seen_at >= 0)
            is_alive = connection.execute(alive.values(seen_at=now)).rowcount == 1
            others = select(daemons).where(daemons.c.id != self._daemon).order_by(daemons.c.name)
            rows = tuple(_daemon_row(row, now) for row in connection.execute(others))
            return Seen(rows, schedule_changes(connection), not is_alive, is_new)
        except DBAPIError as error:
            self._drop()
            raise store_error(error) from error

    def leave(self, *, forget: bool) -> None:
        """Hold the lock no more. `forget`: no run waits for this daemon, so others need not know of it."""
        try:
            if forget and self._connection is not None:
                self._connection.execute(delete(daemons).where(daemons.c.id == self._daemon))
        except DBAPIError as error:
            raise store_error(error) from error
        finally:
            self._drop()

    def _held(self) -> Connection:
        """The connection, with the lock."""
        if self._connection is None:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                connection.detach()  # closing it is to end the session, and with it the lock
                query = f"SELECT pg_try_advisory_lock({LIVING}, hashtext(%s))"
                if not connection.exec_driver_sql(query, (self._daemon,)).scalar_one():
                    raise IdTaken(self._daemon)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def find_daemon(engine: Engine, daemon: str) -> DaemonRow | None:
    """The daemon of that id. Raises StoreUnavailable."""
    with reading(engine) as connection:
        now = connection.exec_driver_sql(_NOW).scalar_one()
        row = connection.execute(select(daemons).where(daemons.c.id == daemon)).one_or_none()
    return None if row is None else _daemon_row(row, now)


def _daemon_row(row: Row[Any], now: float) -> DaemonRow:
    silence = None if row.seen_at <= DECLARED_DEAD else max(0.0, now - row.seen_at)
    return DaemonRow(row.id, row.name, row.url, silence)
