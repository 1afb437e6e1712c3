"""Failed items of a queue whose items are files: the ledger lists them, their files lie in `failed/`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flow_processor.errors import ItemInWork, ItemNotFound
from flow_processor.queues.content import ContentRefused
from flow_processor.queues.folder_content import NotYet, first_text, read_content
from flow_processor.queues.folder_names import Named
from flow_processor.queues.folder_place import REASON, Place
from flow_processor.queues.folder_queue import AT_ONCE
from flow_processor.queues.item import TEXT_CHARACTERS, FailedItem, Held, Reason
from flow_processor.store import Store
from flow_processor.store.items import NO_FLOW, ItemRow, ItemState, forget_items


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

    def value(self, item_id: str) -> Held:
        """What a failed item holds; of one that was refused its text. Raises ItemNotFound."""
        rows = self._failed_rows(item_id)
        file = self._file(rows)
        if not _was_refused(rows):
            with contextlib.suppress(ContentRefused, NotYet, OSError):
                content = read_content(file, max_bytes=10 * 1024**2, now=None)
                is_binary = content.is_binary
                return Held(value=self._told(file, rows[0], content.size) if is_binary else content.value)
        return Held(has_value=False, text=first_text(file, TEXT_CHARACTERS))

    def _told(self, file: Path, row: ItemRow, size: int) -> dict[str, Any]:
        """What a binary item is to its runs: where it lies now."""
        return {"file": self._below_data(file), "name": row.name, "size": size}

    def _below_data(self, file: Path) -> str:
        return file.relative_to(self._place.root.parent.parent).as_posix()

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
        first, file = rows[0], self._file(rows)
        try:
            found = file.lstat()
        except OSError:
            found = None
        # Where it was refused the ledger knows only when.
        put_at = found.st_mtime if found is not None and _was_refused(rows) else first.put_at
        return FailedItem(
            id=first.item,
            queue=first.queue,
            name=first.name,
            put_at=put_at,
            failed_at=max(row.ended_at or 0.0 for row in rows),
            reasons=tuple(_reason(row) for row in rows),
            attempts=max(row.attempt for row in rows),
            size=None if found is None else found.st_size,
            file=None if found is None else self._below_data(file),
        )


def _was_refused(rows: Sequence[ItemRow]) -> bool:
    """Before any flow had it."""
    return all(row.flow == NO_FLOW for row in rows)


def _reason(row: ItemRow) -> Reason:
    error = json.loads(row.error or "{}")
    return Reason(
        code=error.get("code", "unknown"),
        message=error.get("message", "nothing tells why"),
        flow=row.flow or None,
        run_id=row.run_id,
    )
