"""What the daemon writes into the journal of a run whose worker has died or was killed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from flow_processor.engine.assignment import Assignment
from flow_processor.journal import Event, JournalRow, WireRow, dispatch_of, from_wire, to_wire
from flow_processor.run_state import RunState, StepRecord, StepStatus, fold

MAX_LOSSES_OF_STEP = 2
"""A repeatable step is run again after the first lost worker; after the second it has failed (`worker_lost`)."""

MAX_CRASHES_OF_STEP = 25
"""So often a step may have been under way when everything died, the daemon too: the machine may be to blame."""

CRASHES_BEFORE_REST = 10
"""From then on the run rests after each such death. Whether it is the step that takes the machine down, or somebody who
kills it each second: others get on meanwhile, and the daemon lives long enough for a person to look."""

REST_SECONDS = 5.0
"""The first rest; each further one is twice as long."""

MAX_REST_SECONDS = 60.0

MAX_LOSSES_OF_RUN = 20
"""A run that lost so many workers has failed, whatever its steps are."""


def rows_of_loss(assignment: Assignment, *, worker_id: str, exit_code: int, at: float) -> list[WireRow]:
    """The rows for a worker that is gone: which steps were over their time limit, or what was under way."""
    if assignment.expired:
        return [
            assignment.daemon_row(path, attempt, Event.KILLED, at, {"error": _step_timeout(path, limit)})
            for path, attempt, limit in assignment.expired
        ]
    if assignment.is_killed:
        return []
    data = {"worker": worker_id, "exit_code": exit_code, "under_way": assignment.under_way()}
    return [assignment.daemon_row("", 0, Event.WORKER_LOST, at, data)]


def row_of_crash(rows: Sequence[WireRow], *, dead: Collection[str], at: float) -> WireRow | None:
    """The row for a worker that the next daemon finds dead; None if none of these `dead` workers had the run.

    Steps inside which something was done in this dispatch are not to blame: they are steps around others, and a loop
    of an hour may outlive any number of deaths. `rows` is the run's journal.
    """
    journal = [from_wire(row) for row in rows]
    state = fold(journal)
    last = [row for row in journal if dispatch_of(row.seq) == state.dispatches]
    handed_out = next((row for row in last if row.event is Event.DISPATCHED), None)
    is_known = any(row.event is Event.WORKER_LOST for row in last)
    worker_id = None if handed_out is None else handed_out.data.get("worker")
    if worker_id not in dead or is_known:
        return None
    got_on = [row.path for row in last if row.path]

    def is_stuck(step: StepRecord) -> bool:
        if step.status is StepStatus.WAITING:  # it does nothing
            return False
        return not any(other.startswith((step.path + "/", step.path + "[")) for other in got_on)

    under_way = [[step.path, step.attempt] for step in state.under_way() if is_stuck(step)]
    data = {"worker": worker_id, "exit_code": None, "under_way": under_way, "restart": True}
    return to_wire(JournalRow(state.last_seq + 1, "", 0, Event.WORKER_LOST, at, data))


def rests_until(rows: Sequence[WireRow]) -> float | None:
    """Until when a run does not go on, in seconds since 1970, for a step of it was under way too often when everything
    died; None: it goes on at once. `rows` is the run's journal."""
    journal = [from_wire(row) for row in rows]
    state = fold(journal)
    crashes = max((state.crashes[record.path] for record in state.under_way()), default=0)
    if crashes < CRASHES_BEFORE_REST:
        return None
    died_at = max(row.at for row in journal if row.event is Event.WORKER_LOST)
    return died_at + min(REST_SECONDS * 2.0 ** (crashes - CRASHES_BEFORE_REST), MAX_REST_SECONDS)


def rows_of_poison(state: RunState, *, at: float) -> list[WireRow]:
    """The rows that give up repeatable steps which have cost too many workers.

    They follow the last row so far, and so come before those of the next worker.
    """
    under_way = [record for record in state.under_way() if not record.once]
    rows: list[WireRow] = []
    for record in under_way:
        inner = (record.path + "/", record.path + "[")
        is_leaf = not any(other.path.startswith(inner) for other in under_way)
        is_leaf = is_leaf and record.status is not StepStatus.WAITING  # which does nothing
        losses, crashes = state.losses[record.path], state.crashes[record.path]
        if is_leaf and (losses >= MAX_LOSSES_OF_STEP or crashes >= MAX_CRASHES_OF_STEP):
            message = (
                f"the worker died {losses + crashes} times while the step was under way (out of memory?)"
            )
            data = {"error": error_record("worker_lost", message)}
            seq = state.last_seq + len(rows) + 1
            rows.append(to_wire(JournalRow(seq, record.path, record.attempt, Event.KILLED, at, data)))
    return rows


def _step_timeout(path: str, limit: float) -> dict[str, Any]:
    message = f"step '{path}' did not end within its time limit of {limit:g} s, and its worker was killed"
    return error_record("step_timeout", message)


def error_record(code: str, message: str) -> dict[str, Any]:
    """An error as the journal keeps it."""
    return {"code": code, "message": message, "details": {}}
