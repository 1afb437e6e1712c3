"""The four folders of a queue, and how files go from one to the next: by rename only."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flow_processor.clock import Clock
from flow_processor.documents import json_bytes
from flow_processor.errors import QueueUnavailable
from flow_processor.paths import sync_folder, write_atomic
from flow_processor.queues.folder_names import own_name
from flow_processor.queues.item import Item

FOLDERS = ("new", "processing", "done", "failed")
WRITERS = 4
"""So many files are written at once: the disk takes them together, and 500 take a fifth of the time (measured)."""
REASON = ".reason.json"
"""Ends the name of the file beside a failed one that tells why."""
UNFINISHED_SECONDS = 600.0
"""Nobody writes a file for so long: who began with it was killed."""
MARK_BYTES = 4

_UNFINISHED = re.compile(rf"\.[0-9a-f]{{{2 * MARK_BYTES}}}\.item-.+\.json")
"""What `put` calls files until they are whole."""


class Place:
    """The folders of one queue below the spool folder."""

    def __init__(self, spool: Path, queue: str) -> None:
        self.queue = queue
        self.root = spool / queue
        self.new, self.processing, self.done, self.failed = (self.root / name for name in FOLDERS)

    def make(self) -> None:
        """Make what is missing. Raises OSError."""
        for name in FOLDERS:
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def absent(self, items: Sequence[Item]) -> list[Item]:
        """Those of the items that are not in `new/` yet. One that is keeps its content and its place in the line."""
        return [item for item in items if not os.path.lexists(self.new / own_name(item.id, item.priority))]

    def put(self, items: Sequence[Item]) -> None:
        """Write items into `new/`; durable when this returns. Raises QueueUnavailable."""
        # Hidden names of this call alone: another one may put the same items at the same time.
        mark = secrets.token_hex(MARK_BYTES)
        written = [self.new / f".{mark}.{own_name(item.id, item.priority)}" for item in items]
        try:
            self.make()
            _write_all(list(zip(written, items, strict=True)))
            for hidden in written:
                hidden.rename(self.new / hidden.name[len(mark) + 2 :])
            sync_folder(self.new)
        except OSError as error:
            for hidden in written:
                with contextlib.suppress(OSError):
                    hidden.unlink(missing_ok=True)
            raise QueueUnavailable(f"the folder {self.new} cannot be written: {error}") from error

    def remove_unfinished(self, clock: Clock) -> None:
        """Delete what calls of `put` left in `new/` that were killed. Raises OSError."""
        before = clock.now().timestamp() - UNFINISHED_SECONDS
        with os.scandir(self.new) as entries:
            for entry in entries:
                if _UNFINISHED.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        # Its other time is the item's.
                        if entry.stat(follow_symlinks=False).st_ctime < before:
                            Path(entry.path).unlink()

    def remove_if_empty(self) -> bool:
        """Delete the folders if nothing is in them; are they gone? Durable later. Raises OSError."""
        folders = [self.root / name for name in FOLDERS]
        try:
            if any(_has_entries(folder) for folder in folders):
                return False
            for folder in [*folders, self.root]:
                folder.rmdir()
        except FileNotFoundError:
            return not self.root.exists()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # somebody has put something of his own there
                raise
            self.make()
            return False
        return True

    def take(self, name: str, kept: str) -> bool:
        """Move a file from `new/` to `processing/`; False where the item is there already: then the file is the same
        one again, and is deleted. `sync_taken` makes it durable. Raises OSError."""
        # As text, here and in `finish`: each item comes by, and paths cost more than the calls of the system.
        source, target = f"{self.new}/{name}", f"{self.processing}/{kept}"
        if os.path.lexists(target):
            os.unlink(source)  # noqa: PTH108
            return False
        os.rename(source, target)  # noqa: PTH104
        return True

    def sync_taken(self) -> None:
        """Make durable what was taken."""
        sync_folder(self.processing)
        sync_folder(self.new)

    def finish(self, kept: str) -> None:
        """Move a file to `done/`, from wherever it is. Raises OSError."""
        for folder in (self.processing, self.failed):
            _move(f"{folder}/{kept}", f"{self.done}/{kept}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.failed}/{kept}{REASON}")  # noqa: PTH108

    def fail(self, kept: str, reason: dict[str, Any], *, source: Path | None = None) -> None:
        """Move a file to `failed/` (from `processing/`, unless `source` says otherwise), with the reason beside it.
        Raises OSError."""
        text = json.dumps(reason, ensure_ascii=False, indent=2) + "\n"
        write_atomic(self.failed / f"{kept}{REASON}", text.encode("utf-8", "replace"))
        _move(str(source or self.processing / kept), str(self.failed / kept))
        sync_folder(self.failed)

    def reason(self, kept: str) -> dict[str, Any]:
        """What stands beside a failed file; empty where nothing does that can be read."""
        try:
            found = json.loads((self.failed / f"{kept}{REASON}").read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def names(self, folder: Path) -> Iterator[str]:
        """The files of one of the folders, in no order; the reasons in `failed/` are left out. Raises OSError."""
        with os.scandir(folder) as entries:
            for entry in entries:
                # Elsewhere a file that is called so is an item, as any other.
                is_reason = folder == self.failed and entry.name.endswith(REASON)
                if not entry.name.startswith(".") and not is_reason:
                    yield entry.name

    def remove(self, folder: Path, name: str) -> bool:
        """Delete a file or what else was refused there, with its reason; durable later. Was it there?

        Raises OSError.
        """
        path, is_there = folder / name, True
        try:
            if path.is_dir() and not path.is_symlink():
                _remove_tree(path)
            else:
                path.unlink()
        except FileNotFoundError:
            is_there = False
        if folder == self.failed:
            with contextlib.suppress(FileNotFoundError):
                (folder / f"{name}{REASON}").unlink()
        return is_there


def _write_all(files: Sequence[tuple[Path, Item]]) -> None:
    """Write items into files, durable when this returns. Raises OSError."""

    def write(file: tuple[Path, Item]) -> None:
        path, item = file
        _write_synced(path, json_bytes(item.value), at=item.put_at)

    if len(files) <= 1:
        for file in files:
            write(file)
        return
    with ThreadPoolExecutor(min(WRITERS, len(files))) as writers:
        list(writers.map(write, files))


def _move(source: str, target: str) -> None:
    """Move a file that may be gone; one that stands there is the same item's, and stays."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.lexists(target):
            os.unlink(source)  # noqa: PTH108
        else:
            os.rename(source, target)  # noqa: PTH104


def _has_entries(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is not None


def _remove_tree(folder: Path) -> None:
    import shutil  # here, for few folders are ever dropped

    shutil.rmtree(folder)


def _write_synced(path: Path, data: bytes, *, at: float) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.utime(path, (at, at))
        os.fsync(file.fileno())
