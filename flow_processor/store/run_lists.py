"""Lists of runs, page by page: no page reads more than a bounded part of a million runs.

What an index has side by side is read from there, as several streams (one for each wanted status, say), each in the
order of ids. What no index has is looked for among the runs of the streams, so many at a time: a page may then hold
fewer runs than asked for, and tell where to go on.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from flow_processor.run import RunFilter
from flow_processor.store.database import reading
from flow_processor.store.run_plans import Where, plan_of
from flow_processor.store.runs import LISTED, ListedRun, to_listed
from flow_processor.store.spelling import spelling_of

LOOKED_AT = 3_000
"""So many runs are looked at for one page where no index has what is wanted: about 10 ms."""
COUNTED = 10_000
"""Runs are counted up to here."""

# A run's input may have a megabyte: lists show none, so none is read.
_ROWS = f"SELECT {', '.join(LISTED)} FROM runs"  # noqa: S608


@dataclass(frozen=True, slots=True)
class FoundRuns:
    """A page."""

    rows: list[ListedRun]
    next_id: str | None
    """The id behind which the next page begins; None: there is nothing more."""


class RunLists:
    """Reads lists of runs; every call uses a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(self, wanted: RunFilter, *, limit: int, after_id: str | None, now: float) -> FoundRuns:
        """At most `limit` runs behind `after_id`. `now`, in seconds since 1970, is the end of those that have none."""
        order = "id" if wanted.oldest_first else "id DESC"
        with reading(self._engine) as connection:
            spelling = spelling_of(connection)
            plan = plan_of(connection, wanted, now)
            bounds = plan.bounds if after_id is None else plan.bounds.and_(_behind(after_id, wanted))
            left = LOOKED_AT
            found: list[str] = []
            ends: list[str] = []
            for number, stream in enumerate(plan.streams):
                there = stream.and_(bounds)
                if not plan.finds_all:
                    share = max(left // (len(plan.streams) - number), 1)
                    looked_at, end = _reach(connection, there, share, oldest_first=wanted.oldest_first)
                    left -= looked_at
                    if looked_at == share:
                        ends.append(end)
                        there = there.and_(Where(f"id {'<=' if wanted.oldest_first else '>='} ?", (end,)))
                where = there.and_(plan.rest)
                query = f"SELECT id FROM runs WHERE {where.sql} ORDER BY {order} LIMIT ?"  # noqa: S608
                ids = spelling.execute(connection, query, (*where.values, limit + 1)).scalars().all()
                found += ids
                if len(ids) > limit:
                    ends.append(ids[-1])
            shown, next_id = _page(found, ends, limit=limit, oldest_first=wanted.oldest_first)
            has_id, ids_shown = spelling.has_id(shown)
            rows = spelling.execute(connection, f"{_ROWS} WHERE {has_id} ORDER BY {order}", ids_shown).all()
        return FoundRuns([to_listed(row) for row in rows], next_id)

    def count(self, wanted: RunFilter) -> tuple[int, bool] | None:
        """(how many there are, is that all?), up to COUNTED; None where they would have to be looked for one by one."""
        counted = 0
        with reading(self._engine) as connection:
            plan = plan_of(connection, wanted, 0.0)
            if not plan.finds_all:
                return None
            for stream in plan.streams:
                where = stream.and_(plan.bounds)
                query = f"SELECT count(*) FROM (SELECT 1 FROM runs WHERE {where.sql} LIMIT ?) AS found"  # noqa: S608
                values = (*where.values, COUNTED + 1 - counted)
                counted += spelling_of(connection).execute(connection, query, values).scalar_one()
                if counted > COUNTED:
                    return COUNTED, False
        return counted, True


def _reach(connection: Connection, where: Where, share: int, *, oldest_first: bool) -> tuple[int, str]:
    """(how many of the next `share` runs there are, the id of the last of them)."""
    order, last = ("id", "max") if oldest_first else ("id DESC", "min")
    ids = f"SELECT id FROM runs WHERE {where.sql} ORDER BY {order} LIMIT ?"  # noqa: S608
    query = f"SELECT count(*), {last}(id) FROM ({ids}) AS reached"  # noqa: S608
    count, end = spelling_of(connection).execute(connection, query, (*where.values, share)).one()
    return count, end or ""


def _page(
    found: Sequence[str], ends: Sequence[str], *, limit: int, oldest_first: bool
) -> tuple[list[str], str | None]:
    """The ids that the streams found, up to where each of them has been read; and the one to go on behind."""
    if oldest_first:
        end = min(ends, default=None)
        shown = [run_id for run_id in heapq.nsmallest(limit, found) if end is None or run_id <= end]
    else:
        end = max(ends, default=None)
        shown = [run_id for run_id in heapq.nlargest(limit, found) if end is None or run_id >= end]
    if len(shown) == limit and (len(found) > limit or end is not None):
        end = shown[-1]
    return shown, end


def _behind(run_id: str, wanted: RunFilter) -> Where:
    return Where(f"id {'>' if wanted.oldest_first else '<'} ?", (run_id,))
