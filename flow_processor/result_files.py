"""Large results of steps: files beside the store, so that the journal stays quick to read and to write.

`<folder>/<run id>/<first 32 hex digits of the content's SHA-256>.json`. A journal row names its file; the file is
durable before the row is. Named by content, so that a run that tries another one again can keep its files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flow_processor.errors import OctospoolError
from flow_processor.paths import sync_folder, write_atomic
from flow_processor.run import RUN_ID_PATTERN

RESULT_FILE_BYTES = 256 * 1024
"""A result with a longer JSON text is kept in a file."""

_NAME = re.compile(r"[0-9a-f]{32}\.json")


class ResultLost(OctospoolError):
    """The file of a large result is gone or broken."""

    code = "result_lost"


class ResultFiles:
    """The large results of all runs. Raises ValueError for what is no run's id or no file's name."""

    def __init__(self, folder: Path):
        self._folder = folder

    def keep(self, run_id: str, text: str) -> str:
        """Write a result's JSON text; the name of its file, which is durable when this returns."""
        content = text.encode()
        name = hashlib.sha256(content).hexdigest()[:32] + ".json"
        path = self._path(run_id, name)
        self._make_folder(run_id)
        write_atomic(path, content, mode=0o600)
        return name

    def load(self, run_id: str, name: str) -> Any:
        """The result. Raises ResultLost."""
        return json.loads(self.text(run_id, name))

    def text(self, run_id: str, name: str) -> str:
        """The result as JSON text, without blanks between its parts. Raises ResultLost."""
        try:
            content = self._path(run_id, name).read_bytes()
        except OSError as error:
            raise ResultLost(f"the file of a result is gone: {run_id}/{name} ({error.strerror})") from error
        if not name.startswith(hashlib.sha256(content).hexdigest()[:32]):
            raise ResultLost(f"the file of a result was changed: {run_id}/{name}")
        return content.decode()

    def adopt(self, run_id: str, name: str, *, source: str) -> None:
        """Keep a file of run `source` for another run too. Raises ResultLost."""
        target, kept = self._path(run_id, name), self._path(source, name)
        self._make_folder(run_id)
        try:
            os.link(kept, target)
        except FileExistsError:
            pass
        except OSError:  # gone, or a file system without hard links: reading tells which
            self.keep(run_id, json.dumps(self.load(source, name), separators=(",", ":")))
        sync_folder(target.parent)

    def delete(self, run_id: str) -> None:
        """Remove every file of a run; nothing if it has none."""
        shutil.rmtree(self._run_folder(run_id), ignore_errors=True)

    def runs(self) -> Iterator[str]:
        """Ids of the runs that have files."""
        with contextlib.suppress(FileNotFoundError):
            for path in sorted(self._folder.iterdir()):
                if RUN_ID_PATTERN.fullmatch(path.name):
                    yield path.name

    def names(self, run_id: str) -> list[str]:
        """Names of a run's files."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(
                path.name for path in self._run_folder(run_id).iterdir() if _NAME.fullmatch(path.name)
            )
        return []

    def _make_folder(self, run_id: str) -> None:
        """The folder itself must outlive a power cut too; whoever comes second may be quicker than who made it."""
        folder = self._run_folder(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)

    def _run_folder(self, run_id: str) -> Path:
        if RUN_ID_PATTERN.fullmatch(run_id) is None:
            raise ValueError(f"{run_id!r} is not the id of a run")
        return self._folder / run_id

    def _path(self, run_id: str, name: str) -> Path:
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not the name of a result's file")
        return self._run_folder(run_id) / name
