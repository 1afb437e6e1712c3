"""Which flows listened to which queue when that was last looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Engine, select, update

from flow_processor.store import Store
from flow_processor.store.database import insert_or_ignore, reading
from flow_processor.store.tables import meta


def read_listeners(engine: Engine, daemon: str | None) -> dict[str, list[str]]:
    """For each queue the paths of its flows; empty where nothing is known."""
    with reading(engine) as connection:
        found = connection.scalar(select(meta.c.value).where(meta.c.key == _key(daemon)))
    known: dict[str, list[str]] = json.loads(found) if found else {}
    return known


def write_listeners(store: Store, listeners: Mapping[str, Sequence[str]]) -> None:
    """Remember them. Raises StoreUnavailable."""
    key, value = _key(store.daemon), json.dumps(listeners)

    def write(connection: Connection) -> None:
        connection.execute(insert_or_ignore(connection, meta).values(key=key, value=value))
        connection.execute(update(meta).where(meta.c.key == key).values(value=value))

    store.writer.run(write)


def _key(daemon: str | None) -> str:
    return "listeners" if daemon is None else f"listeners:{daemon}"
