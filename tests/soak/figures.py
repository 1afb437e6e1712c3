"""What the soak has found, as rows of tables in docs/reliability.md; earlier rows stay."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flow_processor.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
HEAD_LINES = 4
"""From the comment that names a table to its first row: the comment, a blank line, the head, the line below it."""


@dataclass(frozen=True)
class Part:
    """What one part of the soak has found."""

    table: str
    """The table that takes the row: the name in the comment that stands before it."""
    cells: Sequence[str]
    """The row, but for date, product and machine."""
    violation: str | None = None
    """What did not hold."""


def machine() -> str:
    """What it was measured on, and how busy that was at the end."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    cpu = f"{len(names)} x {names[0]}" if names else f"{os.cpu_count()} x {platform.machine()}"
    return (
        f"{cpu}, Linux {platform.release()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"load {os.getloadavg()[0]:.1f}"
    )


def product() -> str:
    """Version and commit."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{VERSION} {found.stdout.strip()}".strip()


def keep(part: Part) -> None:
    """Put the row with date, product and machine at the top of its table; earlier rows stay below it."""
    cells = [f"{datetime.now(UTC):%Y-%m-%d %H:%M}", product(), *part.cells, machine()]
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    head = lines.index(f"<!-- soak: {part.table} -->") + HEAD_LINES
    lines.insert(head, f"| {' | '.join(cells)} |")
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def slope_per_hour(samples: Sequence[tuple[float, float]]) -> float:
    """The line through (seconds, value) that fits best: how much the value grows in an hour."""
    count = len(samples)
    if count < 2:
        return 0.0
    mean_time = sum(time for time, _ in samples) / count
    mean_value = sum(value for _, value in samples) / count
    spread = sum((time - mean_time) ** 2 for time, _ in samples)
    return 3600 * sum((time - mean_time) * (value - mean_value) for time, value in samples) / spread
