"""How the runs that a list shows are found: what an index has of them, and what must be looked for.

The queries are SQL text, for a page may take forty of them: made by SQLAlchemy, they would cost more than reading.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from itertools import product
from typing import Any

from sqlalchemy import Connection

from flow_processor.clock import from_epoch
from flow_processor.run import LIVE_STATUSES, RunFilter, RunStatus, Trigger
from flow_processor.store.spelling import Spelling, spelling_of

MAX_STREAMS = 40
"""So many streams are read for one page; a pattern that fits more flows is looked for row by row."""
MAX_FLOWS = 300
"""A pattern is compared with so many flows that have runs."""

_CLOCK_SLACK = 3600.0
"""Seconds: a run may have ended before it was accepted, by a clock that was put back."""
_LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_ALL = sorted(RunStatus, key=lambda status: status is RunStatus.SUCCEEDED)
"""The most frequent one last: it gets what the others leave of what may be looked at."""


@dataclass(frozen=True, slots=True)
class Where:
    """Conditions that must all hold: SQL with `?`, and the values for these."""

    sql: str = "TRUE"
    values: tuple[Any, ...] = ()

    def and_(self, *others: Where) -> Where:
        """These and those."""
        parts = [one for one in (self, *others) if one.sql != "TRUE"]
        values = tuple(value for part in parts for value in part.values)
        return Where(" AND ".join(part.sql for part in parts) or "TRUE", values)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the wanted runs are found."""

    streams: Sequence[Where]
    """What an index has, for each stream."""
    rest: Where
    """What must be looked for in the rows."""
    bounds: Where
    """Of the ids, because of when the runs were accepted."""

    @property
    def finds_all(self) -> bool:
        """Is every run of the streams wanted?"""
        return self.rest == Where()


def plan_of(connection: Connection, wanted: RunFilter, now: float) -> Plan:
    """How the wanted runs are found; `now`, in seconds since 1970, is the end of those that have none."""
    spelling = spelling_of(connection)
    in_ = partial(_in, spelling)
    statuses = _statuses(wanted)
    flows = _flows(connection, wanted)
    rest = list(_rest(spelling, wanted, now))
    triggers = wanted.trigger
    if wanted.queue is not None:
        triggers = (Trigger.QUEUE,)
        rest += [Where("trigger_by = ?", (wanted.queue,)), *in_("trigger", wanted.trigger)]
    streams: Iterable[Where]
    if wanted.parent is not None or wanted.retry_of is not None or wanted.item is not None:
        # These are few enough to be looked at one by one.
        streams = [_equal(parent=wanted.parent, retry_of=wanted.retry_of).and_(*_of_item(wanted))]
        rest += [*in_("status", statuses), *in_("trigger", triggers), *_of_flows(spelling, wanted)]
    elif flows is not None:
        # The index goes on with the status.
        streams = (_equal(flow=flow, status=status) for status, flow in product(statuses or _ALL, flows))
        rest += in_("trigger", triggers)
    elif triggers:
        each = product(statuses or _ALL, sorted(set(triggers)))
        streams = (_equal(trigger=one, status=status) for status, one in each)
        rest += _of_flows(spelling, wanted)
    else:
        streams = [_equal(status=status) for status in statuses] or [Where()]
        rest += _of_flows(spelling, wanted)
    return Plan(list(streams), Where().and_(*rest), Where().and_(*_bounds(wanted)))


def _statuses(wanted: RunFilter) -> list[RunStatus]:
    """The statuses that wanted runs may have; empty: any."""
    statuses = set(wanted.status)
    if wanted.error or wanted.error_text is not None:
        statuses = (statuses or set(RunStatus)) - LIVE_STATUSES - {RunStatus.SUCCEEDED}
    if wanted.ended_since is not None or wanted.ended_until is not None:
        statuses = (statuses or set(RunStatus)) - LIVE_STATUSES
    if wanted.status and not statuses:
        statuses = set(wanted.status)  # which the other conditions then refuse
    return [status for status in _ALL if status in statuses]


def _flows(connection: Connection, wanted: RunFilter) -> list[str] | None:
    """The flows that are meant, if they are few; None: any, or too many to read them side by side."""
    if wanted.flow is None and wanted.schedule is not None:
        query = "SELECT flow FROM schedules WHERE id = ?"
        flow = spelling_of(connection).execute(connection, query, (wanted.schedule,)).scalar()
        return None if flow is None else [flow]
    if wanted.flow_pattern is None:
        return None if wanted.flow is None else [wanted.flow]
    patterns = _with_suffix(wanted.flow_pattern)
    most = MAX_STREAMS // len(_statuses(wanted) or _ALL)
    prefix = wanted.flow_pattern.split("*")[0].split("?")[0].split("[")[0]
    matched: list[str] = []
    spelling = spelling_of(connection)
    query, after = "SELECT min(flow) FROM runs WHERE flow >= ?", prefix
    # One look into the index for each flow, not one for each run.
    for _ in range(MAX_FLOWS):
        flow = spelling.execute(connection, query, (after,)).scalar()
        if flow is None or not flow.startswith(prefix):
            return matched
        if any(fnmatchcase(flow, pattern) for pattern in patterns):
            matched.append(flow)
        if len(matched) > most:
            return None
        query, after = "SELECT min(flow) FROM runs WHERE flow > ?", flow
    return None


def _with_suffix(pattern: str) -> list[str]:
    return [pattern, f"{pattern}.yml", f"{pattern}.yaml"]


def _of_flows(spelling: Spelling, wanted: RunFilter) -> list[Where]:
    if wanted.flow is None:
        return []
    if wanted.flow_pattern is None:
        return _in(spelling, "flow", [wanted.flow])
    return [Where(*spelling.matches("flow", _with_suffix(wanted.flow_pattern)))]


def _equal(**values: str | None) -> Where:
    given = {name: str(value) for name, value in values.items() if value is not None}
    return Where(" AND ".join(f"{name} = ?" for name in given) or "TRUE", tuple(given.values()))


def _of_item(wanted: RunFilter) -> list[Where]:
    """The column holds JSON that begins with the item's id, which is how its index finds it; `~` is behind whatever
    may follow the id."""
    if wanted.item is None:
        return []
    begin = json.dumps({"id": wanted.item})[:-1]
    return [Where("item >= ? AND item < ?", (begin, f"{begin}~"))]


def _in(spelling: Spelling, name: str, values: Collection[str]) -> list[Where]:
    """One of these values. No index is to be used for it: the streams say which is."""
    given = sorted({str(value) for value in values})
    column = spelling.unindexed(name)
    return [Where(f"{column} IN ({', '.join('?' * len(given))})", tuple(given))] if given else []


def _rest(spelling: Spelling, wanted: RunFilter, now: float) -> Iterable[Where]:
    """What no index has."""
    one_value = {
        "trigger_by = ?": wanted.by,
        "schedule_id = ?": wanted.schedule,
        "started_at >= ?": _seconds(wanted.started_since),
        "started_at < ?": _seconds(wanted.started_until),
        "ended_at >= ?": _seconds(wanted.ended_since),
        "ended_at < ?": _seconds(wanted.ended_until),
        spelling.contains(spelling.json_text("error", "message")): wanted.error_text,
    }
    yield from (Where(sql, (value,)) for sql, value in one_value.items() if value is not None)
    for sign, bound in ((">", wanted.longer_than), ("<", wanted.shorter_than)):
        if bound is not None:
            yield Where(f"coalesce(ended_at, ?) - started_at {sign} ?", (now, bound))
    if wanted.error:
        codes = ", ".join("?" * len(wanted.error))
        yield Where(f"{spelling.json_text('error', 'code')} IN ({codes})", tuple(wanted.error))
    for name, value in wanted.params.items():
        yield Where(*spelling.has_param(name, value))


def _bounds(wanted: RunFilter) -> Iterable[Where]:
    """Ids begin with the moment at which the run was accepted."""
    if wanted.since is not None:
        yield Where("id >= ?", (bound_of(wanted.since.timestamp()),))
    if wanted.until is not None:
        yield Where("id < ?", (bound_of(wanted.until.timestamp()),))
    for until in (wanted.started_until, wanted.ended_until):
        if until is not None:
            yield Where("id < ?", (bound_of(until.timestamp() + _CLOCK_SLACK),))


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def bound_of(moment: float) -> str:
    """What ids of runs accepted before a moment (seconds since 1970) are less than: they begin with theirs.

    No run is older than 1970 or younger than 9998: any moment before or after these is as good as these.
    """
    at = from_epoch(min(max(moment, 0.0), _LAST_MOMENT))
    return at.strftime("%Y%m%dT%H%M%S") + f"{at.microsecond // 1000:03d}"
