"""What a worker says is checked at the door: it evaluates users' expressions, and may say anything.

What passes can be read by everybody: the fold, the next daemon, the API. And it does not reach beyond its own run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flow_processor.journal import DAEMON_SPAN, DISPATCH_SPAN, Event, WireLog, WireRow
from flow_processor.run import RunStatus

STEP_EVENTS = frozenset({Event.STARTED, Event.WAITING, Event.SUCCEEDED, Event.FAILED, Event.SKIPPED})
RUN_EVENTS = frozenset({Event.PARKED, Event.ENDED})

END_STATUSES = frozenset(status for status in RunStatus if status.is_terminal) - {RunStatus.SKIPPED}

LAST_MOMENT = 253_402_300_799.0
"""The end of the year 9999, in seconds since 1970: no calendar shows what comes after."""


def checked_rows(rows: Sequence[WireRow], *, dispatch: int) -> list[dict[str, Any]]:
    """The rows' data, parsed. Raises ValueError for what is no row of this dispatch's worker."""
    return [_checked(row, dispatch) for row in rows]


def _checked(row: WireRow, dispatch: int) -> dict[str, Any]:
    seq, path, attempt, event, at, data = row
    _check_number(seq, dispatch)
    is_typed = isinstance(path, str) and type(attempt) is int and isinstance(data, str | None)
    if not is_typed or not _is_moment(at) or event not in (STEP_EVENTS if path else RUN_EVENTS):
        raise ValueError(f"not a journal row: {str((seq, path, attempt, event, at))[:200]}")
    details = json.loads(data) if data else {}
    if not isinstance(details, dict) or not _is_readable(Event(event), details):
        raise ValueError(f"not the data of a row '{event}': {str(data)[:200]}")
    return details


def _is_readable(event: Event, details: dict[str, Any]) -> bool:
    if event is Event.ENDED:
        error = details.get("error")
        return details.get("status") in END_STATUSES and (error is None or _is_error(error))
    if event is Event.PARKED or event is Event.WAITING:
        moment = details.get("wake_at" if event is Event.PARKED else "until")
        return moment is None or _is_moment(moment)
    if event is Event.FAILED and not _is_error(details.get("error")):
        return False
    return "started_at" not in details or _is_moment(details["started_at"])


def check_lines(lines: Sequence[WireLog], *, dispatch: int) -> None:
    """Raises ValueError for what is no log line of this dispatch's worker."""
    for seq, at, *texts in lines:
        _check_number(seq, dispatch)
        if not _is_moment(at) or not all(isinstance(text, str) for text in texts):
            raise ValueError("not a log line")


def check_last_word(rows: Sequence[WireRow], event: Event) -> dict[str, Any]:
    """The data of a frame's last row, which must be this one. Raises ValueError."""
    if not rows or rows[-1][3] != event:
        raise ValueError(f"the last word about a run without its row '{event.value}'")
    details: dict[str, Any] = json.loads(rows[-1][5] or "{}")
    return details


def _check_number(seq: Any, dispatch: int) -> None:
    first = dispatch * DISPATCH_SPAN
    if type(seq) is not int or not first < seq < first + DAEMON_SPAN:
        raise ValueError(f"{seq} is no number of dispatch {dispatch}")


def _is_moment(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= LAST_MOMENT


def _is_error(value: Any) -> bool:
    is_record = isinstance(value, dict) and isinstance(value.get("details", {}), dict)
    return is_record and isinstance(value.get("code"), str) and isinstance(value.get("message"), str)
