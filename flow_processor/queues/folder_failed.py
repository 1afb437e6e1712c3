"""Failed items of a queue whose items are files: the ledger lists them, their files lie in `failed/`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from flow_processor.errors import ItemInWork, ItemNotFound
from flow_processor.queues.content import ContentRefused
from flow_processor.queues.folder_content import NotYet, read_content
from flow_processor.queues.folder_names import Named
from flow_processor.queues.folder_place import REASON, Place
from flow_processor.queues.folder_queue import AT_ONCE
from flow_processor.queues.item import FailedItem, Reason
from flow_processor.store import Store
from flow_processor.store.items import ItemRow, ItemState, forget_items


class FailedFiles:
    """Failed items of one queue. The caller holds the queue's guard where it changes anything."""

    def __init__(self, place: Place, store: Store) -> None:
        self._place = place
        self._store = store

    def page(self, *, limit: int, after: str | None) -> list[FailedItem]:
        """Failed items by their ids, those behind `after`."""
        found = self._store.items.failed(self._place.queue, limit=limit, after=after)
        return [self._item(rows) for rows in found.values()]

    def get(self, item_id: str) -> FailedItem:
        """One failed item. Raises ItemNotFound."""
        return self._item(self._failed_rows(item_id))

    def value(self, item_id: str) -> object:
        """What a failed item holds; its text where that is all there is, None where it cannot be read. Raises
        ItemNotFound."""
        file = self._file(self._failed_rows(item_id))
        try:
            return read_content(file, max_bytes=10 * 1024**2, now=None).value
        except (ContentRefused, NotYet, OSError):
            return None

    def retry(self, item_id: str) -> None:
        """Put a failed item into `new/` again, for the flows that have given it up. Raises ItemNotFound, ItemInWork,
        OSError."""
        rows = self._rows(item_id)
        file, kept = self._file(rows), self._kept(rows)
        try:
            file.rename(self._place.new / kept)
        except FileNotFoundError:
            message = f"the file of item '{item_id}' is no longer in {self._place.failed}; delete the item"
            raise ItemNotFound(message, details={"queue": self._place.queue, "item": item_id}) from None
        self._forget([item_id])
        (self._place.failed / f"{kept}{REASON}").unlink(missing_ok=True)

    def delete(self, item_id: str) -> None:
        """Delete a failed item. Raises ItemNotFound, ItemInWork, OSError."""
        file = self._file(self._rows(item_id))
        self._place.remove(file.parent, file.name)
        self._forget([item_id])

    def purge_some(self, after: str) -> tuple[int, str | None]:
        """Delete the first failed items behind an id that no flow has in work: how many went, and behind which id to
        go on; None: there are no more. Raises OSError."""
        found = self._store.items.failed(self._place.queue, limit=AT_ONCE, after=after)
        still = self._store.items.of_items(self._place.queue, list(found))
        ended = [item for item, rows in still.items() if all(row.has_ended for row in rows)]
        for item_id in ended:
            file = self._file(found[item_id])
            self._place.remove(file.parent, file.name)
        self._forget(ended)
        return len(ended), max(found, default=None)

    def _rows(self, item_id: str) -> list[ItemRow]:
        """Of an item that no flow has in work any more. Raises ItemNotFound, ItemInWork."""
        failed = self._failed_rows(item_id)
        rows = self._store.items.of_items(self._place.queue, [item_id]).get(item_id, [])
        flows = [row.flow for row in rows if not row.has_ended]
        if flows:
            message = f"item '{item_id}' is still in work for {' and '.join(sorted(flows))}; decide on it after that"
            raise ItemInWork(message, details={"queue": self._place.queue, "item": item_id, "flows": flows})
        return failed

    def _failed_rows(self, item_id: str) -> list[ItemRow]:
        rows = self._store.items.of_items(self._place.queue, [item_id]).get(item_id, [])
        failed = [row for row in rows if row.state is ItemState.FAILED]
        if not failed:
            message = f"the queue '{self._place.queue}' has no failed item '{item_id}'"
            raise ItemNotFound(message, details={"queue": self._place.queue, "item": item_id})
        return failed

    def _file(self, rows: Iterable[ItemRow]) -> Path:
        """Where its file lies: for a moment after its last run, and while another flow has it, in `processing/`."""
        kept = self._kept(rows)
        file = self._place.processing / kept
        return file if os.path.lexists(file) else self._place.failed / kept

    def _kept(self, rows: Iterable[ItemRow]) -> str:
        first = next(iter(rows))
        return Named(first.item, first.name, first.priority).kept

    def _forget(self, item_ids: list[str]) -> None:
        if not item_ids:
            return
        queue = self._place.queue
        self._store.writer.run(lambda connection: forget_items(connection, queue, item_ids, ItemState.FAILED))

    def _item(self, rows: list[ItemRow]) -> FailedItem:
        first = rows[0]
        try:
            size = self._file(rows).lstat().st_size
        except OSError:
            size = None
        return FailedItem(
            id=first.item,
            queue=first.queue,
            name=first.name,
            put_at=first.put_at,
            failed_at=max(row.ended_at or 0.0 for row in rows),
            reasons=tuple(_reason(row) for row in rows),
            attempts=max(row.attempt for row in rows),
            size=size,
        )


def _reason(row: ItemRow) -> Reason:
    error = json.loads(row.error or "{}")
    return Reason(
        code=error.get("code", "unknown"),
        message=error.get("message", "nothing tells why"),
        flow=row.flow or None,
        run_id=row.run_id,
    )
