"""The scheduler: looks at the clock and hands due slots over. It runs nothing and evaluates nothing.

Every tick reads the wall clock anew, so sleep, downtime and changes of the clock need no special case but one:
if the clock went back, slots are looked at again from there, and the store refuses those that were started.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flow_processor.clock import Clock
from flow_processor.errors import OctospoolError, ScheduleNotFound, Unavailable
from flow_processor.scheduling.agenda import Agenda, Entry
from flow_processor.scheduling.rule_book import RuleBook, counts_anew, values_of
from flow_processor.scheduling.slots import ON_TIME_SECONDS, due_slots
from flow_processor.scheduling.ticker import LONGEST_PAUSE_SECONDS, Ticker
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store.schedules import Origin, ScheduleRow, ScheduleStore

logger = logging.getLogger("octospool.scheduler")

CHANGES_SECONDS = 1.0
"""Pause between two looks at what flow files changed."""

RETRY_SECONDS = 5.0
"""Pause before a slot is tried again that could neither be started nor recorded (a full disk, say)."""


@dataclass(frozen=True, slots=True)
class ScheduledLaunch:
    """A slot to be started: what the scheduler hands over."""

    schedule_id: str
    flow: str
    """Path below the flows folder."""
    slot: datetime
    timeout_seconds: float | None
    """The run's time limit; None for the flow's own."""
    params: Mapping[str, Any]
    """Values for the flow's parameters."""
    is_missed: bool
    """True for a slot that is made up for (`catchup`): it should wait for its turn where another run of the
    flow is live, because others of the same gap are handed over together with it."""


@dataclass(frozen=True, slots=True)
class AddedSchedule:
    """A flow in the scheduler, for people."""

    schedule_id: str
    flow: str
    origin: Origin
    cron: str | None
    every_seconds: float | None
    timezone: str
    params: Mapping[str, Any]
    """What its runs are given for the flow's parameters; defaults come on top."""
    next_slot: datetime | None
    last_slot: datetime | None
    last_run_id: str | None
    problem: str | None
    """Why it does not fire, or what went wrong last; None if all is well."""


class FlowScheduler:
    """Fires schedules. `add`, `remove` and `added` may be called from any thread."""

    def __init__(
        self,
        schedules: ScheduleStore,
        *,
        launch: Callable[[ScheduledLaunch], object],
        rule_of: Callable[[str], ScheduleSpec | None],
        check_params: Callable[[str, Mapping[str, Any]], None] = lambda flow, params: None,
        clock: Clock,
        zone: ZoneInfo,
        changed: Callable[[], Collection[str]] = frozenset,
    ):
        """What it is given:

        launch: claims the slot and inserts the run in one transaction (`ScheduleStore.claim`); makes no run if
            the claim fails. Raises Unavailable to be called again later; any other error is recorded as the
            slot's reason.
        rule_of: a flow file's own schedule, None if it has none; raises OctospoolError where the file is bad.
        check_params: raises OctospoolError where the flow does not take these values for its parameters.
        zone: where `cron` is read unless the schedule names a zone.
        changed: paths of flows whose files changed since the last call.
        """
        self._schedules = schedules
        self._launch = launch
        self._rules = RuleBook(schedules, rule_of, check_params, zone)
        self._clock = clock
        self._zone = zone
        self._changed = changed
        self._agenda = Agenda()
        self._ticker = Ticker(self.tick, pause=self._pause, clock=clock)
        self._looked_for_changes_at = clock.monotonic()
        self._flows_to_read: set[str] = set()
        self.last_tick_at: datetime | None = None
        """When the clock was last looked at; None before the first time."""

    def load(self) -> None:
        """Take over what the store remembers. Before `add` and `start`."""
        now = self._clock.now()
        for row in self._schedules.active():
            self._agenda.put(self._rules.entry(row, row.handled_until, now=now))

    def start(self) -> None:
        """Begin to fire, in a thread."""
        self._ticker.start()

    def stop(self) -> None:
        """Fire no more; waits for the hand-over that is under way."""
        self._ticker.stop()

    def add(
        self,
        path: str,
        origin: Origin,
        *,
        rule: ScheduleSpec | None = None,
        timeout_seconds: float | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> str:
        """Add a flow by its normal path (as `changed` says it); `rule` replaces the flow file's own, and
        `params` lie on top of the rule's. Returns the id.

        By API: raises FlowAlreadyAdded, what `rule_of` and `check_params` raise, or InvalidRequest (no_schedule).
        An autostart entry is taken in any case, and what is wrong with it is its `problem` until its file is
        mended; one that a person removed stays out.
        """
        now = self._clock.now()
        if origin is Origin.FLOW:
            self._rules.rule(path, rule, params=params, anchor=now)
        row = self._schedules.add(
            path, origin, override=rule, timeout_seconds=timeout_seconds, params=params, at=now
        )
        if not row.active:
            logger.warning(
                "autostart: somebody removed this flow; add it again to have it back", extra={"flow": path}
            )
            return row.id
        entry = self._rules.entry(row, row.handled_until, now=now)
        if entry.problem is not None:
            logger.warning("does not fire: %s", entry.problem, extra={"flow": path})
        self._agenda.put(entry)
        self._ticker.wake()
        return row.id

    def remove(self, schedule_id: str) -> None:
        """Take a flow out: once this returns it never fires again. Raises ScheduleNotFound."""
        if not self._schedules.remove(schedule_id):
            raise ScheduleNotFound(f"no flow was added under the id '{schedule_id}'")
        self._agenda.drop(schedule_id)

    def forget_autostart(self, *, except_flows: Collection[str]) -> None:
        """Take out the autostart entries of flows that config.yml no longer names."""
        for schedule_id in self._schedules.forget_autostart(except_flows=except_flows):
            self._agenda.drop(schedule_id)

    def added(self) -> list[AddedSchedule]:
        """Every flow in the scheduler, in the order in which they were added."""
        entries = {entry.row.id: entry for entry in self._agenda.entries()}
        rows = self._schedules.active()
        return [self._view(row, entries[row.id]) for row in rows if row.id in entries]

    def _view(self, row: ScheduleRow, entry: Entry) -> AddedSchedule:
        spec = entry.spec
        return AddedSchedule(
            schedule_id=row.id,
            flow=row.flow,
            origin=row.origin,
            cron=spec.cron if spec else None,
            every_seconds=spec.every_seconds if spec else None,
            timezone=(spec.timezone if spec else None) or self._zone.key,
            params=values_of(spec, row.params) if spec else row.params or {},
            next_slot=entry.next_slot(),
            last_slot=row.last_slot,
            last_run_id=row.last_run_id,
            problem=entry.problem,
        )

    def tick(self) -> None:
        """One look at the clock: hand over what is due. The thread calls it at least once a second."""
        now = self._clock.now()
        if self.last_tick_at is not None and now < self.last_tick_at:
            self._look_again_from(now)
        self._notice_changes(now)
        for entry in self._agenda.take_due(now):
            self._handle(entry, now)
        self.last_tick_at = now

    def _pause(self) -> float:
        due = self._agenda.next_due()
        return LONGEST_PAUSE_SECONDS if due is None else (due - self._clock.now()).total_seconds()

    def _handle(self, entry: Entry, now: datetime) -> None:
        """Hand over the due slots of one schedule. What goes wrong disturbs no other one."""
        error = self._attempt(entry, lambda: self._start_due(entry, now))
        if error is not None and not isinstance(error, Unavailable):
            error = self._attempt(entry, lambda: self._give_up(entry, now))
        retry_at = now + timedelta(seconds=RETRY_SECONDS)
        self._agenda.plan(entry, entry.next_slot() if error is None else retry_at)

    def _attempt(self, entry: Entry, work: Callable[[], None]) -> Exception | None:
        try:
            work()
        except OctospoolError as error:
            logger.error("schedule: %s", error, extra={"flow": entry.row.flow})
            entry.problem = error.message
            return error
        except Exception as error:  # around one schedule: the others go on
            logger.exception("schedule: unexpected error", extra={"flow": entry.row.flow})
            entry.problem = f"{type(error).__name__}: {error}"
            return error
        return None

    def _start_due(self, entry: Entry, now: datetime) -> None:
        if entry.rule is None or entry.spec is None:
            return
        spec = entry.spec
        due = due_slots(
            entry.rule,
            after=entry.handled_until,
            until=now,
            catchup=spec.catchup,
            catchup_max=spec.catchup_max,
        )
        if due.skipped is not None:
            self._skip(entry, due.skipped.last, reason=due.skipped.reason, now=now)
        for slot in due.start:
            if not self._agenda.holds(entry):
                return
            late = (now - slot).total_seconds() > ON_TIME_SECONDS
            is_missed = late or slot != due.start[-1]
            params = values_of(spec, entry.row.params)
            limit = entry.row.timeout_seconds
            self._launch(ScheduledLaunch(entry.row.id, entry.row.flow, slot, limit, params, is_missed))
            entry.handled_until = slot
            entry.problem = None

    def _skip(self, entry: Entry, slot: datetime, *, reason: str, now: datetime) -> None:
        self._schedules.record_skipped(entry.row.id, slot, reason=reason, at=now)
        logger.warning("skipped: %s", reason, extra={"flow": entry.row.flow})
        entry.handled_until = slot

    def _give_up(self, entry: Entry, now: datetime) -> None:
        """Record the slot that could not start; those after it are due at the next tick."""
        slot = entry.next_slot()
        if slot is not None:
            self._skip(entry, slot, reason=f"could not start: {entry.problem}", now=now)

    def _look_again_from(self, now: datetime) -> None:
        """The clock went back. A slot that was started is not started again: its claim fails."""
        logger.warning("the clock went back to %s", now.isoformat())
        for entry in self._agenda.entries():
            if entry.spec is not None and counts_anew(entry.spec, entry.handled_until, now=now):
                self._flows_to_read.add(entry.row.flow)
                continue
            entry.handled_until = min(entry.handled_until, now)
            self._agenda.plan(entry, entry.next_slot())

    def _notice_changes(self, now: datetime) -> None:
        """Read the rules of flows whose files changed."""
        if self._clock.monotonic() - self._looked_for_changes_at >= CHANGES_SECONDS:
            self._looked_for_changes_at = self._clock.monotonic()
            try:
                self._flows_to_read.update(self._changed())
            except (OSError, OctospoolError) as error:
                logger.error("cannot see what flow files changed: %s", error)
        if not self._flows_to_read:
            return
        flows, self._flows_to_read = self._flows_to_read, set()
        for entry in self._agenda.entries():
            if entry.row.flow in flows:
                self._read_again(entry, now)

    def _read_again(self, entry: Entry, now: datetime) -> None:
        def work() -> None:
            self._agenda.replace(entry, self._rules.entry(entry.row, entry.handled_until, now=now))

        if isinstance(self._attempt(entry, work), Unavailable):
            self._flows_to_read.add(entry.row.flow)
