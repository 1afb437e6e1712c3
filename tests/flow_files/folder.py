"""A flows folder whose clock the test turns."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flow_processor.flow_files import FlowLibrary

GOOD = "steps:\n  - name: {name}\n    type: set_fact\n    set_fact: {{value: 1}}\n"


class FakeClock:
    """Stands still until `go`."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 21, 7, 40, tzinfo=UTC)
        self.seconds = 0.0

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)
        self.seconds += seconds

    def now(self) -> datetime:
        """The wall clock."""
        return self.moment

    def monotonic(self) -> float:
        """Seconds since the test began."""
        return self.seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Not used by flow files."""
        raise NotImplementedError


class FlowsFolder:
    """A folder `flows` and the library over it; files get the fake clock's time as mtime."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.library = FlowLibrary(folder, clock=self.clock)

    def write(self, path: str, text: str, *, age: float = 0.0) -> None:
        """The file, last modified `age` seconds ago."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")
        self.date(file, age=age)
        self.date(file.parent, age=age)

    def remove(self, path: str) -> None:
        """The file goes now."""
        (self.folder / path).unlink()
        self.date((self.folder / path).parent)

    def date(self, path: Path, *, age: float = 0.0) -> None:
        """Set the mtime."""
        at = self.clock.moment.timestamp() - age
        os.utime(path, (at, at))

    def step(self, path: str) -> str:
        """Name of the first step of the version that a launch would run."""
        return self.library.launchable(path).spec.steps[0].name


def good(name: str) -> str:
    """A right flow with one step of that name."""
    return GOOD.format(name=name)


def calling(*paths: str, kind: str = "flow") -> str:
    """A flow that calls others."""
    steps = [
        f"  - {{name: s{n}, type: {kind}, {kind}: {{path: {path}, data_key: .}}}}"
        for n, path in enumerate(paths)
    ]
    return "steps:\n" + "\n".join(steps) + "\n"
