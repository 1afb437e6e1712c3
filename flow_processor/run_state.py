"""What a run has come to: the state that follows from its journal.

The state of a run is the fold of its journal (DESIGN.md). `fold` is that function, and the only one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flow_processor.errors import ENDED_BESIDE
from flow_processor.journal import DISPATCH_SPAN, OUTSIDE_SPAN, Event, JournalRow, dispatch_of
from flow_processor.run import RunStatus


class StepStatus(StrEnum):
    """Where one attempt of a step stands."""

    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IGNORED = "ignored"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    NOT_STARTED = "not_started"


@dataclass(slots=True)
class StepRecord:
    """One attempt of one step, as history shows it."""

    path: str
    attempt: int
    status: StepStatus
    started_at: float | None = None
    ended_at: float | None = None
    error: dict[str, Any] | None = None
    result: Any = None
    control: dict[str, Any] | None = None
    """`{"goto": name}` or `{"exit": message}` where the step changed the order."""
    then: str | None = None
    """After a failure: retry, ignore, goto or fail."""
    key: str | None = None
    """The key of the flow data that took the result."""
    output: dict[str, Any] | None = None
    """With `once`: where the result is to be sent, {queue, type, priority}."""
    sent: dict[str, Any] | None = None
    """Where its result was sent once it had succeeded, and as how many items: `{"queue", "items"}`."""
    errors: list[dict[str, Any]] = field(default_factory=list)
    """What the attempt added to the flow's `__errors__`."""
    once: bool = False
    """True once the attempt may have touched the world: it must not silently be made a second time."""
    final: bool = False
    """No `retry` of a step around it may begin it anew: it has done something, or may have."""
    rerun: bool = False
    """With `once`: the flow says that it may be made again all the same (`on_interrupt: rerun`)."""
    waiting: dict[str, Any] | None = None
    """What it waits for, as its `waiting` row says; also kept once the wait is over."""
    parked: bool = False
    """The run was parked while it was under way: then its time limit counts from its begin."""
    decision: dict[str, Any] | None = None
    """What a person said is to become of it after it was in doubt: `{"mode": "skip"}`, `{"mode": "value", "value"}`."""
    result_file: str | None = None
    """The file that holds the result, where it is too large for the journal."""
    signal: int | None = None
    """seq of the signal that ended its wait."""
    kept: bool = False
    """It was not made in this run, but in the one that this run tries again."""

    @property
    def is_under_way(self) -> bool:
        """It began and has no outcome."""
        return self.status in (StepStatus.RUNNING, StepStatus.WAITING)


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that a run was told from outside."""

    seq: int
    name: str
    data: Any
    by: str
    at: float


@dataclass(slots=True)
class RunState:
    """The fold of a journal: what the run has come to."""

    steps: list[StepRecord] = field(default_factory=list)
    """Attempts in the order in which they began."""
    last_seq: int = 0
    cancel_requested: bool = False
    flow_timed_out: bool = False
    stop_reason: str = ""
    """Why it was cancelled or had to end, as it was said first."""
    stopped_at: float | None = None
    """When that was, in seconds since 1970."""
    status: RunStatus | None = None
    """The terminal status, once the journal says `ended`."""
    error: dict[str, Any] | None = None
    ended_at: float | None = None
    """When the journal said `ended`."""
    dispatches: int = 0
    """How often the run was handed to a worker."""
    worked_seconds: float = 0.0
    """How long workers have had it; downtime between two of them does not count."""
    losses: Counter[str] = field(default_factory=Counter)
    """For each step path: how often a worker died while it was under way; '' counts all losses."""
    crashes: Counter[str] = field(default_factory=Counter)
    """The same for deaths that only the next daemon noticed."""
    signals: list[Signal] = field(default_factory=list)
    """Every signal that was sent, also those that a step has taken."""
    is_parked: bool = False
    """It has no worker, for every step under way waits."""
    wake_at: float | None = None
    """When a parked run goes on by itself, in seconds since 1970; None: only when it is told something."""
    retry_of: str | None = None
    """The run that this one tries again."""
    begun: frozenset[str] = frozenset()
    """Paths of steps that are not repeatable, which that run was cut off in the middle of."""
    until: str | None = None
    """Name of the step of the flow behind which the run is to end."""

    def under_way(self) -> list[StepRecord]:
        """Attempts that began and have no outcome."""
        return [step for step in self.steps if step.is_under_way]

    def in_doubt(self) -> list[StepRecord]:
        """Attempts that were cut off, may have taken effect, and of which nobody has said what came of them.

        What was inside a step that has ended (at its time limit) went with it; of what a cancel or the run's time limit
        has cut off nobody asks.
        """
        cut = [step for step in self.steps if step.once and not step.rerun and step.status in _CUT_OFF]
        if self.stopped_at is not None:
            # All of them where the clock was set back meanwhile: what closes the run must be asked about.
            cut = [step for step in cut if (step.started_at or 0.0) >= self.stopped_at] or cut
        if not cut:
            return []
        ended = [step for step in self.steps if step.status not in _CUT_OFF]
        return [step for step in cut if not any(is_inside(step.path, one.path, one.attempt) for one in ended)]

    def open_signals(self) -> list[Signal]:
        """Signals that no step has taken yet, oldest first."""
        taken = self.taken_signals()
        return [signal for signal in self.signals if signal.seq not in taken]

    def taken_signals(self) -> set[int]:
        """Seqs of the signals that a step has taken."""
        return {step.signal for step in self.steps if step.signal is not None}


_CUT_OFF = (StepStatus.RUNNING, StepStatus.WAITING, StepStatus.INTERRUPTED)


def is_inside(path: str, around: str, attempt: int) -> bool:
    """Does the path name a step inside that attempt of `around`? Paths inside a first one do not say its number."""
    if not path.startswith(around):
        return False
    rest = path.removeprefix(around)
    if attempt > 1:
        return rest.startswith(f"[attempt {attempt}]")
    return rest.startswith(("/", "[")) and not rest.startswith("[attempt ")


def is_part(error: Mapping[str, Any] | None) -> bool:
    """Does the error say that what failed had done its work, or a part of it, or may have?"""
    return ((error or {}).get("details") or {}).get("outcome") in ("unknown", "partial")


_OUTCOMES = {
    Event.SUCCEEDED: StepStatus.SUCCEEDED,
    Event.SKIPPED: StepStatus.SKIPPED,
    Event.NOT_STARTED: StepStatus.NOT_STARTED,
    Event.FAILED: StepStatus.FAILED,
    Event.KILLED: StepStatus.FAILED,
}

_CODES_OF_CANCELS = ENDED_BESIDE | {"cancelled"}
"""Errors of steps that were ended though nothing was wrong with them."""


def fold(rows: Iterable[JournalRow]) -> RunState:
    """The state of a run from its journal rows, in `seq` order. Any prefix of a journal is a legal state."""
    state = RunState()
    attempts: dict[tuple[str, int], StepRecord] = {}
    last_at: float | None = None
    for row in rows:
        state.last_seq = max(state.last_seq, row.seq)
        if row.event is Event.DISPATCHED:
            last_at = row.at
        elif last_at is not None and row.at > last_at and _is_of_worker_time(row):
            state.worked_seconds += row.at - last_at
            last_at = row.at
        if row.event in (Event.PARKED, Event.RESUMED, Event.WORKER_LOST):
            last_at = None
        if not row.path:
            _fold_run_row(state, row)
            continue
        key = (row.path, row.attempt)
        record = attempts.get(key)
        if record is None:
            record = StepRecord(path=row.path, attempt=row.attempt, status=StepStatus.RUNNING)
            record.kept = row.seq < DISPATCH_SPAN
            attempts[key] = record
            state.steps.append(record)
        if row.event is Event.STARTED:
            record.started_at = row.at
            record.status = StepStatus.RUNNING
            record.once = bool(row.data.get("once"))
            record.rerun = bool(row.data.get("rerun"))
            record.final = bool(row.data.get("final"))
            record.key = row.data.get("key")
            record.output = row.data.get("output")
            record.waiting = record.decision = None
            record.parked = False
        elif row.event is Event.WAITING:
            record.status = StepStatus.WAITING
            record.started_at = record.started_at or row.at
            record.waiting = row.data
        else:
            _fold_outcome(record, row)
    # A quick step's only row is its outcome, which for a loop comes after those of its items.
    state.steps.sort(key=lambda record: record.started_at or record.ended_at or 0.0)
    if state.status is not None:
        _close(state)
    return state


def _is_of_worker_time(row: JournalRow) -> bool:
    """Was it written while a worker had the run? What the store numbers and what the next daemon found was not."""
    return row.seq % DISPATCH_SPAN < OUTSIDE_SPAN and not row.data.get("restart")


def _fold_run_row(state: RunState, row: JournalRow) -> None:
    if row.event is Event.DISPATCHED:
        state.dispatches = dispatch_of(row.seq)
        state.is_parked, state.wake_at = False, None
    elif row.event is Event.WORKER_LOST:
        counter = state.crashes if row.data.get("restart") else state.losses
        counter[""] += 1
        counter.update(path for path, _attempt in row.data["under_way"])
    elif row.event is Event.PARKED:
        state.is_parked, state.wake_at = True, row.data.get("wake_at")
        for record in state.under_way():
            record.parked = True
    elif row.event is Event.SIGNALLED:
        signal = Signal(row.seq, row.data["name"], row.data.get("data"), row.data["by"], row.at)
        state.signals.append(signal)
    elif row.event is Event.RESUMED:
        _fold_resume(state, row)
    elif row.event is Event.RETRIED:
        state.retry_of = row.data["of"]
        state.begun = frozenset(row.data.get("begun", ()))
    elif row.event is Event.BOUNDED:
        state.until = row.data["until"]
    elif row.event is Event.CANCEL_REQUESTED:
        state.cancel_requested = True
        _fold_stop(state, row)
    elif row.event is Event.FLOW_TIMED_OUT:
        state.flow_timed_out = True
        _fold_stop(state, row)
    elif row.event is Event.ENDED:
        state.status = RunStatus(row.data["status"])
        state.ended_at = row.at
        state.error = row.data.get("error")


def _fold_stop(state: RunState, row: JournalRow) -> None:
    state.stop_reason = state.stop_reason or str(row.data.get("reason", ""))
    state.stopped_at = row.at if state.stopped_at is None else state.stopped_at


def _fold_resume(state: RunState, row: JournalRow) -> None:
    """The run has not ended after all; it begins a new count of time and losses.

    A cancel stands, and so does a time limit: it was interrupted in what closes it, and closes from here on.
    """
    state.status = state.error = state.ended_at = None
    state.worked_seconds = 0.0
    state.losses.clear()
    state.crashes.clear()
    mode = row.data.get("mode")
    named = {(path, attempt) for path, attempt in row.data["steps"]}
    for record in state.steps:
        if (record.path, record.attempt) in named:
            record.once = False
            record.decision = None if mode == "rerun" else {"mode": mode, "value": row.data.get("value")}


def _fold_outcome(record: StepRecord, row: JournalRow) -> None:
    record.status = _OUTCOMES[row.event]
    record.ended_at = row.at
    record.started_at = row.data.get("started_at", record.started_at)
    record.error = row.data.get("error")
    record.final = bool(row.data.get("final")) or is_part(record.error)
    record.result = row.data.get("result")
    record.result_file = row.data.get("result_file")
    record.signal = row.data.get("signal")
    record.control = row.data.get("control")
    record.then = row.data.get("then")
    record.key = row.data.get("key")
    record.errors = row.data.get("errors", [])
    if "output" in row.data:
        record.sent = {"queue": row.data["output"]["queue"], "items": row.data.get("items")}
    if record.then == "ignore":
        record.status = StepStatus.IGNORED
    if record.error is not None and record.error.get("code") in _CODES_OF_CANCELS:
        record.status = StepStatus.CANCELLED


def _close(state: RunState) -> None:
    """What was still under way when the run ended was cut off with it."""
    for record in state.under_way():
        cut = StepStatus.INTERRUPTED if state.status is RunStatus.INTERRUPTED else StepStatus.CANCELLED
        record.status = cut
        record.ended_at = state.ended_at
