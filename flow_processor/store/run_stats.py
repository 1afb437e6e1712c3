"""What the newest runs of a flow came to, added up: how many of each status, how long, which errors."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection, Engine

from flow_processor.run import LIVE_STATUSES, RunStatus
from flow_processor.store.database import reading
from flow_processor.store.run_plans import bound_of
from flow_processor.store.spelling import spelling_of

ADDED_UP = 10_000
"""So many runs, the newest, are added up: that takes a fraction of a second."""

_VISIT = re.compile(r"\[[^\]]*\]|#\d+")
"""Which element, which attempt, which visit: parts of a path that are not the step's."""


@dataclass(frozen=True, slots=True)
class RunStats:
    """The newest runs of a flow, added up."""

    by_status: dict[RunStatus, int]
    is_all: bool
    """False: there were more than ADDED_UP."""
    durations: list[float]
    """Seconds that each run took which began and ended, the shortest first."""
    waits: list[float]
    """Seconds that each run which began had waited for it."""
    errors: Counter[str]
    """Codes of the errors that runs ended with."""
    steps: Counter[str]
    """Paths of the steps that these came from, without the number of the element."""


class RunStatsReader:
    """Adds up runs; every call uses a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of_flow(self, flow: str, *, since: datetime | None, until: datetime | None) -> RunStats:
        """The flow's runs that were accepted in that time."""
        first = "" if since is None else bound_of(since.timestamp())
        last = "~" if until is None else bound_of(until.timestamp())
        with reading(self._engine) as connection:
            newest = [_newest(connection, flow, status, first, last) for status in RunStatus]
            merged = heapq.merge(*newest, reverse=True)
            shown = list(islice(merged, ADDED_UP))
            stats = RunStats(
                by_status=dict(Counter(status for _, status in shown)),
                is_all=next(merged, None) is None,
                durations=[],
                waits=[],
                errors=Counter(),
                steps=Counter(),
            )
            for status in stats.by_status:
                _add_up(connection, stats, flow, status, (shown[-1][0], last))
        stats.durations.sort()
        return stats


def _newest(
    connection: Connection, flow: str, status: RunStatus, first: str, last: str
) -> list[tuple[str, RunStatus]]:
    """(id, status) of the newest runs with that status; the index has both."""
    query = (
        "SELECT id FROM runs WHERE flow = ? AND status = ? AND id >= ? AND id < ? ORDER BY id DESC LIMIT ?"
    )
    values = (flow, status.value, first, last, ADDED_UP + 1)
    found = spelling_of(connection).execute(connection, query, values).scalars()
    return [(run_id, status) for run_id in found]


def _add_up(
    connection: Connection, stats: RunStats, flow: str, status: RunStatus, ids: Sequence[str]
) -> None:
    has_ended = status not in LIVE_STATUSES
    spelling = spelling_of(connection)
    code, step = (spelling.json_text("error", key) for key in ("code", "step"))
    query = (
        f"SELECT started_at - created_at, ended_at - started_at, {code}, {step} "  # noqa: S608
        "FROM runs WHERE flow = ? AND status = ? AND id >= ? AND id < ?"
    )
    for wait, duration, code, step in spelling.execute(connection, query, (flow, status.value, *ids)):
        if wait is not None:
            stats.waits.append(max(0.0, wait))
            if has_ended:
                stats.durations.append(max(0.0, duration))
        if code is not None and status in (RunStatus.FAILED, RunStatus.INTERRUPTED):
            stats.errors[code] += 1
            if step:
                stats.steps[_VISIT.sub("", step)] += 1
