"""Runs as the store's tests put them there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flow_processor.run import RunStatus, Trigger, new_run_id
from flow_processor.store import Store
from flow_processor.store.runs import RunRow, insert_run

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def a_run(minute: int = 0, **changes: Any) -> RunRow:
    """A run that was accepted so many minutes after noon."""
    moment = NOON + minute * MINUTE
    row = RunRow(
        id=new_run_id(moment),
        flow="a.yml",
        flow_hash="h",
        trigger=Trigger.API,
        trigger_by="api",
        status=RunStatus.QUEUED,
        input=None,
        created_at=moment.timestamp(),
    )
    return replace(row, **changes)


def insert_all(store: Store, runs: list[RunRow]) -> None:
    store.writer.run(lambda connection: [insert_run(connection, run) for run in runs])
