"""Handing due slots over: each is started, or recorded with the reason why not.

A launch waits for its commit. Slots of one tick are handed over by a few threads, so that they share commits: 500
that are due in one second would else wait for each other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from flow_processor.errors import OctospoolError, Unavailable
from flow_processor.scheduling.agenda import Agenda, Entry
from flow_processor.scheduling.rule_book import RuleBook, values_of
from flow_processor.scheduling.slots import ON_TIME_SECONDS, due_slots
from flow_processor.store.schedules import ScheduleStore

logger = logging.getLogger("octospool.scheduler")

RETRY_SECONDS = 5.0
"""Pause before a slot is tried again that could neither be started nor recorded (a full disk, say)."""

THREADS = 8
"""Schedules whose slots are handed over at once."""


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
    has_input: bool = False
    """True: the store has an `__input__` for the run."""
    revision: int = 0
    """The schedule as it was looked at; its claim fails if a call has changed it since."""


class HandOver:
    """Hands over what is due."""

    def __init__(
        self,
        agenda: Agenda,
        schedules: ScheduleStore,
        rules: RuleBook,
        launch: Callable[[ScheduledLaunch], object],
    ):
        self._agenda = agenda
        self._schedules = schedules
        self._rules = rules
        self._launch = launch
        self._check_lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="scheduler-launch")

    def close(self) -> None:
        """End its threads."""
        self._threads.shutdown()

    def hand_over(self, entries: Sequence[Entry], now: datetime) -> None:
        """Hand over the slots of these schedules that are due; each is planned anew. Returns when all are."""
        if len(entries) == 1:
            self._handle(entries[0], now)  # most ticks; another thread would only cost time
            return
        for _ in self._threads.map(partial(self._handle, now=now), entries):
            pass

    def check(self, entry: Entry, now: datetime) -> bool:
        """Look at what the schedule's flow file says now. False if that cannot be recorded at present."""

        def work() -> None:
            if not self._agenda.holds(entry):
                return  # somebody else has just looked
            checked = self._rules.entry(entry.row, entry.handled_until, now=now)
            if checked.problem is not None and checked.problem != entry.problem:
                logger.warning("does not fire: %s", checked.problem, extra={"flow": entry.row.flow})
            self._agenda.replace(entry, checked)

        with self._check_lock:
            return not isinstance(self._attempt(entry, work), Unavailable)

    def _handle(self, entry: Entry, now: datetime) -> None:
        """Hand over the due slots of one schedule. What goes wrong disturbs no other one."""
        if not self._agenda.holds(entry):
            return
        retry_at = now + timedelta(seconds=RETRY_SECONDS)
        if not entry.is_checked:
            # The one that takes its place is due at once if it is due.
            if not self.check(entry, now):
                self._agenda.plan(entry, retry_at)
            return
        error = self._attempt(entry, lambda: self._start_due(entry, now))
        if error is not None and not isinstance(error, Unavailable):
            error = self._attempt(entry, lambda: self._give_up(entry, now))
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
        spec, row = entry.spec, entry.row
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
            launch = ScheduledLaunch(
                row.id,
                row.flow,
                slot,
                timeout_seconds=row.timeout_seconds,
                params=values_of(spec, row.params),
                is_missed=late or slot != due.start[-1],
                has_input=row.has_input,
                revision=row.revision,
            )
            self._launch(launch)
            entry.handled_until = slot
            entry.problem = None

    def _skip(self, entry: Entry, slot: datetime, *, reason: str, now: datetime) -> None:
        revision = entry.row.revision
        if self._schedules.record_skipped(entry.row.id, slot, reason=reason, at=now, revision=revision):
            logger.warning("skipped: %s", reason, extra={"flow": entry.row.flow})
        entry.handled_until = slot

    def _give_up(self, entry: Entry, now: datetime) -> None:
        """Record the slot that could not start; those after it are due at the next tick."""
        slot = entry.next_slot()
        if slot is not None:
            self._skip(entry, slot, reason=f"could not start: {entry.problem}", now=now)
