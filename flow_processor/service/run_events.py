"""What happened to a run itself, as its history tells it: handed out, lost, parked, told, resumed, ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flow_processor.clock import from_epoch, to_text
from flow_processor.engine.losses import rests_until
from flow_processor.journal import Event, JournalRow, WireRow, from_wire
from flow_processor.service.views import RunEvent
from flow_processor.shortened import shortened

MAX_EVENTS = 200
"""So many are shown, the newest: a run of many waits is handed out as many times."""

MAX_TEXT = 200
"""A longer text (what a signal carries) is cut."""


def run_events(wires: Sequence[WireRow]) -> list[RunEvent]:
    """The run's own rows as an answer, oldest first. `wires` is its journal."""
    own = [from_wire(wire) for wire in wires if not wire[1]]
    # What the daemon adds is numbered behind all that the worker may still say, and so behind the end.
    own.sort(key=lambda row: (row.at, row.seq))
    last = next((row for row in reversed(own) if row.event in (Event.WORKER_LOST, Event.DISPATCHED)), None)
    has_died = last is not None and last.event is Event.WORKER_LOST and bool(last.data.get("restart"))
    rests = rests_until(wires) if has_died else None
    return [_event(row, rests if row is last else None) for row in own[-MAX_EVENTS:]]


def _event(row: JournalRow, rests: float | None) -> RunEvent:
    text = shortened(_text(row), MAX_TEXT)
    if rests is not None:
        text += (
            f"; everything died too often while that was under way: rests until {to_text(from_epoch(rests))}"
        )
    return RunEvent(
        at=from_epoch(row.at),
        event=row.event,
        by=row.data.get("by"),
        text=text,
    )


def _text(row: JournalRow) -> str:
    data = row.data
    if row.event is Event.DISPATCHED:
        return f"handed to worker {data.get('worker')} (pid {data.get('pid')})"
    if row.event is Event.WORKER_LOST:
        return _loss(data)
    if row.event is Event.PARKED:
        wake_at = data.get("wake_at")
        return "waits without a worker" + (
            "" if wake_at is None else f" until {to_text(from_epoch(wake_at))}"
        )
    if row.event is Event.SIGNALLED:
        carried = "" if data.get("data") is None else f": {json.dumps(data['data'], ensure_ascii=False)}"
        return f"signal '{data['name']}'{carried}"
    if row.event is Event.RESUMED:
        steps = ", ".join(path for path, _attempt in data["steps"])
        return (
            "resumed"
            + (f" with mode {data['mode']}" if data.get("mode") else "")
            + (f": {steps}" if steps else "")
        )
    if row.event is Event.RETRIED:
        return f"tries run {data['of']} again" + (f" from {data['from']}" if data.get("from") else "")
    if row.event is Event.BOUNDED:
        return f"is to end after step '{data['until']}'"
    if row.event is Event.DAEMON_STOPPED:
        return "the daemon stopped"
    if row.event is Event.ENDED:
        error = data.get("error")
        return f"{data['status']}: {error['message']}" if error else str(data["status"])
    return str(data.get("reason", ""))


def _loss(data: dict[str, Any]) -> str:
    steps = ", ".join(path for path, _attempt in data["under_way"]) or "nothing"
    how = "with the daemon" if data.get("restart") else f"with exit code {data.get('exit_code')}"
    return f"worker {data.get('worker')} died {how}; under way: {steps}"
