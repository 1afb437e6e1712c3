"""Keys that callers gave with items: what each stands for. Noted in the ledger as a row that no flow has, which is
forgotten when items of that time are."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, delete, select

from flow_processor.store.database import insert_or_ignore
from flow_processor.store.items import NO_FLOW, ItemState
from flow_processor.store.tables import items


def note_key(connection: Connection, queue: str, key_id: str, *, content: str, at: float) -> tuple[bool, str]:
    """Note what a key stands for, unless that is known: was it new, and the content that it stands for.

    `content` is a digest of what is put, `at` in seconds since 1970.
    """
    known = select(items.c.name).where(*_is(queue, key_id))
    is_new = connection.scalar(known) is None
    if is_new:
        row = {
            "queue": queue,
            "item": key_id,
            "flow": NO_FLOW,
            "state": ItemState.DONE.value,
            "attempt": 0,
            "name": content,
            "put_at": at,
            "ended_at": at,
        }
        connection.execute(insert_or_ignore(connection, items).values(row))
    # Asked again: another daemon on the same store may have been faster.
    return is_new, str(connection.scalar(known))


def forget_key(connection: Connection, queue: str, key_id: str) -> None:
    """Nothing was put with it after all."""
    connection.execute(delete(items).where(*_is(queue, key_id)))


def _is(queue: str, key_id: str) -> tuple[ColumnElement[bool], ...]:
    return items.c.queue == queue, items.c.item == key_id, items.c.flow == NO_FLOW
