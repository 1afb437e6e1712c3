"""Fills a store with finished runs by SQL, as years of work would: for `million.py`."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from daemon import ROOT

sys.path.insert(0, str(ROOT))

from flow_processor.store import Store

FLOWS = 200
OUTCOMES = [("succeeded", 90), ("failed", 7), ("cancelled", 2), ("exited", 1)]
TRIGGERS = [("schedule", 80), ("api", 15), ("cli", 5)]
FLOW = "concurrency: {on_conflict: parallel}\nsteps:\n  - {name: a, type: jq, jq: {expression: '1'}}\n"
ROWS_PER_RUN = 10
"""Journal rows of a run that is to be pruned; the others have one, which is enough to be a run."""


def pick(choices: list[tuple[str, int]], number: int) -> str:
    """One of them, as often as its share in percent says; for the same number the same."""
    place = number * 2_654_435_761 // 65_536 % 100
    for choice, share in choices:
        place -= share
        if place < 0:
            return choice
    return choices[0][0]


def run_values(number: int, ended: datetime) -> tuple[Any, ...]:
    """One row of the table of runs."""
    stamp = ended.strftime("%Y%m%dT%H%M%S") + f"{ended.microsecond // 1000:03d}"
    status = pick(OUTCOMES, number)
    error = json.dumps({"code": "x", "message": "why", "details": {}}) if status != "succeeded" else None
    letters = "".join("abcdefghijklmnopqrstuvwxyz234567"[number >> shift & 31] for shift in range(35, -5, -5))
    at = ended.timestamp()
    flow = f"f{number * 7919 % FLOWS}.yml"
    trigger = pick(TRIGGERS, number * 3 + 1)
    return (
        f"{stamp}-{letters}",
        flow,
        flow,
        trigger,
        "bench",
        status,
        "null",
        at - 1,
        at - 1,
        at,
        error,
        1,
        2000,
    )


def fill(folder: Path, runs: int, old: int) -> None:
    """So many runs over the last 80 days, and `old` ones before that, which retention will take."""
    Store(f"sqlite:///{folder / 'octospool.db'}").close()
    connection = sqlite3.connect(folder / "octospool.db", isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-400000")
    now = datetime.now(UTC)

    def moments() -> Iterator[datetime]:
        for number in range(old):
            yield now - timedelta(days=120) + timedelta(days=20) * (number / old)
        for number in range(runs - old):
            yield now - timedelta(days=80) + timedelta(days=79) * (number / (runs - old))

    result = json.dumps({"result": "x" * 150, "started_at": 1.0})
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO flow_versions VALUES (?, ?, ?)",
        [(f"f{n}.yml", f"f{n}.yml", json.dumps({f"f{n}.yml": FLOW})) for n in range(FLOWS)],
    )
    for number, moment in enumerate(moments()):
        values = run_values(number, moment)
        connection.execute(
            "INSERT INTO runs (id, flow, flow_hash, trigger, trigger_by, status, input, created_at, started_at,"
            " ended_at, error, attempt, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        rows = ROWS_PER_RUN if number < old else 1
        connection.executemany(
            "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(values[0], seq, f"s{seq}", 1, "succeeded", values[8], result) for seq in range(1, rows + 1)],
        )
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
