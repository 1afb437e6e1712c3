"""What the service answers about schedules."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from flow_processor.service.views import Moment, View
from flow_processor.spec.schedule import Catchup
from flow_processor.store.schedule_rows import Origin


class ScheduleState(StrEnum):
    """Where a schedule stands."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    """Switched off: it never fires."""
    FINISHED = "finished"
    """All its moments are past."""


class RuleView(View):
    """A rule; of `cron`, `every_seconds`, `at` and `repeat_count` one is not null."""

    cron: str | None = None
    """The cron text."""
    every_seconds: float | None = None
    """Seconds between two starts, without an end."""
    at: str | None = None
    """The moment of the only start, as it was written."""
    interval: float | None = None
    """Seconds between two starts of a rule with `repeat_count`."""
    repeat_count: int | None = None
    """How many starts follow the first one."""
    starts_at: str | None = None
    """No start before this moment, as it was written."""
    ends_at: str | None = None
    """No start after this moment, as it was written."""
    timezone: str
    """The zone in which cron and moments are read."""
    catchup: Catchup = Catchup.LATEST
    """What becomes of slots that were missed."""
    catchup_max: int = 100
    """With `catchup: all`: how many of them are started at most."""
    params: dict[str, Any]
    """What its runs are given for the flow's parameters; those left out have their defaults."""


class ScheduleView(RuleView):
    """A schedule, as lists show it."""

    schedule_id: str
    """Its id."""
    flow: str
    """The flow that it starts: path below the flows folder."""
    name: str | None
    """What people call it."""
    origin: Origin
    """`api`: a call gave the rule. `flow`: the flow file has it, and the flow was added by API. `autostart`: config.yml
    names the flow. Only those of `api` are changed by calls."""
    state: ScheduleState
    """`active`, `inactive` (it never fires) or `finished` (all its moments are past)."""
    next_run: Moment | None
    """The next slot; null if there is none."""
    last_run: Moment | None
    """The last slot that was handled."""
    last_run_id: str | None
    """The run that the last started slot became."""
    running: bool
    """Is a run of the flow live now?"""
    problem: str | None
    """Why it does not fire, or why its last slot started nothing; null if all is well."""
    added_at: Moment | None
    """Since when it is there."""
    added_by: str | None
    """Who added it by a call."""


class SkippedSlot(View):
    """A slot that started nothing."""

    slot: Moment
    """The moment; of several that were missed together the last one."""
    at: Moment
    """When that was recorded."""
    reason: str | None
    """Why, and how many there were before it that were missed too."""
    run_id: str | None
    """The skipped run that tells of it, where the flow was running already."""


class ScheduleDetail(ScheduleView):
    """One schedule, with what is to come and what was skipped."""

    data: Any = None
    """The `__input__` of its runs."""
    next: list[Moment]
    """Its next slots, as many as were asked for; none if it is not active."""
    skipped: list[SkippedSlot]
    """Of its last 200 slots the newest ten that started nothing, newest first."""


class SchedulePage(View):
    """A page of schedules, in the order in which they were added."""

    schedules: list[ScheduleView]
    """At most `limit` schedules."""
    next_cursor: str | None
    """Give it as `cursor` to get the next page; null on the last one."""


class SchedulePreview(RuleView):
    """When a rule would start a flow; nothing was saved."""

    next: list[Moment]
    """Its first slots if it began now."""
    problem: str | None
    """What of it is past, so that it would be refused; null if all is well."""
