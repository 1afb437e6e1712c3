"""What becomes of a file when its runs have ended: it is moved or deleted, once every flow is done with it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from flow_processor.clock import from_epoch, to_text
from flow_processor.errors import PathRefused
from flow_processor.paths import sync_folder
from flow_processor.queues.file_look import item_of
from flow_processor.queues.file_moves import delete, move_beside
from flow_processor.queues.file_pattern import FileVersion
from flow_processor.spec.files import After
from flow_processor.store.file_items import FileItems
from flow_processor.store.items import ItemRow, ItemState


class FileEnds:
    """Puts files away for one flow. Not thread safe."""

    def __init__(
        self, folder: Path, after: After, ledger: FileItems, *, watchers_of: Callable[[str], Collection[str]]
    ) -> None:
        """`watchers_of` tells which flows a file starts, by its path."""
        self._folder = folder.resolve()
        self._after = after
        self._ledger = ledger
        self._watchers_of = watchers_of

    def put_away(self, files: Mapping[str, str]) -> dict[str, str]:
        """Put files away whose runs have ended, paths by item; by path why that does not work yet.

        What is put away is forgotten: if it is put back it starts the flow again.
        """
        held_up: dict[str, str] = {}
        gone: list[str] = []
        changed: set[Path] = set()
        for item, path in files.items():
            try:
                why = self._put_away(item, path, changed)
            except (OSError, PathRefused) as error:
                why = f"cannot be put away: {getattr(error, 'strerror', None) or error}"
            if why is None:
                gone.append(item)
            else:
                held_up[path] = why
        for folder in changed:
            sync_folder(folder)
        self._ledger.forget(gone)
        return held_up

    def _put_away(self, item: str, path: str, changed: set[Path]) -> str | None:
        """Put one file away; why that is not to be yet, if so. `changed` gets the folders that are to be synced."""
        file = self._folder / path

        def is_meant(found: os.stat_result) -> bool:
            return item_of(path, FileVersion.of(found)) == item

        try:
            if not is_meant(file.lstat()):
                return None
        except FileNotFoundError:
            return None
        rows = self._ledger.of(item)
        if others := sorted({*self._watchers_of(path)} - {row.flow for row in rows if row.has_ended}):
            return f"stays until {', '.join(others)} has ended with it"
        failed = [row for row in rows if row.state is ItemState.FAILED]
        doubtful = [run for row in failed if (run := row.run_id) and self._ledger.is_interrupted(run)]
        if doubtful:
            return f"stays, for it was interrupted: resume {', '.join(doubtful)}, or write the file anew"
        try:
            if failed:
                moved = move_beside(
                    file, "failed", below=self._folder, is_meant=is_meant, reason=_reason(path, item, failed)
                )
            elif self._after is After.MOVE:
                moved = move_beside(file, "done", below=self._folder, is_meant=is_meant)
            else:
                moved = None
                if delete(file, below=self._folder, is_meant=is_meant):
                    changed.add(file.parent)
        except FileNotFoundError:  # its folder is gone
            return None
        if moved is not None:
            changed |= {file.parent, moved.parent}
        return None


def _reason(path: str, item: str, failed: Iterable[ItemRow]) -> dict[str, Any]:
    """What lies beside a failed file."""
    return {
        "file": path,
        "item": item,
        "failures": [
            {
                "flow": row.flow,
                "run_id": row.run_id,
                "attempts": row.attempt,
                "at": None if row.ended_at is None else to_text(from_epoch(row.ended_at)),
                "error": None if row.error is None else json.loads(row.error),
            }
            for row in failed
        ],
    }
