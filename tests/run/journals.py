"""Journals as daemon and workers could have written them, for hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from flow_processor.journal import DAEMON_SPAN, DISPATCH_SPAN, Event, JournalRow
from flow_processor.run import TERMINAL_STATUSES, RunStatus

STEPS = ("fetch", "pick", "send", "fetch#2", "loop[1]/send", "loop[2]/send")
THEN = ("retry", "ignore", "goto", "fail")


@dataclass
class _Scribe:
    """Writes rows with rising numbers, in the ranges that daemon and worker have."""

    rows: list[JournalRow] = field(default_factory=list)
    dispatch: int = 0
    worker_rows: int = 0
    daemon_rows: int = 0
    at: float = 1_800_000_000.0

    def hand_out(self) -> None:
        self.dispatch += 1
        self.worker_rows = self.daemon_rows = 0
        self._add(self.dispatch * DISPATCH_SPAN, "", 0, Event.DISPATCHED, {"worker": "w", "pid": 7})

    def worker(self, path: str, attempt: int, event: Event, data: dict[str, Any] | None = None) -> None:
        self.worker_rows += 1
        self._add(self.dispatch * DISPATCH_SPAN + self.worker_rows, path, attempt, event, data or {})

    def daemon(self, path: str, attempt: int, event: Event, data: dict[str, Any]) -> None:
        self.daemon_rows += 1
        seq = self.dispatch * DISPATCH_SPAN + DAEMON_SPAN + self.daemon_rows
        self._add(seq, path, attempt, event, data)

    def _add(self, seq: int, path: str, attempt: int, event: Event, data: dict[str, Any]) -> None:
        self.at += 0.25
        self.rows.append(JournalRow(seq, path, attempt, event, self.at, data))


def _error(code: str) -> dict[str, Any]:
    return {"code": code, "message": f"it was {code}", "details": {}}


@st.composite
def journals(draw: st.DrawFn) -> list[JournalRow]:
    """A whole journal: dispatches, attempts with their outcomes, lost workers, kills, perhaps an end."""
    scribe = _Scribe()
    scribe.hand_out()
    for path in draw(st.lists(st.sampled_from(STEPS), unique=True, max_size=6)):
        _visit(draw, scribe, path)
    if draw(st.booleans()):
        scribe.daemon("", 0, Event.CANCEL_REQUESTED, {"reason": "by a person"})
    if draw(st.booleans()):
        _cut_off(draw, scribe)
    if draw(st.booleans()):
        status = draw(st.sampled_from(sorted(TERMINAL_STATUSES - {RunStatus.SKIPPED})))
        scribe.worker("", 0, Event.ENDED, {"status": status.value, "error": None})
    return sorted(scribe.rows, key=lambda row: row.seq)


def _visit(draw: st.DrawFn, scribe: _Scribe, path: str) -> None:
    for attempt in range(1, draw(st.integers(1, 3)) + 1):
        scribe.worker(path, attempt, Event.STARTED, draw(st.sampled_from([{}, {"once": True}])))
        ending = draw(st.sampled_from(["succeeded", "skipped", "failed", "killed", "lost"]))
        if ending == "succeeded":
            scribe.worker(path, attempt, Event.SUCCEEDED, {"result": draw(st.integers()), "key": path})
            return
        if ending == "skipped":
            scribe.worker(path, attempt, Event.SKIPPED)
            return
        if ending == "lost":
            lost = {"worker": "w", "exit_code": -9, "under_way": [[path, attempt]]}
            scribe.daemon("", 0, Event.WORKER_LOST, lost)
            scribe.hand_out()
            scribe.worker(path, attempt, Event.STARTED)
        elif ending == "killed":
            scribe.daemon(path, attempt, Event.KILLED, {"error": _error("step_timeout")})
            scribe.hand_out()
        then = draw(st.sampled_from(THEN))
        scribe.worker(path, attempt, Event.FAILED, {"error": _error("step_failed"), "then": then})
        if then != "retry":
            return


def _cut_off(draw: st.DrawFn, scribe: _Scribe) -> None:
    """A step under way without an outcome."""
    scribe.worker("cut", 1, Event.STARTED, {"once": draw(st.booleans())})
