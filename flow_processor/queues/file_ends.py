"""What becomes of a file when its runs have ended: it is moved or deleted, once every flow is done with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from flow_processor.errors import PathRefused
from flow_processor.paths import sync_folder
from flow_processor.queues.file_look import item_of
from flow_processor.queues.file_moves import delete, move_beside
from flow_processor.queues.file_pattern import FileVersion
from flow_processor.queues.reason_file import told_of
from flow_processor.spec.files import After
from flow_processor.store.file_items import FileItems
from flow_processor.store.items import ItemState


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

        What is put away is forgotten: if it is put back it starts the flow again. What is not there is remembered: its
        disk may be away for a while.
        """
        held_up: dict[str, str] = {}
        gone: list[str] = []
        changed: set[Path] = set()
        for item, path in files.items():
            try:
                if item_of(path, FileVersion.of((self._folder / path).lstat())) != item:
                    gone.append(item)  # a newer one has taken its name
                elif (why := self._why_not_yet(item, path)) is not None:
                    held_up[path] = why
                else:
                    changed |= self._put_one_away(item, path)
                    gone.append(item)
            except FileNotFoundError:
                continue
            except (OSError, PathRefused) as error:
                held_up[path] = f"cannot be put away: {getattr(error, 'strerror', None) or error}"
        for folder in changed:
            sync_folder(folder)
        self._ledger.forget(gone)
        return held_up

    def _why_not_yet(self, item: str, path: str) -> str | None:
        """Who or what must come first."""
        rows = self._ledger.of(item)
        if others := sorted({*self._watchers_of(path)} - {row.flow for row in rows if row.has_ended}):
            return f"stays until {', '.join(others)} has ended with it"
        runs = [row.run_id for row in rows if row.run_id is not None and row.state is ItemState.FAILED]
        if doubtful := [run for run in runs if self._ledger.is_interrupted(run)]:
            return f"stays, for it was interrupted: resume {', '.join(doubtful)}, or write the file anew"
        return None

    def _put_one_away(self, item: str, path: str) -> set[Path]:
        """Put a file away, unless a newer one has taken its name; the folders that are to be synced.

        Raises FileNotFoundError where it is not there, OSError or PathRefused.
        """
        file = self._folder / path

        def is_meant(found: os.stat_result) -> bool:
            return item_of(path, FileVersion.of(found)) == item

        failed = [row for row in self._ledger.of(item) if row.state is ItemState.FAILED]
        if not failed and self._after is After.DELETE:
            delete(file, below=self._folder, is_meant=is_meant)
            return {file.parent}
        reason = told_of(failed, queue=None) if failed else None
        target = "failed" if failed else "done"
        moved = move_beside(file, target, below=self._folder, is_meant=is_meant, reason=reason)
        return {file.parent} if moved is None else {file.parent, moved.parent}
