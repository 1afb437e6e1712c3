"""What stands in a data folder, read from outside: with sqlite3 and pathlib, not with the product."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = tuple[Any, ...]
"""A row of a journal: seq, path, attempt, event, at, data as JSON text or None."""


@dataclass(frozen=True)
class RunFacts:
    """A run as the table of runs has it."""

    id: str
    flow: str
    status: str
    ended_at: float | None
    error: dict[str, Any]
    """Empty if there is none."""
    wake_at: float | None
    retry_of: str | None


@dataclass
class Found:
    """What was read."""

    runs: dict[str, RunFacts] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    """Of each run, by id."""
    journals: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    """Rows of each run, in order."""
    logged: set[str] = field(default_factory=set)
    """Runs that have log lines."""
    removals: set[str] = field(default_factory=set)
    """Runs that were deleted and of which something is left."""
    slots_taken_twice: list[Row] = field(default_factory=list)

    def count(self) -> Counter[str]:
        """How many runs have each status."""
        return Counter(self.statuses.values())

    def result_files(self) -> dict[str, set[str]]:
        """Names of the files that hold large results, as journals name them, by run."""
        named: dict[str, set[str]] = defaultdict(set)
        for run_id, rows in self.journals.items():
            for row in rows:
                if row[5] and '"result_file"' in row[5] and (name := json.loads(row[5]).get("result_file")):
                    named[run_id].add(name)
        return named


def read(data: Path) -> Found:
    """Everything at one moment; fails unless the database is whole."""
    found = Found()
    with closing(sqlite3.connect(data / "octospool.db", timeout=10)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("BEGIN")
        columns = "id, flow, status, ended_at, error, wake_at, retry_of"
        for run_id, flow, status, ended_at, error, *rest in connection.execute(f"SELECT {columns} FROM runs"):  # noqa: S608
            facts = RunFacts(run_id, flow, status, ended_at, json.loads(error) if error else {}, *rest)
            found.runs[run_id], found.statuses[run_id] = facts, status
        rows = "SELECT run_id, seq, path, attempt, event, at, data FROM journal ORDER BY run_id, seq"
        for run_id, *row in connection.execute(rows):
            found.journals[run_id].append(tuple(row))
        found.logged = {run_id for (run_id,) in connection.execute("SELECT DISTINCT run_id FROM logs")}
        found.removals = {run_id for (run_id,) in connection.execute("SELECT run_id FROM removals")}
        twice = "SELECT schedule_id, slot, count(*) FROM slots GROUP BY 1, 2 HAVING count(*) > 1"
        found.slots_taken_twice = connection.execute(twice).fetchall()
    return found


def count_removals(data: Path) -> int:
    """How many deleted runs have something left."""
    with closing(sqlite3.connect(data / "octospool.db", timeout=10)) as connection:
        return int(connection.execute("SELECT count(*) FROM removals").fetchone()[0])
