"""What a worker says is checked at the door: it evaluates users' expressions, and may say anything.

What passes can be read by everybody: the fold, the next daemon, the API. And it does not reach beyond its own run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flow_processor.journal import DAEMON_SPAN, DISPATCH_SPAN, Event, WireLog, WireRow
from flow_processor.run import RunStatus
from flow_processor.spec.output import OutputSpec

# As plain texts: every row of every run is compared with them, and an enumeration's members take their time.
_STARTED, _FAILED, _PARKED, _ENDED = (
    event.value for event in (Event.STARTED, Event.FAILED, Event.PARKED, Event.ENDED)
)
_OTHER_EVENTS = (Event.WAITING, Event.SUCCEEDED, Event.SKIPPED, Event.NOT_STARTED)
_STEP_EVENTS = frozenset({_STARTED, _FAILED, *(event.value for event in _OTHER_EVENTS)})
_RUN_EVENTS = frozenset({_PARKED, _ENDED})

END_STATUSES = frozenset(status for status in RunStatus if status.is_terminal) - {RunStatus.SKIPPED}

LAST_MOMENT = 253_402_300_799.0
"""The end of the year 9999, in seconds since 1970: no calendar shows what comes after."""


_MOMENTS = {"started_at", "until", "wake_at"}
"""What in a row's data says when, in seconds since 1970, or null."""

_decode = json.JSONDecoder().raw_decode
"""A worker's texts have no blanks around them."""


def checked_rows(rows: Sequence[WireRow], *, dispatch: int) -> list[dict[str, Any]]:
    """The rows' data, parsed. Raises ValueError for what is no row of this dispatch's worker."""
    return [_checked(row, dispatch) for row in rows]


def _checked(row: WireRow, dispatch: int) -> dict[str, Any]:
    seq, path, attempt, event, at, data = row
    _check_number(seq, dispatch)
    is_typed = type(path) is str and type(attempt) is int and (data is None or type(data) is str)
    if not is_typed or not _is_moment(at) or event not in (_STEP_EVENTS if path else _RUN_EVENTS):
        raise ValueError(f"not a journal row: {str((seq, path, attempt, event, at))[:200]}")
    if data is None and event == _STARTED:
        return {}
    details = {} if data is None else _parsed(data)
    if not _is_readable(event, details):
        raise ValueError(f"not the data of a row '{event}': {str(data)[:200]}")
    return details


def _parsed(data: str) -> dict[str, Any]:
    try:
        details, end = _decode(data)
    except ValueError:
        details, end = None, 0
    if end != len(data) or type(details) is not dict:
        raise ValueError(f"not a JSON object: {data[:200]}")
    return details


def _is_readable(event: str, details: dict[str, Any]) -> bool:
    if event == _FAILED and not _is_error(details.get("error")):
        return False
    if event == _ENDED:
        error = details.get("error")
        return details.get("status") in END_STATUSES and (error is None or _is_error(error))
    check_output(details)
    moments = _MOMENTS & details.keys()
    return all(details[name] is None or _is_moment(details[name]) for name in moments)


def check_output(details: dict[str, Any]) -> None:
    """Raises ValueError if a row's data say that its result is sent to what is no queue: that may be a folder."""
    if "output" in details:
        OutputSpec.model_validate(details["output"])
        if type(details.get("items", 0)) is not int:
            raise ValueError("'items' is no number")


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
