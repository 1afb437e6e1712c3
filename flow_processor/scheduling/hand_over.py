"""Handing due slots over: each is started, or recorded with the reason why not.

A launch is durable once it is committed, and 500 that are due at one moment must not wait for each other's commit. So
the launches of a tick are all begun first, and then waited for: they share a few commits.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from flow_processor.errors import OctospoolError, Unavailable
from flow_processor.scheduling.agenda import Agenda, Entry
from flow_processor.scheduling.rule_book import RuleBook, values_of
from flow_processor.scheduling.slots import ON_TIME_SECONDS, due_slots
from flow_processor.store.schedules import ScheduleStore

logger = logging.getLogger("octospool.scheduler")

RETRY = timedelta(seconds=5)
"""Pause before a slot is tried again that could neither be started nor recorded (a full disk, say)."""

THREADS = 8
"""Schedules that are looked at at once: one of them may have to wait for the check of its flow's expressions."""


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


Launch = Callable[[ScheduledLaunch], Future[Any]]
"""Begins to start a slot; the future is done when that is durable. What it raises may also come by the future."""


@dataclass(slots=True)
class _Begun:
    """One schedule whose due slots are being handed over."""

    entry: Entry
    slots: list[tuple[datetime, Future[Any]]] = field(default_factory=list)
    """What was begun for each, oldest first."""
    error: Exception | None = None
    """Why there are not more of them."""


class HandOver:
    """Hands over what is due."""

    def __init__(
        self,
        agenda: Agenda,
        schedules: ScheduleStore,
        rules: RuleBook,
        launch: Launch,
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
        # Most ticks have one; another thread would only cost time.
        each = map if len(entries) == 1 else self._threads.map
        begun = [one for one in each(partial(self._begin, now=now), entries) if one is not None]
        failed = [one.entry for one in begun if not self._has_finished(one, now)]
        for _ in self._threads.map(partial(self._give_up, now=now), failed):
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

    def _begin(self, entry: Entry, now: datetime) -> _Begun | None:
        """Begin to start the due slots of one schedule. None where there is nothing to finish."""
        if not self._agenda.holds(entry):
            return None
        if not entry.is_checked:
            # The one that takes its place is due at once if it is due.
            if not self.check(entry, now):
                self._agenda.plan(entry, now + RETRY)
            return None
        begun = _Begun(entry)
        try:
            self._begin_due(begun, now)
        except Exception as error:  # noqa: BLE001  told when those before it are finished
            begun.error = error
        return begun

    def _has_finished(self, begun: _Begun, now: datetime) -> bool:
        """Wait until what was begun is durable, and plan the schedule anew. False if its next slot cannot start."""
        entry = begun.entry
        error = self._attempt(entry, lambda: self._wait_for(begun))
        if error is not None and not isinstance(error, Unavailable):
            return False
        self._agenda.plan(entry, entry.next_slot() if error is None else now + RETRY)
        return True

    def _wait_for(self, begun: _Begun) -> None:
        """Raises what kept a slot from being handed over; those before it are done with then."""
        entry = begun.entry
        for slot, done in begun.slots:
            done.result()
            entry.handled_until = slot
            entry.problem = None
            now_there = self._agenda.get(entry.row.id)
            if now_there is not None and now_there is not entry:
                # Its flow file was looked at meanwhile, by what was known then.
                now_there.handled_until = max(now_there.handled_until, slot)
        if begun.error is not None:
            raise begun.error

    def _give_up(self, entry: Entry, now: datetime) -> None:
        """Record the slot that could not start; those after it are due at the next tick."""

        def work() -> None:
            slot = entry.next_slot()
            if slot is not None:
                self._skip(entry, slot, reason=f"could not start: {entry.problem}", now=now).result()
                entry.handled_until = slot

        error = self._attempt(entry, work)
        self._agenda.plan(entry, entry.next_slot() if error is None else now + RETRY)

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

    def _begin_due(self, begun: _Begun, now: datetime) -> None:
        entry = begun.entry
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
            skipped = self._skip(entry, due.skipped.last, reason=due.skipped.reason, now=now)
            begun.slots.append((due.skipped.last, skipped))
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
            begun.slots.append((slot, self._launch(launch)))

    def _skip(self, entry: Entry, slot: datetime, *, reason: str, now: datetime) -> Future[bool]:
        row = entry.row

        def tell(done: Future[bool]) -> None:
            if done.exception() is None and done.result():
                logger.warning("skipped: %s", reason, extra={"flow": row.flow})

        skipped = self._schedules.record_skipped(row.id, slot, reason=reason, at=now, revision=row.revision)
        skipped.add_done_callback(tell)
        return skipped
