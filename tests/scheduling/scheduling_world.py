"""A clock whose hands the tests turn, and a scheduler over a real store."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from flow_processor.errors import FlowNotFound
from flow_processor.scheduling.flow_scheduler import FlowScheduler
from flow_processor.scheduling.hand_over import ScheduledLaunch
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store import Store
from flow_processor.store.given_schedules import GivenScheduleStore
from flow_processor.store.schedule_rows import Origin
from flow_processor.store.schedules import ScheduleStore
from flow_processor.store.slots import SlotOutcome, SlotRow

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PATIENCE_SECONDS = 20.0
"""Deadline of every wait for another thread."""


@dataclass(eq=False)
class _Sleeper:
    event: threading.Event
    until: float
    is_over: bool = False
    thread: str = field(default_factory=lambda: threading.current_thread().name)


class FakeClock:
    """A `Clock` that stands still until a test turns it."""

    def __init__(self, now: datetime = NOON):
        self._now = now
        self._monotonic = 1000.0
        self._changed = threading.Condition()
        self._sleepers: list[_Sleeper] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set, or until a test has moved the clock by `seconds`."""
        sleeper = _Sleeper(event, self._monotonic + seconds)
        if seconds <= 0:
            return event.is_set()
        with self._changed:
            self._sleepers.append(sleeper)
            self._changed.notify_all()
        event.wait()
        with self._changed:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
        return not sleeper.is_over

    def advance(self, seconds: float) -> None:
        """Time passes, on every clock."""
        with self._changed:
            self._monotonic += seconds
            self._now += timedelta(seconds=seconds)
            for sleeper in [one for one in self._sleepers if one.until <= self._monotonic]:
                sleeper.is_over = True
                self._sleepers.remove(sleeper)
                sleeper.event.set()

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock (or the machine slept): no time passes for those who wait."""
        self._now += timedelta(seconds=seconds)

    def wait_for_sleeper(self) -> None:
        """Wait until the scheduler's thread waits on this clock, that is, has done what there was to do."""

        def sleeps() -> bool:
            return any(sleeper.thread == "scheduler" for sleeper in self._sleepers)

        with self._changed:
            assert self._changed.wait_for(sleeps, PATIENCE_SECONDS)


@dataclass
class Launches:
    """Stands for the service: claims the slot in the store and remembers the run."""

    schedules: ScheduleStore
    store: Store
    clock: FakeClock
    started: list[ScheduledLaunch] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    refused: list[ScheduledLaunch] = field(default_factory=list)
    errors: dict[str, Exception] = field(default_factory=dict)
    """An error to raise for a flow."""
    commit_errors: dict[str, Exception] = field(default_factory=dict)
    """An error that the commit of a flow's runs comes to."""
    running: set[str] = field(default_factory=set)
    """Flows whose lock is taken: an overlap."""

    def __call__(self, launch: ScheduledLaunch) -> Future[str | None]:
        if launch.flow in self.errors:
            raise self.errors[launch.flow]
        begun: Future[str | None] = Future()
        if launch.flow in self.commit_errors:
            begun.set_exception(self.commit_errors[launch.flow])
        else:
            begun.set_result(self._start(launch))
        return begun

    def _start(self, launch: ScheduledLaunch) -> str | None:
        overlaps = launch.flow in self.running
        run_id = f"run-{launch.flow}-{launch.slot.timestamp():.0f}"
        now = self.clock.now()
        taken = self.store.writer.run(
            lambda connection: self.schedules.claim(
                connection,
                launch.schedule_id,
                launch.slot,
                outcome=SlotOutcome.SKIPPED if overlaps else SlotOutcome.STARTED,
                run_id=run_id,
                reason="overlap" if overlaps else None,
                at=now,
                revision=launch.revision,
            )
        )
        if not taken:
            self.refused.append(launch)
            return None
        if not overlaps:
            self.started.append(launch)
            self.lateness.append((now - launch.slot).total_seconds())
        return run_id

    def slots(self) -> list[str]:
        """The slots that started, as texts like `2026-11-21 12:05:00`, in the order of their start."""
        return [launch.slot.strftime("%Y-%m-%d %H:%M:%S") for launch in self.started]

    def times(self) -> list[str]:
        """Likewise without the date."""
        return [text.split()[1] for text in self.slots()]


@dataclass
class World:
    """A scheduler and everything around it."""

    clock: FakeClock
    store: Store
    schedules: ScheduleStore
    launches: Launches
    rules: dict[str, ScheduleSpec | Exception | None] = field(default_factory=dict)
    """What the flow files say."""
    changed: set[str] = field(default_factory=set)
    zone: str = "UTC"
    """TIMEZONE of the schedulers that are made from now on."""

    def __post_init__(self) -> None:
        self.scheduler = self.another_scheduler()

    def flow(self, path: str, **rule: object) -> str:
        """A flow file with this schedule, added by API; returns its id."""
        self.rules[path] = ScheduleSpec.model_validate(rule)
        return self.scheduler.add(path, Origin.FLOW)

    def edit(self, path: str, rule: ScheduleSpec | Exception | None) -> None:
        """Somebody saves the flow file."""
        self.rules[path] = rule
        self.changed.add(path)

    def pass_time(self, seconds: float, *, ticks_every: float = 1.0) -> None:
        """Time passes, with a tick as often as the thread would make one."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.clock.advance(min(ticks_every, end - self.clock.monotonic()))
            self.scheduler.look_for_changes()
            self.scheduler.tick()

    def restart(self, *, after_seconds: float = 0.0) -> None:
        """The daemon ends; another one starts later over the same store."""
        self.scheduler.stop()
        self.clock.advance(after_seconds)
        self.scheduler = self.another_scheduler()
        self.scheduler.load()
        self.scheduler.look_for_changes()
        self.scheduler.tick()

    def another_scheduler(self) -> FlowScheduler:
        """One more scheduler over the same store."""
        return FlowScheduler(
            self.schedules,
            GivenScheduleStore(self.store.writer, self.store.engine),
            launch=self.launches,
            rule_of=self._rule_of,
            check_params=self._check_params,
            clock=self.clock,
            zone=ZoneInfo(self.zone),
            changed=self._take_changed,
        )

    def skipped(self, schedule_id: str) -> list[SlotRow]:
        """What was recorded as skipped, newest first."""
        rows = self.schedules.handled(schedule_id, limit=10_000)
        return [row for row in rows if row.outcome is SlotOutcome.SKIPPED]

    def _rule_of(self, path: str) -> ScheduleSpec | None:
        if path not in self.rules:
            raise FlowNotFound(f"there is no flow '{path}'")
        rule = self.rules[path]
        if isinstance(rule, Exception):
            raise rule
        return rule

    def _check_params(self, path: str, _params: object) -> None:
        """Any values are right for a flow that is."""
        rule = self.rules.get(path)
        if isinstance(rule, Exception):
            raise rule

    def _take_changed(self) -> set[str]:
        taken, self.changed = self.changed, set()
        return taken
