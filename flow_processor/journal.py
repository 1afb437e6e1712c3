"""A run's journal: what happened in it, row by row; and the state that follows from it.

The state of a run is the fold of its journal (DESIGN.md). `fold` is that function, and the only one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flow_processor.run import RunStatus


class Event(StrEnum):
    """What a journal row says happened. Rows of the run itself have the path ''."""

    # Of the run.
    DISPATCHED = "dispatched"
    """A worker was handed the run. data: {worker}"""
    WORKER_LOST = "worker_lost"
    """The worker died. data: {worker, exit_code, under_way: [[path, attempt], …], restart?}; with `restart` it was
    found dead by the next daemon: not the step but the machine may be to blame."""
    PARKED = "parked"
    """Every step under way waits, so the run has no worker. data: {wake_at}: seconds since 1970, null for never"""
    SIGNALLED = "signalled"
    """Somebody sent a signal. data: {name, data, by}"""
    RESUMED = "resumed"
    """A person lets an interrupted run go on. data: {by, steps: [[path, attempt], …], mode?, value?}: what to do
    with the steps that were in doubt, `rerun`, `skip` or `value`"""
    RETRIED = "retried"
    """This run tries another one again; the rows of dispatch 0 that follow are kept from it.
    data: {of, from, by}"""
    DAEMON_STOPPED = "daemon_stopped"
    """The daemon was stopped while the run was under way; it goes on with the next one. data: {}"""
    CANCEL_REQUESTED = "cancel_requested"
    """Somebody asked for its end. data: {reason}"""
    FLOW_TIMED_OUT = "flow_timed_out"
    """The run's time was up. data: {reason}"""
    ENDED = "ended"
    """The run has its terminal status. data: {status, error}"""

    # Of one attempt of a step.
    STARTED = "started"
    """data: {timeout_seconds?, once?}; with `once` the attempt must not silently be made a second time."""
    WAITING = "waiting"
    """It waits for a moment, a signal or a person. data: see `flow_processor.step.Wait`"""
    SUCCEEDED = "succeeded"
    """data: {result or result_file, started_at, control?, signal?}; `result_file` names the file that holds a
    large result (see `flow_processor.result_files`), `signal` the seq of the signal that it took."""
    FAILED = "failed"
    """data: {error, started_at, then: retry|ignore|goto|fail, …}"""
    SKIPPED = "skipped"
    """Its `when` did not hold. data: {started_at}"""
    KILLED = "killed"
    """The attempt was ended from outside (time limit, lost worker); the interpreter turns this into
    FAILED by the step's policy when it comes by. data: {error}"""


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One thing that happened in a run."""

    seq: int
    """Orders the rows of a run; with the run's id it is the row's key. Each dispatch to a worker has a range
    of its own (see `DISPATCH_SPAN`), so that daemon and worker can both write without asking each other."""
    path: str
    """Which visit of which step: `fetch`, `fetch#2` (after a goto), `tickets[7]/render`; '' is the run."""
    attempt: int
    """1 for the first try of the step; 0 for rows of the run."""
    event: Event
    at: float
    """Seconds since 1970."""
    data: dict[str, Any] = field(default_factory=dict)


WireRow = tuple[int, str, int, str, float, str | None]
"""A journal row as workers send it and the table keeps it: seq, path, attempt, event, at, data as JSON text."""

WireLog = tuple[int, float, str, str, str]
"""A log line likewise: seq, at, level, step, message."""


def to_wire(row: JournalRow) -> WireRow:
    """The row with its data as JSON text (None for no data)."""
    return (
        row.seq,
        row.path,
        row.attempt,
        row.event.value,
        row.at,
        json.dumps(row.data) if row.data else None,
    )


def from_wire(row: Sequence[Any]) -> JournalRow:
    """The row with its data parsed."""
    seq, path, attempt, event, at, data = row
    return JournalRow(seq, path, attempt, Event(event), at, json.loads(data) if data else {})


DISPATCH_SPAN = 1_000_000_000
"""How many sequence numbers each dispatch has."""

DAEMON_SPAN = 900_000_000
"""Where, in a dispatch's range, the daemon's own rows begin; the worker's rows stay below."""

OUTSIDE_SPAN = 950_000_000
"""Where those begin that the store numbers itself: written whether or not a worker has the run (a person's cancel,
signal or resume), they must not meet numbers that the engine gives out for the run in a worker's hands."""


def dispatch_of(seq: int) -> int:
    """Which dispatch (1 is the first) a sequence number belongs to."""
    return seq // DISPATCH_SPAN


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
    errors: list[dict[str, Any]] = field(default_factory=list)
    """What the attempt added to the flow's `__errors__`."""
    once: bool = False
    """True once the attempt may have touched the world: it must not silently be made a second time."""
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

    def under_way(self) -> list[StepRecord]:
        """Attempts that began and have no outcome."""
        return [step for step in self.steps if step.is_under_way]

    def open_signals(self) -> list[Signal]:
        """Signals that no step has taken yet, oldest first."""
        taken = {step.signal for step in self.steps}
        return [signal for signal in self.signals if signal.seq not in taken]


_OUTCOMES = {
    Event.SUCCEEDED: StepStatus.SUCCEEDED,
    Event.SKIPPED: StepStatus.SKIPPED,
    Event.FAILED: StepStatus.FAILED,
    Event.KILLED: StepStatus.FAILED,
}


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
            record.waiting = record.decision = None
            record.parked = False
        elif row.event is Event.WAITING:
            record.status = StepStatus.WAITING
            record.started_at = record.started_at or row.at
            record.waiting = row.data
        else:
            _fold_outcome(record, row)
    # A quick step's only row is its outcome, which for a loop comes after those of its items.
    state.steps.sort(key=lambda record: record.started_at or 0.0)
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
    elif row.event is Event.CANCEL_REQUESTED:
        state.cancel_requested = True
        state.stop_reason = state.stop_reason or str(row.data.get("reason", ""))
    elif row.event is Event.FLOW_TIMED_OUT:
        state.flow_timed_out = True
        state.stop_reason = state.stop_reason or str(row.data.get("reason", ""))
    elif row.event is Event.ENDED:
        state.status = RunStatus(row.data["status"])
        state.ended_at = row.at
        state.error = row.data.get("error")


def _fold_resume(state: RunState, row: JournalRow) -> None:
    """The run has not ended after all; it begins a new count of time and losses."""
    state.status = state.error = state.ended_at = None
    state.cancel_requested = state.flow_timed_out = False
    state.stop_reason, state.worked_seconds = "", 0.0
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
    record.result = row.data.get("result")
    record.result_file = row.data.get("result_file")
    record.signal = row.data.get("signal")
    record.control = row.data.get("control")
    record.then = row.data.get("then")
    record.key = row.data.get("key")
    record.errors = row.data.get("errors", [])
    if record.then == "ignore":
        record.status = StepStatus.IGNORED
    if record.error is not None and record.error.get("code") == "cancelled":
        record.status = StepStatus.CANCELLED


def _close(state: RunState) -> None:
    """What was still under way when the run ended was cut off with it."""
    for record in state.under_way():
        cut = StepStatus.INTERRUPTED if state.status is RunStatus.INTERRUPTED else StepStatus.CANCELLED
        record.status = cut
        record.ended_at = state.ended_at
