"""What is due when: the schedules that are switched on, ordered by the moment at which each wants to be looked at.

A heap, so that a look at 10,000 schedules of which none is due costs no more than a look at one. Thread safe.
"""

from __future__ import annotations

import heapq
import threading
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from flow_processor.scheduling.moments import SlotRule
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store.schedule_rows import ScheduleRow


@dataclass(eq=False, slots=True)
class Entry:
    """One schedule. Only who hands its slots over changes it; others put a new one in its place."""

    row: ScheduleRow
    spec: ScheduleSpec | None
    """The rule in force; None where there is none (see `problem`)."""
    rule: SlotRule | None
    handled_until: datetime
    """Slots up to here are done with."""
    problem: str | None = None
    """Why it does not fire, or what went wrong last."""
    due: datetime | None = None
    """When to look at it next; None for never."""
    is_checked: bool = True
    """False: made of what the store remembers; what its flow file says now is looked at before it fires."""

    def next_slot(self) -> datetime | None:
        """The first slot that is not done with."""
        return None if self.rule is None else next(self.rule.slots_after(self.handled_until), None)


class Agenda:
    """All entries by id, and a heap of when they are due."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._of_flow: defaultdict[str, set[str]] = defaultdict(set)
        self._heap: list[tuple[datetime, int, Entry]] = []
        self._numbers = count()  # breaks ties, because entries have no order

    def put(self, entry: Entry) -> None:
        """Add an entry, or put it in the place of the one with its id; it is due at its next slot."""
        due = entry.next_slot()
        with self._lock:
            self._entries[entry.row.id] = entry
            self._of_flow[entry.row.flow].add(entry.row.id)
            self._plan(entry, due)

    def plan(self, entry: Entry, due: datetime | None) -> None:
        """Say when an entry is due next; ignored for one that was dropped or replaced meanwhile."""
        with self._lock:
            if self._entries.get(entry.row.id) is entry:
                self._plan(entry, due)

    def replace(self, old: Entry, new: Entry) -> None:
        """Put `new` in the place of `old`; ignored if that one was dropped or replaced meanwhile."""
        due = new.next_slot()
        with self._lock:
            if self._entries.get(old.row.id) is old:
                self._entries[old.row.id] = new
                self._plan(new, due)

    def _plan(self, entry: Entry, due: datetime | None) -> None:
        if due == entry.due:
            return  # its item is in the heap
        entry.due = due
        if due is not None:
            heapq.heappush(self._heap, (due, next(self._numbers), entry))

    def drop(self, schedule_id: str) -> bool:
        """Forget an entry; False if there is none of that id."""
        with self._lock:
            entry = self._entries.pop(schedule_id, None)
            if entry is not None:
                self._of_flow[entry.row.flow].discard(schedule_id)
            return entry is not None

    def holds(self, entry: Entry) -> bool:
        """False once the entry was dropped or replaced."""
        return self._entries.get(entry.row.id) is entry

    def entries(self) -> list[Entry]:
        """All entries."""
        with self._lock:
            return list(self._entries.values())

    def get(self, schedule_id: str) -> Entry | None:
        """The entry of that id."""
        return self._entries.get(schedule_id)

    def of_flows(self, flows: Collection[str]) -> list[Entry]:
        """All entries of these flows."""
        with self._lock:
            return [self._entries[one] for flow in flows for one in self._of_flow.get(flow, ())]

    def next_due(self) -> datetime | None:
        """When the earliest entry is due; None if none ever is."""
        with self._lock:
            self._forget_stale()
            return self._heap[0][0] if self._heap else None

    def take_due(self, now: datetime) -> list[tuple[datetime, Entry]]:
        """Take what is due out of the heap, with its moment, earliest first; each has to be planned or put again."""
        found: list[tuple[datetime, Entry]] = []
        with self._lock:
            while True:
                self._forget_stale()
                if not self._heap or self._heap[0][0] > now:
                    return found
                due, _, entry = heapq.heappop(self._heap)
                entry.due = None
                found.append((due, entry))

    def _forget_stale(self) -> None:
        """Heap items are not searched for when an entry goes or changes; they are left to come up here."""
        while self._heap:
            due, _, entry = self._heap[0]
            if entry.due == due and self._entries.get(entry.row.id) is entry:
                return
            heapq.heappop(self._heap)
