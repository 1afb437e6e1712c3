"""The running daemon's calls about queues, with the verbs of the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from flow_processor.cli.daemon_link import DaemonLink
from flow_processor.queues.backend import Purged
from flow_processor.service.queue_views import (
    FailedItemDetail,
    FailedItems,
    ItemDone,
    ItemsPurged,
    ItemsPut,
    QueueDetail,
    QueueView,
)


class QueueCalls:
    """`Daemon.queues`."""

    def __init__(self, link: DaemonLink):
        self._link = link

    def all(self) -> list[QueueView]:
        """Every queue."""
        return [QueueView.model_validate(one) for one in self._link.call("GET", "/api/queues")["queues"]]

    def one(self, queue: str) -> QueueDetail:
        """One queue."""
        return QueueDetail.model_validate(self._link.call("GET", _address(queue)))

    def put(
        self, queue: str, values: Sequence[Any], *, priority: int = 0, key: str | None = None
    ) -> ItemsPut:
        """Put items on a queue. Never sent twice: without a key they would be other items."""
        body = {"items": list(values), "priority": priority}
        headers = None if key is None else {"Idempotency-Key": key}
        return ItemsPut.model_validate(self._link.call("POST", _address(queue), json=body, headers=headers))

    def failed(self, queue: str, *, limit: int = 100, cursor: str | None = None) -> FailedItems:
        """A page of the failed items."""
        query = {"limit": limit, "cursor": cursor}
        return FailedItems.model_validate(self._link.call("GET", f"{_address(queue)}/failed", query=query))

    def failed_item(self, queue: str, item_id: str) -> FailedItemDetail:
        """One of them with what it holds."""
        return FailedItemDetail.model_validate(self._link.call("GET", _item(queue, item_id)))

    def retry(self, queue: str, item_id: str, *, by: str = "cli") -> ItemDone:
        """Begin again with a failed item."""
        return ItemDone.model_validate(
            self._link.call("POST", f"{_item(queue, item_id)}/retry", json={"by": by})
        )

    def delete(self, queue: str, item_id: str, *, by: str = "cli") -> ItemDone:
        """Delete a failed item; the daemon tells who by the token, here and below."""
        return ItemDone.model_validate(self._link.call("DELETE", _item(queue, item_id)))

    def purge(self, queue: str, what: Purged, *, by: str = "cli") -> ItemsPurged:
        """Delete all items that stand so."""
        query = {"state": what.value}
        return ItemsPurged.model_validate(self._link.call("DELETE", f"{_address(queue)}/items", query=query))

    def set_paused(self, queue: str, paused: bool, *, by: str = "cli") -> QueueDetail:
        """Pause a queue or let it go on."""
        address = f"{_address(queue)}/{'pause' if paused else 'resume'}"
        return QueueDetail.model_validate(self._link.call("POST", address, json={"by": by}))


def _address(queue: str) -> str:
    return f"/api/queues/{quote(queue, safe='')}"


def _item(queue: str, item_id: str) -> str:
    return f"{_address(queue)}/failed/{quote(item_id, safe='')}"
