"""Journals as daemon, workers and people could have written them, for hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from flow_processor.journal import DAEMON_SPAN, DISPATCH_SPAN, OUTSIDE_SPAN, Event, JournalRow, dispatch_of
from flow_processor.run import TERMINAL_STATUSES, RunStatus

STEPS = ("fetch", "pick", "send", "fetch#2", "loop[1]/send", "loop[2]/send")
THEN = ("retry", "ignore", "goto", "fail")
SIGNALS = ("paid", "go_ahead")
TICK = 0.25
"""Seconds between two things that happen."""
DOWN_SECONDS = 3600.0
"""How long nobody has the run: parked, or without a daemon."""


@dataclass
class Story:
    """A run as it went, row by row in the order in which they were written."""

    written: list[JournalRow] = field(default_factory=list)
    held_seconds: float = 0.0
    """How long a worker had it, since a person last let it go on."""
    dispatch: int = 0
    worker_rows: int = 0
    daemon_rows: int = 0
    at: float = 1_800_000_000.0
    is_held: bool = False
    sent: list[tuple[int, str]] = field(default_factory=list)
    """Signals that no step has taken: number and name, oldest first."""
    has_ended: bool = False

    @property
    def rows(self) -> list[JournalRow]:
        """The journal: the rows in the order of their numbers, as the store gives them."""
        return sorted(self.written, key=lambda row: row.seq)

    def hand_out(self) -> None:
        self.dispatch += 1
        self.worker_rows = self.daemon_rows = 0
        self._add(self.dispatch * DISPATCH_SPAN, "", 0, Event.DISPATCHED, {"worker": "w", "pid": 7})
        self.is_held = True

    def worker(self, path: str, attempt: int, event: Event, data: dict[str, Any] | None = None) -> None:
        self.worker_rows += 1
        self._add(self.dispatch * DISPATCH_SPAN + self.worker_rows, path, attempt, event, data or {})

    def daemon(self, path: str, attempt: int, event: Event, data: dict[str, Any]) -> None:
        self.daemon_rows += 1
        seq = self.dispatch * DISPATCH_SPAN + DAEMON_SPAN + self.daemon_rows
        self._add(seq, path, attempt, event, data)

    def outside(self, event: Event, data: dict[str, Any]) -> int:
        """A row that the store numbers; its number."""
        last = max((row.seq for row in self.written), default=0) or DISPATCH_SPAN
        seq = max(last + 1, dispatch_of(last) * DISPATCH_SPAN + OUTSIDE_SPAN)
        self._add(seq, "", 0, event, data)
        return seq

    def signal(self, name: str) -> None:
        """Somebody sends one."""
        data = {"name": name, "data": {"n": len(self.sent)}, "by": "a person"}
        self.sent.append((self.outside(Event.SIGNALLED, data), name))

    def take_signal(self, name: str) -> int | None:
        """The number of the oldest one with the name; no step gets it again."""
        for index, (seq, found) in enumerate(self.sent):
            if found == name:
                del self.sent[index]
                return seq
        return None

    def lie_idle(self) -> None:
        """The worker is gone, and time passes."""
        self.is_held = False
        self.at += DOWN_SECONDS

    def _add(self, seq: int, path: str, attempt: int, event: Event, data: dict[str, Any]) -> None:
        self.at += TICK
        if self.is_held:
            self.held_seconds += TICK
        self.written.append(JournalRow(seq, path, attempt, event, self.at, data))


def _error(code: str) -> dict[str, Any]:
    return {"code": code, "message": f"it was {code}", "details": {}}


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """A run from its beginning: rows kept from another one, attempts and their outcomes, waits, lost workers, kills,
    signals, a cancel or a time limit, a stop of the daemon; perhaps an end, and a person who lets it go on then."""
    story = Story()
    if draw(st.booleans()):
        _retry(draw, story)
    if draw(st.booleans()):
        story.signal(draw(st.sampled_from(SIGNALS)))
    story.hand_out()
    stop = draw(st.sampled_from([None, Event.CANCEL_REQUESTED, Event.FLOW_TIMED_OUT]))
    paths = draw(st.lists(st.sampled_from(STEPS), unique=True, max_size=6))
    before_stop = draw(st.integers(0, len(paths)))
    for path in paths[:before_stop]:
        _visit(draw, story, path)
    if stop is not None:
        story.daemon("", 0, stop, {"reason": "it was to end"})
    for path in paths[before_stop:]:  # what closes the run
        _visit(draw, story, path)
    if draw(st.booleans()):
        _cut_off(draw, story)
    if draw(st.booleans()):
        status = draw(st.sampled_from(sorted(TERMINAL_STATUSES - {RunStatus.SKIPPED})))
        story.worker("", 0, Event.ENDED, {"status": status.value, "error": None})
        story.has_ended = True
    return story


def journals() -> st.SearchStrategy[list[JournalRow]]:
    """The journals of `stories`."""
    return stories().map(lambda story: story.rows)


def _retry(draw: st.DrawFn, story: Story) -> None:
    """It tries another run again and keeps outcomes of it, which stand in dispatch 0."""
    data = {"of": "20261121T074006123-aaaaaaaa", "from": None, "by": "a person"}
    story.written.append(JournalRow(0, "", 0, Event.RETRIED, story.at, data))
    for number in range(1, draw(st.integers(0, 3)) + 1):
        kept = {"result": number, "key": f"kept{number}", "started_at": story.at - 9000.0}
        row = JournalRow(number, f"kept{number}", 1, Event.SUCCEEDED, story.at - 8000.0, kept)
        story.written.append(row)


def _visit(draw: st.DrawFn, story: Story, path: str) -> None:
    for attempt in range(1, draw(st.integers(1, 3)) + 1):
        once = draw(st.booleans())
        story.worker(path, attempt, Event.STARTED, {"once": True} if once else {})
        # What comes before the outcome, …
        trouble = draw(st.sampled_from(["", "", "lost", "killed", "restart", "stopped", "waits", "in doubt"]))
        if trouble == "waits":
            _wait(draw, story, path, attempt)
            return
        if trouble == "in doubt":
            _resume(draw, story, path, attempt)
            return
        if trouble == "killed":
            story.daemon(path, attempt, Event.KILLED, {"error": _error("step_timeout")})
            story.is_held = False
            story.hand_out()
        elif trouble:
            _lose_worker(story, trouble, path, attempt)
            story.worker(path, attempt, Event.STARTED)
        # … and the outcome.
        if trouble != "killed":
            outcome = draw(st.sampled_from(["succeeded", "kept in a file", "skipped", "failed"]))
            if outcome == "succeeded":
                story.worker(path, attempt, Event.SUCCEEDED, {"result": draw(st.integers()), "key": path})
                return
            if outcome == "kept in a file":
                story.worker(path, attempt, Event.SUCCEEDED, {"result_file": f"{7:032x}.json", "key": path})
                return
            if outcome == "skipped":
                story.worker(path, attempt, Event.SKIPPED)
                return
        then = draw(st.sampled_from(THEN))
        story.worker(path, attempt, Event.FAILED, {"error": _error("step_failed"), "then": then})
        if then != "retry":
            return


def _lose_worker(story: Story, how: str, path: str, attempt: int) -> None:
    """The worker dies under its daemon, or together with it, or the daemon is stopped; another one gets the run."""
    lost: dict[str, Any] = {"worker": "w", "exit_code": -9, "under_way": [[path, attempt]]}
    if how == "restart":
        story.lie_idle()
        lost |= {"exit_code": None, "restart": True}
    if how == "stopped":
        story.daemon("", 0, Event.DAEMON_STOPPED, {})
        story.lie_idle()
    else:
        story.daemon("", 0, Event.WORKER_LOST, lost)
        story.is_held = False
    story.hand_out()


def _wait(draw: st.DrawFn, story: Story, path: str, attempt: int) -> None:
    """A wait for a signal, in the worker's hands or parked; it ends by the signal or by itself."""
    name = draw(st.sampled_from(SIGNALS))
    story.worker(path, attempt, Event.WAITING, {"kind": "signal", "signal": name, "until": story.at + 9999})
    for _ in range(draw(st.integers(0, 2))):
        story.worker("", 0, Event.PARKED, {"wake_at": story.at + 9999})
        story.lie_idle()
        if draw(st.booleans()):
            story.signal(draw(st.sampled_from(SIGNALS)))
        story.hand_out()
    if draw(st.booleans()):
        story.signal(draw(st.sampled_from(SIGNALS)))
    seq = story.take_signal(name)
    taken = {} if seq is None else {"signal": seq}
    story.worker(path, attempt, Event.SUCCEEDED, {"result": None, "key": path, **taken})


def _resume(draw: st.DrawFn, story: Story, path: str, attempt: int) -> None:
    """The run ends in doubt about the step, and a person says what is to become of that."""
    story.worker("", 0, Event.ENDED, {"status": "interrupted", "error": _error("interrupted")})
    story.lie_idle()
    mode = draw(st.sampled_from(["rerun", "skip", "value"]))
    said = {"by": "a person", "steps": [[path, attempt]], "mode": mode, "value": 7}
    story.outside(Event.RESUMED, said)
    story.held_seconds = 0.0
    story.hand_out()
    if mode == "rerun":
        story.worker(path, attempt, Event.STARTED, {"once": True})
    if mode == "skip":
        story.worker(path, attempt, Event.SKIPPED)
    else:
        story.worker(path, attempt, Event.SUCCEEDED, {"result": 7, "key": path})


def _cut_off(draw: st.DrawFn, story: Story) -> None:
    """A step under way without an outcome."""
    story.worker("cut", 1, Event.STARTED, {"once": draw(st.booleans())})
    if draw(st.booleans()):
        story.worker("cut", 1, Event.WAITING, {"kind": "sleep", "signal": None, "until": story.at + 9999})
        if draw(st.booleans()):
            story.worker("", 0, Event.PARKED, {"wake_at": story.at + 9999})
            story.lie_idle()
