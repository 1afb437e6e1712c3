"""A lane: the items of one queue on their way to one flow."""

from __future__ import annotations

from dataclasses import dataclass, field

from flow_processor.queues.item import Item
from flow_processor.spec.flow import ConcurrencySpec, FlowSpec, OnConflict
from flow_processor.spec.queue import AttemptsSpec
from flow_processor.store.file_items import FILES
from flow_processor.store.items import ItemRow, ItemState

IN_LINE = 2
"""For each run that a flow's `concurrency` admits, so many items are in work: the next one stands in line already, so
that none of its turns is wasted, and the others wait where their order can still change."""

PREFETCH = 20
"""So many items a flow has in work at once, if nobody says how many."""

PACE_SECONDS = 0.25
"""Or as many as end in so long: what is in work keeps the workers busy, and an urgent item waits no longer for it."""

NO_MORE = AttemptsSpec()
"""For a flow that no longer listens: what it has in work is not tried again."""


def spec_of(flow: FlowSpec, queue: str) -> AttemptsSpec | None:
    """How the flow takes the items of the queue; None: it does not listen to it."""
    if flow.on is None:
        return None
    if queue == FILES:
        return flow.on.files
    return flow.on.queue if flow.on.queue is not None and flow.on.queue.name == queue else None


@dataclass(slots=True)
class Pace:
    """How many items have ended lately. Moments are on the monotonic clock."""

    _period: int = 0
    _now: int = 0
    _before: int = 0

    def note_end(self, now: float) -> None:
        """One has ended."""
        self._turn(now)
        self._now += 1

    def lately(self, now: float) -> int:
        """About how many have ended in the last PACE_SECONDS."""
        self._turn(now)
        return max(self._now, self._before)

    def _turn(self, now: float) -> None:
        period = int(now / PACE_SECONDS)
        if period != self._period:
            self._before = self._now if period == self._period + 1 else 0
            self._period, self._now = period, 0


@dataclass(slots=True)
class Lane:
    """How a flow stands with a queue. Changed under the intake's lock."""

    queue: str
    flow: str
    spec: AttemptsSpec = NO_MORE
    limit: int | None = None
    """How many items may be in work as the flow's `concurrency` has it; None: any number."""
    is_listening: bool = False
    in_work: int = 0
    """Items that were offered, and whose runs have not ended."""
    pace: Pace = field(default_factory=Pace)
    blocked_until: float = 0.0
    """On the monotonic clock; until then nothing is launched."""
    problem: str | None = None
    """Why nothing can be launched, for people."""
    awaits_room: bool = False
    """Somebody was told that there is no room."""
    left_at: float | None = None
    """On the monotonic clock: since when the flow listens no more; None: it does, or that was not looked at."""
    next_due: float | None = None
    """When a further attempt of an item is due, in seconds since 1970."""

    def listen(self, spec: AttemptsSpec, concurrency: ConcurrencySpec) -> None:
        """The flow listens as its file says now."""
        is_parallel = concurrency.on_conflict is OnConflict.PARALLEL
        self.spec, self.is_listening, self.left_at = spec, True, None
        self.limit = None if is_parallel else IN_LINE * concurrency.limit
        self.blocked_until = 0.0

    def leave(self) -> None:
        """The flow listens no more."""
        self.spec, self.is_listening, self.problem = NO_MORE, False, None

    def room(self, prefetch: int | None, now: float) -> int:
        """How many more items may be in work, `now` on the monotonic clock."""
        most = max(PREFETCH, self.pace.lately(now)) if prefetch is None else prefetch
        most = most if self.limit is None else min(most, self.limit)
        return max(most - self.in_work, 0)


@dataclass(slots=True)
class Delivery:
    """One attempt: an item, the flow that has it, and its run."""

    lane: Lane
    item: Item
    """Without its value where that need not be kept."""
    attempt: int
    run_id: str | None = field(default=None)

    def row(self, run_id: str | None, daemon: str | None) -> ItemRow:
        """Its row in the ledger, while it is under way."""
        return ItemRow(
            queue=self.lane.queue,
            item=self.item.id,
            flow=self.lane.flow,
            state=ItemState.RUNNING,
            attempt=self.attempt,
            run_id=run_id,
            name=self.item.name,
            put_at=self.item.put_at,
            priority=self.item.priority,
            daemon=daemon,
        )


def item_of(row: ItemRow, value: object = None) -> Item:
    """The item that a row of the ledger is about."""
    return Item(
        id=row.item, queue=row.queue, value=value, put_at=row.put_at, name=row.name, priority=row.priority
    )
