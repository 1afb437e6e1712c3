"""How one flow file stands."""

from __future__ import annotations

from dataclasses import dataclass

from flow_processor.errors import Problem


@dataclass(frozen=True)
class FileStatus:
    """How one flow file stands."""

    path: str
    """Below the flows folder."""
    valid: bool
    """True: it, and the flows that it calls, are right as they lie there."""
    name: str | None
    description: str | None
    cron: str | None
    every_seconds: float | None
    """Of the version in force, where the file itself is wrong."""
    problems: tuple[Problem, ...]
    last_good_in_force: bool
    """True: the file is wrong now, and runs use the version from before."""
    webhook: str | None = None
    """Name of the webhook that starts it."""
    queue: str | None = None
    """The queue whose items start it."""
    files: str | None = None
    """Pattern of the paths of files that start it."""
