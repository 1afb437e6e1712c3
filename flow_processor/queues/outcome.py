"""What follows when the run of an item has ended. No clock, no store: pure."""

from __future__ import annotations

from dataclasses import dataclass

from flow_processor.queues.item import Reason
from flow_processor.run import RunStatus
from flow_processor.spec.queue import AttemptsSpec
from flow_processor.store.items import ItemState
from flow_processor.store.runs import RunRow

WENT_WELL = (RunStatus.SUCCEEDED, RunStatus.EXITED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the item stands with the flow now."""

    state: ItemState
    next_at: float | None = None
    """When it is tried again, in seconds since 1970."""
    reason: Reason | None = None
    """Why the run failed."""


def outcome_of(run: RunRow, *, attempt: int, spec: AttemptsSpec, now: float) -> Outcome:
    """A failed run is tried again as long as attempts are left. Nothing that a person ended, and nothing of which
    nobody knows how far it got, is tried again by itself."""
    if run.status in WENT_WELL:
        return Outcome(ItemState.DONE)
    reason = reason_of(run)
    if run.status is RunStatus.FAILED and attempt < spec.attempts:
        return Outcome(ItemState.DUE, now + spec.backoff(attempt), reason)
    return Outcome(ItemState.FAILED, None, reason)


def reason_of(run: RunRow) -> Reason:
    """Why a run failed."""
    error = run.error or {}
    return Reason(
        code=str(error.get("code", run.status.value)),
        message=str(error.get("message", f"the run has ended {run.status.value}")),
        flow=run.flow,
        run_id=run.id,
    )
