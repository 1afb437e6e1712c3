"""What is killed in the middle: transactions (see kill_points.py)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert

from flow_processor.store import Store
from flow_processor.store.tables import meta


def commit(place: Path, idle: Callable[[], None]) -> None:
    """Two transactions of two rows each; `one` and `two` are there once each has been confirmed."""
    store = copied_store(place)
    store.writer.run(lambda _: idle())  # the thread whose calls are counted
    for name in ("one", "two"):
        rows = [{"key": name + half, "value": "x"} for half in "ab"]
        store.writer.run(lambda connection, rows=rows: connection.execute(insert(meta), rows).rowcount)
        (place / name).touch()
    store.close()


def copied_store(place: Path) -> Store:
    """A copy of the store that the test has made: to copy is no call that is counted, to make it is many."""
    shutil.copy(place.parents[1] / "octospool.db", place)
    return Store(f"sqlite:///{place / 'octospool.db'}")
