"""The scheduler: looks at the clock and hands due slots over. It runs nothing and evaluates nothing.

Every tick reads the wall clock anew, so sleep, downtime and changes of the clock need no special case but one:
if the clock went back, slots are looked at again from there, and the store refuses those that were started.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from flow_processor.clock import Clock
from flow_processor.errors import ScheduleNotFound
from flow_processor.scheduling.agenda import Agenda, Entry
from flow_processor.scheduling.changes import Changes
from flow_processor.scheduling.given import GivenSchedules
from flow_processor.scheduling.hand_over import THREADS, HandOver, Launch
from flow_processor.scheduling.rule_book import RuleBook, counts_anew, values_of
from flow_processor.scheduling.slots import ON_TIME_SECONDS
from flow_processor.scheduling.ticker import LONGEST_PAUSE_SECONDS, Ticker
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store.given_schedules import GivenScheduleStore
from flow_processor.store.schedule_rows import Origin, ScheduleRow
from flow_processor.store.schedules import ScheduleStore

logger = logging.getLogger("octospool.scheduler")


AT_ONCE = 500
"""Schedules that have just become due and are looked at in one tick: some second of work."""

BEHIND_PER_TICK = 2 * THREADS
"""Likewise of those that are behind: more were due at once, or they have missed slots, which after a downtime all of
10,000 may have. Meanwhile others must fire in time, and a stop must not wait."""


@dataclass(frozen=True, slots=True)
class AddedSchedule:
    """A schedule that is switched on, for people."""

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
    """Fires schedules. All but `tick` and `look_for_changes` may be called from any thread."""

    def __init__(
        self,
        schedules: ScheduleStore,
        given: GivenScheduleStore,
        *,
        launch: Launch,
        rule_of: Callable[[str], ScheduleSpec | None],
        check_params: Callable[[str, Mapping[str, Any]], None] = lambda flow, params: None,
        clock: Clock,
        zone: ZoneInfo,
        changed: Callable[[], Collection[str]] = frozenset,
    ):
        """What it is given:

        launch: claims the slot and inserts the run in one transaction (`ScheduleStore.claim`); makes no run if
            the claim fails. Its future is done when that is durable. Raises Unavailable (or its future does) to be
            called again later; any other error is recorded as the slot's reason.
        rule_of: a flow file's own schedule, None if it has none; raises OctospoolError where the file is bad.
        check_params: raises OctospoolError where the flow does not take these values for its parameters.
        zone: where `cron` is read unless the schedule names a zone.
        changed: paths of flows whose files changed since the last call.
        """
        self._schedules = schedules
        self._find = given.find
        self._rules = RuleBook(schedules, rule_of, check_params, zone)
        self._clock = clock
        self._zone = zone
        self._agenda = Agenda()
        self._lock = threading.RLock()
        self._ticker = Ticker(self.tick, pause=self._pause, clock=clock)
        self._hand_over = HandOver(self._agenda, schedules, self._rules, launch)
        self._changes = Changes(
            self._agenda, changed=changed, check=self._hand_over.check, wake=self._ticker.wake, clock=clock
        )
        self.given = GivenSchedules(
            given, self._agenda, self._rules, wake=self._ticker.wake, clock=clock, lock=self._lock
        )
        """Schedules whose rule a call gave."""
        self._behind: deque[Entry] = deque()
        """Schedules that are due, and are looked at a few in each tick, in the order in which they became due."""
        self.last_tick_at: datetime | None = None
        """When the clock was last looked at; None before the first time."""

    def load(self) -> None:
        """Take over what the store remembers. Before `add` and `start`."""
        now = self._clock.now()
        for row in self._schedules.active(with_last_run=False):
            self._agenda.put(self._rules.remembered(row, now=now))
        self._changes.note([entry for entry in self._agenda.entries() if not entry.is_checked])

    def take_in(self) -> None:
        """Take over what other daemons have changed in the store since `load`. Raises StoreUnavailable."""
        now = self._clock.now()
        with self._lock:
            rows = {row.id: row for row in self._schedules.active(with_last_run=False)}
            known = {entry.row.id: entry for entry in self._agenda.entries()}
            for schedule_id in known.keys() - rows.keys():
                self._agenda.drop(schedule_id)
            changed = [row for row in rows.values() if not _is_same(known.get(row.id), row)]
            entries = [self._rules.remembered(row, now=now) for row in changed]
            for entry in entries:
                self._agenda.put(entry)
        self._changes.note([entry for entry in entries if not entry.is_checked])
        self._ticker.wake()

    def start(self) -> None:
        """Begin to fire, in a thread."""
        self._ticker.start()
        self._changes.start()

    def stop(self) -> None:
        """Fire no more; waits for the hand-over that is under way."""
        self._changes.stop()
        self._ticker.stop()
        self._hand_over.close()

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
        with self._lock:
            row = self._schedules.add(
                path, origin, override=rule, timeout_seconds=timeout_seconds, params=params, at=now
            )
            if not row.active:
                logger.warning(
                    "autostart: somebody removed this flow; add it again to have it back",
                    extra={"flow": path},
                )
                return row.id
            entry = self._rules.entry(row, row.handled_until, now=now)
            self._agenda.put(entry)
        if entry.problem is not None:
            logger.warning("does not fire: %s", entry.problem, extra={"flow": path})
        self._ticker.wake()
        return row.id

    def remove(self, schedule_id: str) -> None:
        """Take a schedule out: once this returns it never fires again. Raises ScheduleNotFound."""
        with self._lock:
            if not self._schedules.remove(schedule_id):
                raise ScheduleNotFound(f"there is no schedule, and no added flow, of the id '{schedule_id}'")
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

    def added_one(self, schedule_id: str) -> AddedSchedule:
        """One of them. Raises ScheduleNotFound."""
        row, entry = self._find(schedule_id), self._agenda.get(schedule_id)
        if row is None or entry is None:
            raise ScheduleNotFound(f"there is no added flow of the id '{schedule_id}'")
        return self._view(row, entry)

    def problems(self, origin: Origin) -> list[tuple[str, str]]:
        """Flow and problem of each schedule of that origin that has one. Reads no store, for it is asked often."""
        return [
            (entry.row.flow, entry.problem)
            for entry in self._agenda.entries()
            if entry.row.origin is origin and entry.problem is not None
        ]

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

    def entry(self, schedule_id: str) -> Entry | None:
        """What is planned for a schedule; None for one that is switched off, or not there."""
        return self._agenda.get(schedule_id)

    def next_slot_of(self, flow: str) -> datetime | None:
        """The earliest slot of the flow's schedules; None if there is none."""
        slots = [entry.next_slot() for entry in self._agenda.of_flows([flow])]
        return min((slot for slot in slots if slot is not None), default=None)

    def look_for_changes(self) -> None:
        """Look at schedules again whose flow files changed. A thread calls it once a second."""
        self._changes.look()

    def look_at(self, flow: str) -> None:
        """The flow's file was written or deleted just now: look at its schedules at once."""
        for entry in self._agenda.of_flows([flow]):
            self._hand_over.check(entry, self._clock.now())
        self._ticker.wake()

    def tick(self) -> None:
        """One look at the clock: hand over what is due. The thread calls it at least once a second."""
        now = self._clock.now()
        if self.last_tick_at is not None and now < self.last_tick_at:
            self._look_again_from(now)
        fresh: list[Entry] = []
        for due, entry in self._agenda.take_due(now):
            is_late = (now - due).total_seconds() > ON_TIME_SECONDS
            (self._behind if is_late else fresh).append(entry)
        if len(fresh) > AT_ONCE:
            # First those whose slots come often: they are due again soon.
            fresh.sort(key=lambda entry: entry.handled_until, reverse=True)
            self._behind.extend(fresh[AT_ONCE:])
        entries = fresh[:AT_ONCE]
        entries += [self._behind.popleft() for _ in range(min(BEHIND_PER_TICK, len(self._behind)))]
        try:
            if entries:
                self._hand_over.hand_over(entries, now)
        except Exception:
            # Whatever it was, they are due again: what was started is not started twice, its slot is claimed.
            for entry in entries:
                self._agenda.plan(entry, now)
            raise
        self.last_tick_at = now

    def _pause(self) -> float:
        if self._behind:
            return 0.0
        due = self._agenda.next_due()
        return LONGEST_PAUSE_SECONDS if due is None else (due - self._clock.now()).total_seconds()

    def _look_again_from(self, now: datetime) -> None:
        """The clock went back. A slot that was started is not started again: its claim fails."""
        logger.warning("the clock went back to %s", now.isoformat())
        self._behind.clear()  # they are planned anew, as all are
        for entry in self._agenda.entries():
            if entry.spec is not None and counts_anew(entry.spec, entry.handled_until, now=now):
                self._hand_over.check(entry, now)
                continue
            entry.handled_until = min(entry.handled_until, now)
            self._agenda.plan(entry, entry.next_slot())


def _is_same(entry: Entry | None, row: ScheduleRow) -> bool:
    """Is a schedule planned as its row says? Which of its slots were handled each daemon finds out by itself."""
    return entry is not None and replace(entry.row, last_slot=None) == replace(row, last_slot=None)
