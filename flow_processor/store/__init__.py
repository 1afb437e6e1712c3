"""The store: what the program remembers. One database, one writer, any number of readers."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, update

from flow_processor.store.database import database_file, open_database
from flow_processor.store.journal import JournalReader
from flow_processor.store.removals import RemovalReader
from flow_processor.store.runs import RunReader
from flow_processor.store.tables import meta
from flow_processor.store.writer import Writer

__all__ = ["Connection", "Store", "database_file", "store_files"]


def store_files(url: str) -> list[Path]:
    """The files that the database at `url` is made of; none for a server's."""
    path = database_file(url)
    return [] if path is None else [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm", "-journal")]


class Store:
    """Opens the database at `url` (SQLAlchemy form) and brings it up to date. Raises StoreUnavailable."""

    def __init__(self, url: str):
        self.engine = open_database(url)
        self.writer = Writer(self.engine)
        self.runs = RunReader(self.engine)
        self.journal = JournalReader(self.engine)
        self.removals = RemovalReader(self.engine)

    def check(self, seconds: float) -> None:
        """Commit something. Raises StoreUnavailable, or TimeoutError if that takes longer than `seconds`."""
        probe = update(meta).where(meta.c.key == "schema_version").values(value=meta.c.value)
        self.writer.submit(lambda connection: connection.execute(probe).rowcount).result(seconds)

    def close(self) -> None:
        """Commit what is queued and close every connection."""
        self.writer.close()
        self.engine.dispose()
