"""Which attempts of the steps of a run are shown, and what is said of each: a run may have very many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from flow_processor.clock import from_epoch
from flow_processor.run_state import StepRecord, StepStatus
from flow_processor.service.views import ErrorView, SentView, StepView


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsWanted:
    """Which attempts of steps to show."""

    limit: int
    """So many at most."""
    after: int = 0
    """Leave out so many of those that fit."""
    path: str = ""
    """Only those whose path begins so: `loop[3]/` for what belongs to the third element."""
    status: Collection[StepStatus] = ()
    """Only those that stand so; none: all."""
    results: bool = False
    """With their results."""


@dataclass(frozen=True, slots=True)
class ShownSteps:
    """What fits."""

    steps: list[StepView]
    total: int
    """How many fit, shown or not."""
    by_status: dict[StepStatus, int]
    """How many there are below the path wanted, by their status."""


def show_steps(
    records: Sequence[StepRecord],
    wanted: StepsWanted,
    *,
    now: float,
    with_result: Callable[[StepRecord], StepRecord],
) -> ShownSteps:
    """The attempts that are wanted; `with_result` loads a result that a file holds, `now` is in seconds since 1970."""
    below = [record for record in records if record.path.startswith(wanted.path)]
    fitting = [record for record in below if not wanted.status or record.status in wanted.status]
    chosen = fitting[wanted.after : wanted.after + wanted.limit]
    steps = []
    for record in chosen:
        view = step_view(record, now)
        steps.append(
            view.model_copy(update={"result": with_result(record).result}) if wanted.results else view
        )
    return ShownSteps(steps, len(fitting), dict(Counter(record.status for record in below)))


def step_view(record: StepRecord, now: float) -> StepView:
    """One attempt, without its result."""
    is_skipped = record.status is StepStatus.SKIPPED
    started = None if is_skipped else moment(record.started_at)
    duration = None
    if started is not None and record.started_at is not None:
        duration = max(0.0, round((record.ended_at or now) - record.started_at, 6))
    return StepView(
        path=record.path,
        attempt=record.attempt,
        status=record.status,
        started_at=started,
        ended_at=None if record.status is StepStatus.NOT_STARTED else moment(record.ended_at),
        duration_seconds=duration,
        error=None if record.error is None else ErrorView(**record.error),
        then=record.then,
        kept=record.kept,
        sent=None if record.sent is None else SentView(**record.sent),
    )


def moment(seconds: float | None) -> datetime | None:
    """Seconds since 1970 as a moment."""
    return None if seconds is None else from_epoch(seconds)
