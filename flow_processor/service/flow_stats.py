"""How a flow has been doing: its newest runs, added up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from flow_processor.clock import Clock
from flow_processor.run import RunFilter, RunStatus
from flow_processor.service.history import History
from flow_processor.service.views import Moment, RunSummary, View
from flow_processor.store import Store

MOST_FREQUENT = 10
"""So many errors and steps are named."""

_GOOD = (RunStatus.SUCCEEDED, RunStatus.EXITED)
_BAD = (RunStatus.FAILED, RunStatus.INTERRUPTED)


class DurationStats(View):
    """How long runs took, in seconds; of those that began and ended."""

    average: float
    """All of them together, divided by their number."""
    p50: float
    """Half of them took no longer."""
    p90: float
    """Nine of ten took no longer."""
    p99: float
    """99 of 100 took no longer."""
    max: float
    """None took longer."""


class ErrorCount(View):
    """How many runs an error ended."""

    code: str
    """Its code."""
    runs: int
    """How many failed or were interrupted with it."""


class StepCount(View):
    """How many runs failed in a step."""

    step: str
    """Its path, without the numbers of elements: `tickets/render`."""
    runs: int
    """How many."""


class FlowStats(View):
    """How a flow has been doing."""

    flow: str
    """Path of the flow below the flows folder."""
    since: Moment | None
    """Runs accepted since then are counted; null: since ever."""
    until: Moment | None
    """Runs accepted before then are counted; null: until now."""
    runs: int
    """How many runs all figures are of."""
    complete: bool
    """False: there were more in that time, and these are the newest 10,000."""
    by_status: dict[RunStatus, int]
    """How many of them have each status."""
    success_rate: float | None
    """Of those that began and have ended: the share that succeeded or exited, from 0 to 1; null if there are none."""
    duration_seconds: DurationStats | None
    """How long they took; null if none has ended."""
    average_wait_seconds: float | None
    """Between the launch of a run and its begin; null if none has begun."""
    errors: list[ErrorCount]
    """The most frequent errors, at most 10."""
    failing_steps: list[StepCount]
    """The steps that runs failed in most often, at most 10."""
    last_run: RunSummary | None
    """The newest run, whenever it was; null if there is none."""
    last_success: RunSummary | None
    """The newest one that succeeded or exited."""
    last_failure: RunSummary | None
    """The newest one that failed or was interrupted."""
    next_run: Moment | None
    """When a schedule starts it next; null if none does."""


def flow_stats(
    store: Store,
    history: History,
    flow: str,
    *,
    since: datetime | None,
    until: datetime | None,
    next_run: datetime | None,
    clock: Clock,
) -> FlowStats:
    """The figures of a flow, of its runs that were accepted in that time."""
    now = clock.now().timestamp()

    def newest(*statuses: RunStatus) -> RunSummary | None:
        wanted = RunFilter(flow=flow, status=statuses)
        rows = store.lists.page(wanted, limit=1, after_id=None, now=now).rows
        return history.summary(rows[0]) if rows else None

    found = store.stats.of_flow(flow, since=since, until=until)
    counts = Counter(found.by_status)
    ended = len(found.durations)
    good = sum(counts[status] for status in _GOOD)
    return FlowStats(
        flow=flow,
        since=since,
        until=until,
        runs=counts.total(),
        complete=found.is_all,
        by_status=found.by_status,
        success_rate=round(good / ended, 4) if ended else None,
        duration_seconds=_durations(found.durations),
        average_wait_seconds=_average(found.waits),
        errors=[ErrorCount(code=code, runs=runs) for code, runs in found.errors.most_common(MOST_FREQUENT)],
        failing_steps=[
            StepCount(step=step, runs=runs) for step, runs in found.steps.most_common(MOST_FREQUENT)
        ],
        last_run=newest(),
        last_success=newest(*_GOOD),
        last_failure=newest(*_BAD),
        next_run=next_run,
    )


def _durations(ordered: Sequence[float]) -> DurationStats | None:
    average = _average(ordered)
    if average is None:
        return None

    def percentile(share: float) -> float:
        """The shortest time that this share of the runs did not exceed."""
        return round(ordered[max(math.ceil(share * len(ordered)) - 1, 0)], 3)

    return DurationStats(
        average=average, p50=percentile(0.5), p90=percentile(0.9), p99=percentile(0.99), max=percentile(1)
    )


def _average(values: Sequence[float]) -> float | None:
    return round(math.fsum(values) / len(values), 3) if values else None
