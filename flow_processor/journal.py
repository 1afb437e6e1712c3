"""A run's journal: what happened in it, row by row. The state that follows from it: `flow_processor.run_state`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


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
    data: {of, from, by, begun?: [path, …], mode?}: `begun` are steps that may have been done, for that run was cut off
    in the middle of them; `mode` is what a person has said of those that failed in doubt."""
    BOUNDED = "bounded"
    """The run is to end after a step of its flow, written at its launch. data: {until, by}"""
    DAEMON_STOPPED = "daemon_stopped"
    """The daemon was stopped while the run was under way; it goes on with the next one. data: {}"""
    CANCEL_REQUESTED = "cancel_requested"
    """Somebody asked for its end. data: {reason, by}"""
    FLOW_TIMED_OUT = "flow_timed_out"
    """The run's time was up. data: {reason}"""
    ENDED = "ended"
    """The run has its terminal status. data: {status, error}"""

    # Of one attempt of a step.
    STARTED = "started"
    """data: {timeout_seconds?, once?, rerun?, key?, output?}; with `once` the attempt must not silently be made a
    second time, unless the flow allows it (`rerun`). `key` is what takes its result, `output` where that is sent."""
    WAITING = "waiting"
    """It waits for a moment, a signal or a person. data: see `flow_processor.wait.Wait`"""
    SUCCEEDED = "succeeded"
    """data: {output?, items?, result or result_file, started_at, control?, signal?}; `result_file` names the file that
    holds a large result (see `flow_processor.result_files`), `signal` the seq of the signal that it took. `output` says
    that the result is sent, and where: {queue, type, priority}; it stands first (see `OUTPUT_FIRST`), and `items` says
    as how many."""
    FAILED = "failed"
    """data: {error, started_at, then: retry|ignore|goto|fail, …}"""
    SKIPPED = "skipped"
    """Its `when` did not hold. data: {started_at}"""
    NOT_STARTED = "not_started"
    """What it needs did not end well, or the steps were ended before it could begin. data: {}"""
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


OUTPUT_FIRST = '{"output":'
"""How the data of a row begins whose result is to be put on a queue: the store must know without parsing each row."""


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
