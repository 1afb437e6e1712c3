"""A service that takes items from folders, and words to drop files and ask what became of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from flow_processor.run import RunFilter
from flow_processor.service import Service
from flow_processor.service.views import RunSummary
from flow_processor.store.items import ItemRow
from tests.engine.world import World, until

QUICK = """concurrency: {on_conflict: parallel}
steps:
  - {name: got, type: set_fact, set_fact: {value: '{{ __item__.name }}'}}
"""


def listening(queue: str, *, more: str = "", steps: str = QUICK) -> str:
    """A flow that listens to the queue; `more` stands beside its name."""
    return f"on: {{queue: {{name: {queue}{more}}}}}\n{steps}"


class FolderWorld(World):
    """`start` takes items, other than its parent's."""

    def start(self) -> FolderWorld:
        """Start a service on the folder (a new one after each stop)."""
        self.service = Service(self.settings)
        self.service.start()
        until(lambda: self.service.listening.has_begun, "items are taken")
        return self

    def folder(self, queue: str, name: str) -> Path:
        """One of the folders of a queue."""
        return self.data / "spool" / queue / name

    def drop(self, queue: str, name: str, content: Any = None, *, at: float | None = None) -> None:
        """Write a file elsewhere and rename it into the queue; what is no text or bytes is written as JSON."""
        data = content if isinstance(content, bytes | str) else json.dumps(content)
        hidden = self.folder(queue, "new") / f".{name}"
        hidden.parent.mkdir(parents=True, exist_ok=True)
        hidden.write_bytes(data if isinstance(data, bytes) else data.encode())
        if at is not None:
            os.utime(hidden, (at, at))
        hidden.rename(self.folder(queue, "new") / name)

    def files(self, queue: str, name: str) -> list[str]:
        """What lies in one of the folders of a queue, without reasons and hidden files."""
        found = sorted(path.name for path in self.folder(queue, name).glob("*"))
        return [each for each in found if not each.startswith(".") and not each.endswith(".reason.json")]

    def until_files(self, queue: str, name: str, number: int) -> list[str]:
        """The files of a folder, once there are so many."""
        until(lambda: len(self.files(queue, name)) == number, f"{number} files in {queue}/{name}")
        return self.files(queue, name)

    def reason(self, queue: str) -> dict[str, Any]:
        """What stands beside the only failed file of a queue."""
        (path,) = self.folder(queue, "failed").glob("*.reason.json")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def runs(self, flow: str) -> list[RunSummary]:
        """The runs of a flow, oldest first."""
        return self.service.runs(RunFilter(flow=flow, oldest_first=True), limit=500).runs

    def inputs(self, flow: str) -> list[Any]:
        """What the runs of a flow were given, in the order in which they began."""
        found = [self.service.store.runs.get(run.run_id) for run in self.runs(flow)]
        begun = sorted((run for run in found if run is not None), key=lambda run: run.started_at or 0.0)
        return [run.input for run in begun]

    def ledger(self, queue: str) -> list[ItemRow]:
        """What the ledger says of a queue's items."""
        ids = {
            named.split(".")[0]
            for folder in ("processing", "done", "failed")
            for named in self.files(queue, folder)
        }
        return [row for rows in self.service.store.items.of_items(queue, ids).values() for row in rows]
