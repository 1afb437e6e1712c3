"""What must hold of a data folder whatever was killed, and whenever: checked from outside, in the files themselves.

Nothing of the product is asked here but the pure fold: the checker reads the database with sqlite3 and the folder
with pathlib.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flow_processor.journal import fold, from_wire
from flow_processor.run import RUN_ID_PATTERN, RunStatus

TERMINAL = {"succeeded", "failed", "exited", "cancelled", "interrupted", "skipped"}


@dataclass
class Found:
    """What the checker has read."""

    statuses: dict[str, str] = field(default_factory=dict)
    """Of each run, by id."""
    journals: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: defaultdict(list))
    """Rows of each run, in order, as wire rows."""

    def count(self) -> Counter[str]:
        """How many runs have each status."""
        return Counter(self.statuses.values())


def check(data: Path, *, accepted: Iterable[str], posts: Mapping[str, int] | None = None) -> Found:
    """Everything that must hold of a stopped (or idle) daemon's data folder.

    `accepted` are the ids that a 202 has named. `posts` says how often a server was called for each run: exactly
    once for a run that succeeded, at most once for any other.
    """
    found = read(data)
    lost = set(accepted) - set(found.statuses)
    assert not lost, f"accepted and not in history: {sorted(lost)}"
    for run_id, status in found.statuses.items():
        check_run(run_id, status, found.journals[run_id])
    orphaned = set(found.journals) - set(found.statuses)
    assert not orphaned, f"journals without a run: {sorted(orphaned)}"
    if posts is not None:
        check_posts(found, posts)
    check_folder(data)
    return found


def read(data: Path) -> Found:
    """Runs and journals, read with nothing but sqlite3; the database must be whole."""
    found = Found()
    with closing(sqlite3.connect(data / "octospool.db", timeout=10)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for run_id, status in connection.execute("SELECT id, status FROM runs"):
            assert RUN_ID_PATTERN.fullmatch(run_id)
            found.statuses[run_id] = status
        rows = connection.execute(
            "SELECT run_id, seq, path, attempt, event, at, data FROM journal ORDER BY run_id, seq"
        )
        for run_id, *row in rows:
            found.journals[run_id].append(tuple(row))
        taken = connection.execute("SELECT schedule_id, slot, count(*) FROM slots GROUP BY 1, 2").fetchall()
        assert all(times == 1 for _, _, times in taken), "a slot was taken twice"
    return found


def check_run(run_id: str, status: str, rows: list[tuple[Any, ...]]) -> None:
    """One run: it has ended, once, and its journal says the same."""
    assert status in TERMINAL, f"{run_id} is still {status}"
    if status == RunStatus.SKIPPED:
        assert rows == [], f"{run_id} was skipped and has a journal"
        return
    ends = [json.loads(row[5])["status"] for row in rows if row[3] == "ended"]
    assert ends == [status], f"{run_id} is {status}, its journal ends with {ends}"
    state = fold(from_wire(row) for row in rows)
    assert state.status == status, f"{run_id} is {status}, its journal folds to {state.status}"
    assert not state.under_way(), f"{run_id} has ended and has steps under way"
    outcomes = Counter((row[1], row[2]) for row in rows if row[1] and row[3] == "succeeded")
    twice = {key: times for key, times in outcomes.items() if times > 1}
    assert not twice, f"{run_id}: attempts that succeeded more than once: {twice}"


def check_posts(found: Found, posts: Mapping[str, int]) -> None:
    """No call without a run, never two for one, and none missing where the run has succeeded."""
    strangers = set(posts) - set(found.statuses)
    assert not strangers, f"calls of runs that history does not know: {sorted(strangers)}"
    twice = {run_id: times for run_id, times in posts.items() if times > 1}
    assert not twice, f"called more than once: {twice}"
    missing = [
        run_id for run_id, status in found.statuses.items() if status == "succeeded" and run_id not in posts
    ]
    assert not missing, f"succeeded without their call: {missing}"


def check_folder(data: Path) -> None:
    """No lock, no handover, no temporary file is left."""
    locks = [path.name for path in (data / "locks").rglob("*.lock")]
    assert not locks, f"locks without a run: {locks}"
    handovers = [path.name for path in (data / "handover").iterdir()]
    assert not handovers, f"handover files that nobody took: {handovers}"
    temporary = [path.name for path in data.rglob("*") if path.name.endswith(".tmp")]
    assert not temporary, f"temporary files: {temporary}"
