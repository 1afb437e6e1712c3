"""The table of runs: what was accepted, and what it has come to."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)

from flow_processor.journal import WireRow
from flow_processor.run import LEGAL_TRANSITIONS, LIVE_STATUSES, TERMINAL_STATUSES, RunStatus, Trigger
from flow_processor.store.database import insert_or_ignore, reading
from flow_processor.store.journal import read_rows
from flow_processor.store.mine import mine
from flow_processor.store.statements import Statement
from flow_processor.store.tables import flow_versions, runs


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """A run as lists have it: without what it was given, which may be large."""

    id: str
    flow: str
    flow_hash: str
    trigger: Trigger
    trigger_by: str
    status: RunStatus
    created_at: float
    timeout_seconds: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    error: dict[str, Any] | None = None
    schedule_id: str | None = None
    slot: float | None = None
    wake_at: float | None = None
    """When a waiting run goes on by itself; None: only when it is told something."""
    retry_of: str | None = None
    """The run that this one tries again."""
    attempt: int = 1
    """1 for a first try; one more than that of `retry_of`."""
    bytes: int = 0
    """About what it takes in the store and in files."""
    parent: str | None = None
    """The run that it is part of."""
    parent_path: str | None = None
    """The step of that run, or one of its attempts, that it is an element of."""
    parent_index: int | None = None
    """Which element, from 1; None: the step has given it up."""
    daemon: str | None = None
    """The daemon that has it, where several share the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow(ListedRun):
    """A run as the store keeps it."""

    input: Any
    params: dict[str, Any] | None = None
    item: dict[str, Any] | None = None
    """What the item that started it has as `__item__`."""


@dataclass(frozen=True, slots=True)
class ParkedRun:
    """A waiting run, as far as it must be known while it waits: there may be many."""

    id: str
    flow: str
    flow_hash: str
    wake_at: float | None
    """When it goes on by itself, in seconds since 1970; None: only when it is told something."""
    parent: str | None = None
    """The run that it is part of."""
    parent_path: str | None = None
    """The step there."""


LISTED = tuple(field.name for field in fields(ListedRun))
"""The columns of a ListedRun."""

# Statements of the hot path are made once: making one costs more than running it.
_INSERT_RUN = Statement(insert(runs), columns=[column.name for column in runs.c])
_GET_RUN = select(runs).where(runs.c.id == bindparam("run_id"))
_COUNT_BYTES = Statement(
    update(runs).where(runs.c.id == bindparam("run_id")).values(bytes=runs.c.bytes + bindparam("more"))
)


def insert_run(connection: Connection, run: RunRow) -> None:
    """Record an accepted run; its input and params count for what it takes, on top of `bytes`."""
    _INSERT_RUN.execute(connection, run_values(run))


def run_values(run: RunRow) -> dict[str, Any]:
    """An accepted run as its row in the table."""
    given = json.dumps(run.input)
    params = None if run.params is None else json.dumps(run.params)
    return {
        "id": run.id,
        "flow": run.flow,
        "flow_hash": run.flow_hash,
        "trigger": run.trigger.value,
        "trigger_by": run.trigger_by,
        "status": run.status.value,
        "input": given,
        "params": params,
        "timeout_seconds": run.timeout_seconds,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "error": None if run.error is None else json.dumps(run.error),
        "schedule_id": run.schedule_id,
        "slot": run.slot,
        "wake_at": run.wake_at,
        "retry_of": run.retry_of,
        "attempt": run.attempt,
        "bytes": run.bytes + len(given) + len(params or ""),
        "parent": run.parent,
        "parent_path": run.parent_path,
        "parent_index": run.parent_index,
        "item": None if run.item is None else json.dumps(run.item),
        "daemon": run.daemon,
    }


def insert_flow_version(connection: Connection, *, version: str, path: str, flows: dict[str, str]) -> None:
    """Keep the flow text of a run; the same text is kept once."""
    connection.execute(
        insert_or_ignore(connection, flow_versions),
        {"hash": version, "path": path, "flows": json.dumps(flows)},
    )


def _move_statement(status: RunStatus) -> Statement:
    legal: list[ColumnElement[str]] = [
        literal_column(f"'{before.value}'") for before, after in LEGAL_TRANSITIONS.items() if status in after
    ]
    values: dict[str, Any] = {
        "status": status.value,
        "wake_at": None,
        "bytes": runs.c.bytes + bindparam("more"),
    }
    if status is RunStatus.RUNNING:
        values["started_at"] = func.coalesce(runs.c.started_at, bindparam("at"))
    if status is RunStatus.WAITING:
        values["wake_at"] = bindparam("at")
    if status.is_terminal:
        values |= {"ended_at": bindparam("at"), "error": bindparam("reason")}
    if status is RunStatus.QUEUED:
        values |= {"ended_at": None, "error": None}
    is_legal = runs.c.id == bindparam("run_id"), runs.c.status.in_(legal)
    return Statement(update(runs).where(*is_legal).values(values))


_MOVE: dict[RunStatus, Statement] = {status: _move_statement(status) for status in RunStatus}


def move_run(
    connection: Connection,
    run_id: str,
    status: RunStatus,
    *,
    at: float | None,
    error: dict[str, Any] | None = None,
    more_bytes: int = 0,
) -> bool:
    """Give a run its next status; False (and nothing done) where that transition is not legal.

    `at` is when that was; for `waiting` when the run is to go on by itself (None: never). `more_bytes` are added to
    what the run takes: it spares a statement of its own (`count_bytes`).
    """
    values: dict[str, Any] = {"run_id": run_id, "more": more_bytes}
    if status.is_terminal:
        values |= {"at": at, "reason": None if error is None else json.dumps(error)}
    elif status is not RunStatus.QUEUED:
        values["at"] = at
    return _MOVE[status].execute(connection, values) == 1


def count_bytes(connection: Connection, run_id: str, bytes: int) -> None:
    """Add to what a run takes, in bytes; to be called in the transaction that writes what is counted."""
    _COUNT_BYTES.execute(connection, {"run_id": run_id, "more": bytes})


def has_ended(connection: Connection, run_id: str) -> bool:
    """Is the run there, with a terminal status?"""
    ended = [status.value for status in TERMINAL_STATUSES]
    query = select(runs.c.id).where(runs.c.id == run_id, runs.c.status.in_(ended))
    return connection.scalar(query) is not None


def to_row(row: Row[Any]) -> RunRow:
    """A row of the table as a run."""
    values = _listed(row)
    values["input"] = json.loads(values["input"])
    values["params"] = None if values["params"] is None else json.loads(values["params"])
    values["item"] = None if values["item"] is None else json.loads(values["item"])
    return RunRow(**values)


def to_listed(row: Row[Any]) -> ListedRun:
    """A row with the columns LISTED as a run."""
    return ListedRun(**_listed(row))


def _listed(row: Row[Any]) -> dict[str, Any]:
    values = dict(row._mapping)
    values["trigger"] = Trigger(values["trigger"])
    values["status"] = RunStatus(values["status"])
    values["error"] = None if values["error"] is None else json.loads(values["error"])
    return values


class RunReader:
    """Reads runs; every call uses a connection of its own."""

    def __init__(self, engine: Engine, daemon: str | None = None):
        """`daemon`: see `Store`; what is to go on is looked for among its runs."""
        self._engine = engine
        self._mine = mine(runs.c.daemon, daemon)

    def get(self, run_id: str) -> RunRow | None:
        """One run."""
        with reading(self._engine) as connection:
            row = connection.execute(_GET_RUN, {"run_id": run_id}).one_or_none()
        return None if row is None else to_row(row)

    def with_journal(self, run_id: str) -> tuple[RunRow, list[WireRow]] | None:
        """One run and its journal, as they were at one moment."""
        with reading(self._engine) as connection:
            row = connection.execute(_GET_RUN, {"run_id": run_id}).one_or_none()
            return None if row is None else (to_row(row), read_rows(connection, run_id))

    def under_way(self) -> list[RunRow]:
        """Every run that is queued or has a worker, oldest first."""
        with reading(self._engine) as connection:
            found = [
                row
                for status in LIVE_STATUSES - {RunStatus.WAITING}
                for row in connection.execute(select(runs).where(runs.c.status == status.value, *self._mine))
            ]
        return [to_row(row) for row in sorted(found, key=lambda row: row.id)]

    def begun_ids(self) -> list[str]:
        """Ids of the runs that have begun and not ended."""
        begun = [RunStatus.RUNNING.value, RunStatus.WAITING.value]
        with reading(self._engine) as connection:
            return list(connection.scalars(select(runs.c.id).where(runs.c.status.in_(begun), *self._mine)))

    def parked(self) -> list[ParkedRun]:
        """Every waiting run, oldest first; without its input, which may be large."""
        columns = (
            runs.c.id,
            runs.c.flow,
            runs.c.flow_hash,
            runs.c.wake_at,
            runs.c.parent,
            runs.c.parent_path,
        )
        is_waiting = runs.c.status == RunStatus.WAITING.value
        query = select(*columns).where(is_waiting, *self._mine).order_by(runs.c.id)
        with reading(self._engine) as connection:
            return [ParkedRun(*row) for row in connection.execute(query)]

    def retries_of(self, run_id: str) -> list[str]:
        """Ids of the runs that try this one again, oldest first."""
        query = select(runs.c.id).where(runs.c.retry_of == run_id).order_by(runs.c.id)
        with reading(self._engine) as connection:
            return list(connection.scalars(query))

    def flow_texts(self, version: str) -> dict[str, str]:
        """The flow and its sub-flows, `{path: text}`, as they were when a run with that hash was launched."""
        query = select(flow_versions.c.flows).where(flow_versions.c.hash == version)
        with reading(self._engine) as connection:
            found = connection.scalar(query)
        texts: dict[str, str] = json.loads(found) if found else {}
        return texts
