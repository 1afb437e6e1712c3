"""What a queue refuses: items that are too large, and more of them than may wait."""

from __future__ import annotations

from collections.abc import Sequence

from flow_processor.errors import InvalidRequest, ItemTooLarge, QueueFull
from flow_processor.spec.queue_settings import QueueSettings

RETRY_AFTER_SECONDS = 5
"""When whoever was refused for want of room had better ask again."""


def check_bounds(
    queue: str, sizes: Sequence[int], *, waiting: int, settings: QueueSettings, any_size: bool = False
) -> None:
    """May items of these sizes (bytes as JSON) be put on a queue in which so many wait? All of them or none. With
    `any_size` only their number counts.

    Raises QueueFull; what no waiting helps against: ItemTooLarge, InvalidRequest `too_many_items`.
    """
    limit = int(settings.max_item_bytes)
    for index, size in enumerate(sizes):
        if size > limit and not any_size:
            which = f"item {index + 1} of {len(sizes)}" if len(sizes) > 1 else "the item"
            message = (
                f"{which} has {size} bytes; the queue '{queue}' takes {limit} (max_item_bytes in config.yml)"
            )
            raise ItemTooLarge(message, details={"queue": queue, "limit": limit, "index": index})
    if len(sizes) > settings.max_items:
        message = (
            f"these are {len(sizes)} items; the queue '{queue}' never holds more than {settings.max_items}"
        )
        raise InvalidRequest(message, code="too_many_items")
    if waiting + len(sizes) > settings.max_items:
        raise QueueFull(
            f"{waiting} items wait in the queue '{queue}', which takes {settings.max_items}; nothing was put there",
            details={
                "queue": queue,
                "depth": waiting,
                "limit": settings.max_items,
                "retry_after_seconds": RETRY_AFTER_SECONDS,
            },
        )
