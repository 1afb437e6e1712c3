"""What a worker says is checked at the door: whatever passes can be read by everybody who comes later."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from flow_processor.engine.worker_claims import check_last_word, check_lines, checked_rows
from flow_processor.journal import DISPATCH_SPAN, Event, from_wire
from flow_processor.run_state import fold

FIRST = 2 * DISPATCH_SPAN + 1


def row(
    event: str, path: str = "a", *, at: Any = 1.5, seq: Any = FIRST, attempt: Any = 1, **data: Any
) -> Any:
    return seq, path, attempt, event, at, json.dumps(data) if data else None


ERROR = {"code": "x", "message": "no", "details": {}}
RIGHT = [
    row("started", once=True),
    row("waiting", kind="signal", signal="go", until=5.0),
    row("succeeded", result=[1], started_at=1),
    row("failed", error=ERROR, started_at=1.0, then="fail"),
    row("skipped", started_at=1.0),
    row("ended", "", attempt=0, status="succeeded", error=None),
    row("ended", "", attempt=0, status="failed", error=ERROR),
    row("parked", "", attempt=0, wake_at=None),
    row("parked", "", attempt=0, wake_at=99.5),
]
WRONG = [
    row("killed", error=ERROR),
    row("dispatched", "", worker="w"),
    row("signalled", "", name="go", by="me"),
    row("started", ""),
    row("ended", "a", status="succeeded", error=None),
    row("started", at=math.nan),
    row("started", at=1e300),
    row("started", at=-1),
    row("started", at="now"),
    row("started", at=True),
    row("started", seq=FIRST + DISPATCH_SPAN),
    row("started", seq=2 * DISPATCH_SPAN),
    row("started", seq=2.5 * DISPATCH_SPAN),
    row("started", attempt=None),
    row("started", path=7),
    row("waiting", until=math.inf),
    row("succeeded", started_at="soon"),
    row("failed"),
    row("failed", error="no"),
    row("failed", error={"code": 1, "message": "no"}),
    row("parked", "", wake_at=math.nan),
    row("parked", "", wake_at=1e300),
    row("parked", "", wake_at="tomorrow"),
    row("ended", ""),
    row("ended", "", status="running", error=None),
    row("ended", "", status="skipped", error=None),
    row("ended", "", status="failed", error=["no"]),
    (FIRST, "a", 1, "succeeded", 1.0, "[1]"),
    (FIRST, "a", 1, "succeeded", 1.0, '{"result": '),
    (FIRST, "a", 1, "succeeded", 1.0, {"result": 1}),
    (FIRST, "a", 1, "no such event", 1.0, None),
]


@pytest.mark.parametrize("said", RIGHT)
def test_what_workers_say_passes_and_can_be_folded(said: Any) -> None:
    (details,) = checked_rows([said], dispatch=2)
    assert details == json.loads(said[5] or "{}")
    fold([from_wire(said)])


@pytest.mark.parametrize("said", WRONG)
def test_anything_else_is_refused(said: Any) -> None:
    with pytest.raises(ValueError, match=r"not |no number"):
        checked_rows([RIGHT[0], said], dispatch=2)


@pytest.mark.parametrize(
    "line",
    [(FIRST, math.nan, "info", "a", "x"), (FIRST, 1.0, "info", "a", None), (7, 1.0, "info", "a", "x")],
)
def test_log_lines_are_checked_too(line: Any) -> None:
    check_lines([(FIRST, 1.0, "info", "a", "x")], dispatch=2)
    with pytest.raises(ValueError, match=r"not a log line|no number"):
        check_lines([line], dispatch=2)


def test_a_last_word_stands_in_the_journal() -> None:
    """What counts is the row that everybody will read, not what is said beside it."""
    said = [RIGHT[0], RIGHT[5]]
    assert check_last_word(said, Event.ENDED) == {"status": "succeeded", "error": None}
    for rows in ([], said[:1], said[::-1]):
        with pytest.raises(ValueError, match="without its row"):
            check_last_word(rows, Event.ENDED)
