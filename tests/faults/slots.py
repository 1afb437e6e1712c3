"""What became of the slots of a data folder's schedules, read from outside."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Slot:
    """One row: a slot that started, or one that did not, with those before it that it stands for."""

    flow: str
    moment: datetime
    is_started: bool
    run_id: str | None
    reason: str | None

    @property
    def stands_for(self) -> int:
        """How many slots this row tells of."""
        missed = re.match(r"missed: (?:more than )?(\d+) slots", self.reason or "")
        return int(missed[1]) if missed else 1


def slots_of(data: Path, flow: str | None = None) -> list[Slot]:
    """All slots that were handled (of one flow), the earliest first."""
    query = (
        "SELECT flow, slot, outcome, run_id, reason FROM slots JOIN schedules ON schedules.id = schedule_id "
        "ORDER BY slot"
    )
    with closing(sqlite3.connect(data / "octospool.db", timeout=10)) as connection:
        found = [
            Slot(of, datetime.fromtimestamp(slot, UTC), outcome == "started", run_id, reason)
            for of, slot, outcome, run_id, reason in connection.execute(query)
        ]
    return [slot for slot in found if flow in (None, slot.flow)]
