"""`Idempotency-Key`: the first call's items are what the key stands for."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence

from flow_processor.errors import IdempotencyConflict, InvalidRequest, QueueFull
from flow_processor.queues.item import Item
from flow_processor.store import Store
from flow_processor.store.put_keys import forget_key, note_key


def id_of_key(queue: str, key: str) -> str:
    """What the ids of the items begin with that are put with a key."""
    return f"key-{hashlib.sha256(f'{queue}/{key}'.encode()).hexdigest()[:32]}"


@contextlib.contextmanager
def standing_for(store: Store, key_id: str, items: Sequence[Item]) -> Iterator[None]:
    """Around the put of these items: from now on the key stands for them.

    Raises IdempotencyConflict where it stands for others, StoreUnavailable.
    """
    queue, at, content = items[0].queue, items[0].put_at, _digest(items)
    is_new, first = store.writer.run(
        lambda connection: note_key(connection, queue, key_id, content=content, at=at)
    )
    if first != content:
        message = (
            f"this Idempotency-Key came with other items for the queue '{queue}' before; nothing was put there. "
            "Send the same items (and priority) again, or these with a new key"
        )
        raise IdempotencyConflict(message, details={"queue": queue})
    try:
        yield
    except (InvalidRequest, QueueFull):  # nothing was put
        if is_new:
            store.writer.run(lambda connection: forget_key(connection, queue, key_id))
        raise


def _digest(items: Sequence[Item]) -> str:
    text = json.dumps([[item.value, item.priority] for item in items], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
