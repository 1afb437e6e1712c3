"""Rows that the daemon adds to a journal while no worker has the run: its end, a signal, what a person decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from flow_processor.journal import DISPATCH_SPAN, OUTSIDE_SPAN, Event, JournalRow, dispatch_of, to_wire
from flow_processor.run import LIVE_STATUSES, RunStatus
from flow_processor.store.journal import history_rows
from flow_processor.store.runs import count_bytes, move_run
from flow_processor.store.tables import journal, logs, runs


def end_run(
    connection: Connection, run_id: str, status: RunStatus, *, at: float, error: dict[str, Any] | None
) -> bool:
    """End a run that no worker has: the journal's last row and the status, together. False if it had ended."""
    if not move_run(connection, run_id, status, at=at, error=error):
        return False
    _append_by_daemon(connection, run_id, Event.ENDED, at, {"status": status.value, "error": error})
    return True


def request_cancel(connection: Connection, run_id: str, *, reason: str, by: str, at: float) -> None:
    """Record that a run should end, while no worker of this daemon has it."""
    data = {"reason": reason, "by": by}
    _append_by_daemon(connection, run_id, Event.CANCEL_REQUESTED, at, data, line=reason)
    wake_run(connection, run_id, at=at)


def record_signal(
    connection: Connection, run_id: str, *, name: str, data: Any, by: str, at: float, wakes: bool = True
) -> int | None:
    """Record what a live run is told; the row's seq. None (and nothing done) if the run has ended.

    `wakes` False: it waits, but for something else, and what it is told is kept for later.
    """
    status = connection.scalar(select(runs.c.status).where(runs.c.id == run_id))
    if status is None or RunStatus(status) not in LIVE_STATUSES:
        return None
    is_waiting = status == RunStatus.WAITING.value
    if is_waiting and wakes:
        wake_run(connection, run_id, at=at)
    data = {"name": name, "data": data, "by": by}
    # A worker that has the run tells its log itself: lines must come in the order of their numbers.
    line = f"signal '{name}' by {by}" if is_waiting else None
    return _append_by_daemon(connection, run_id, Event.SIGNALLED, at, data, line=line)


def wake_run(connection: Connection, run_id: str, *, at: float) -> None:
    """A waiting run is to go on at once, also if the daemon dies before it can see to that."""
    waiting = runs.c.status == RunStatus.WAITING.value
    connection.execute(update(runs).where(runs.c.id == run_id, waiting).values(wake_at=at))


def reopen_run(
    connection: Connection,
    run_id: str,
    *,
    by: str,
    steps: Sequence[tuple[str, int]],
    mode: str | None,
    value: Any,
    at: float,
) -> bool:
    """An interrupted run is queued again; `mode` and `value` say what is to become of `steps`, which were in doubt.

    False (and nothing done) if it is not interrupted (any more).
    """
    if not move_run(connection, run_id, RunStatus.QUEUED, at=at):
        return False
    data = {"by": by, "steps": [list(step) for step in steps], "mode": mode, "value": value}
    what = ", ".join(path for path, _attempt in steps)
    line = f"resumed by {by}" + (f", mode {mode}: {what}" if steps else "")
    _append_by_daemon(connection, run_id, Event.RESUMED, at, data, line=line)
    return True


def _append_by_daemon(
    connection: Connection,
    run_id: str,
    event: Event,
    at: float,
    data: dict[str, Any],
    *,
    line: str | None = None,
) -> int:
    """Add a row of the run that the store numbers, and a line of its log; the row's seq."""
    last = (
        connection.scalar(select(func.max(journal.c.seq)).where(journal.c.run_id == run_id)) or DISPATCH_SPAN
    )
    first = dispatch_of(last) * DISPATCH_SPAN + OUTSIDE_SPAN
    row = to_wire(JournalRow(max(last + 1, first), "", 0, event, at, data))
    connection.execute(insert(journal), history_rows(run_id, [row])[journal])
    count_bytes(connection, run_id, len(row[-1] or ""))
    if line is not None:
        lines = history_rows(run_id, (), [(row[0], at, "info", "", line)])
        connection.execute(insert(logs), lines[logs])
    return row[0]
