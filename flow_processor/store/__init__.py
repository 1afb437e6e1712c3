"""The store: what the program remembers. One database, one writer, any number of readers."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Integer, Text, cast, update

from flow_processor.store.child_runs import ChildRunReader
from flow_processor.store.database import database_file, insert_or_ignore, open_database
from flow_processor.store.item_ledger import ItemLedger
from flow_processor.store.journal import JournalReader
from flow_processor.store.outbox import Outbox
from flow_processor.store.removals import RemovalReader
from flow_processor.store.run_lists import RunLists
from flow_processor.store.run_stats import RunStatsReader
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

    def __init__(self, url: str, *, daemon: str | None = None):
        """`daemon`: which of those that share the store this is; None: it has the store for itself."""
        self.engine = open_database(url, daemon)
        self.daemon = daemon
        """What rows that are this daemon's say; None: all are."""
        self.writer = Writer(self.engine)
        self.runs = RunReader(self.engine, daemon)
        self.lists = RunLists(self.engine)
        self.stats = RunStatsReader(self.engine)
        self.journal = JournalReader(self.engine)
        self.children = ChildRunReader(self.engine, daemon)
        self.removals = RemovalReader(self.engine)
        self.items = ItemLedger(self.engine, daemon)
        self.outbox = Outbox(self.engine, daemon)

    def check(self, seconds: float) -> None:
        """Commit something. Raises StoreUnavailable, or TimeoutError if that takes longer than `seconds`."""
        self.writer.submit(_count_check).result(seconds)

    def close(self) -> None:
        """Commit what is queued and close every connection."""
        self.writer.close()
        self.engine.dispose()


def _count_check(connection: Connection) -> None:
    # A value that changes: one that stays as it was would not be written at all.
    connection.execute(insert_or_ignore(connection, meta).values(key="checks", value="0"))
    counted = cast(cast(meta.c.value, Integer) + 1, Text)
    connection.execute(update(meta).where(meta.c.key == "checks").values(value=counted))
