"""Puts the results of steps on queues: what `store.outbox` has noted, again and again until it is there.

Between a result's commit and the moment it is noted as sent it may be put several times, after a crash say; the items'
ids are the same each time, so that whoever takes them in drops the repeats.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from flow_processor.clock import Clock
from flow_processor.errors import InvalidRequest, OctospoolError, QueueFull, StoreUnavailable
from flow_processor.queues.item import Item
from flow_processor.queues.outgoing import Outgoing, items_of
from flow_processor.result_files import ResultFiles, ResultLost
from flow_processor.store import Store
from flow_processor.store.outbox import Note, forget_notes

logger = logging.getLogger("octospool.queues")

BATCH_ITEMS = 500
"""So many items are put at once at most, …"""

BATCH_BYTES = 4 * 1024 * 1024
"""… with about so many bytes, or a single larger one."""

NOTES = 200
"""So many results of a queue are looked up in one query."""

FIRST_REST_SECONDS = 0.25
"""How long a queue is left alone that takes nothing now; each time twice as long, …"""

MAX_REST_SECONDS = 15.0
"""… up to this."""

STORE_REST_SECONDS = 1.0
"""Pause before the store is asked again that could not be read."""


class Puts(Protocol):
    """As much of a queues' backend as is needed here."""

    def put(self, queue: str, items: list[Item]) -> None:
        """Put items on a queue: durable when this returns."""
        ...


@dataclass(slots=True)
class _Part:
    """A piece of a result on its way."""

    outgoing: Outgoing | None
    """None: nothing is to be sent any more."""
    ends: Note | None
    """Once this piece is sent, all of that result is."""


@dataclass(slots=True)
class _Lane:
    """The way to one queue."""

    queue: str
    parts: deque[_Part] = field(default_factory=deque)
    """What comes next."""
    source: Iterator[_Part] | None = None
    """What comes behind `parts`; None: to be looked up once these are sent."""
    most: int = BATCH_ITEMS
    """So many items are tried at once; fewer where the queue has little room."""
    failures: int = 0
    rests_until: float = 0.0
    """In monotonic seconds."""
    problem: str | None = None


class Publisher:
    """One thread, which begins with what is left from before."""

    def __init__(self, store: Store, results: ResultFiles, backend: Puts, *, clock: Clock) -> None:
        self._store = store
        self._results = results
        self._backend = backend
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._give_up_at: float | None = None
        """Once it is to stop: until then (monotonic seconds) it sends what can be sent."""
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Send for so many seconds what can be sent, then leave; the next start goes on. Nothing new may come."""
        self._give_up_at = self._clock.monotonic() + seconds
        self._store.outbox.has_more.set()
        if self._thread.is_alive():
            # A little more: it may be in the middle of a batch.
            self._thread.join(seconds + MAX_REST_SECONDS)

    def problems(self) -> dict[str, str]:
        """For each queue that takes nothing now: why."""
        return {lane.queue: lane.problem for lane in list(self._lanes.values()) if lane.problem is not None}

    def _work(self) -> None:
        while True:
            self._store.outbox.has_more.clear()
            try:
                pause = self._round()
            except StoreUnavailable as error:
                logger.warning("results cannot be put on queues now: %s", error)
                pause = STORE_REST_SECONDS
            give_up_at = self._give_up_at
            if give_up_at is not None and (pause > 0 or self._clock.monotonic() > give_up_at):
                return
            if pause > 0:
                self._clock.wait(self._store.outbox.has_more, min(pause, MAX_REST_SECONDS))

    def _round(self) -> float:
        """Send a batch to each queue for which there is something; how long it may rest then, in seconds."""
        queues = self._store.outbox.queues()
        self._lanes = {queue: self._lanes.get(queue) or _Lane(queue) for queue in queues}
        for lane in self._lanes.values():
            if lane.rests_until <= self._clock.monotonic():
                self._try(lane)
        now = self._clock.monotonic()
        return min((max(0.0, lane.rests_until - now) for lane in self._lanes.values()), default=math.inf)

    def _try(self, lane: _Lane) -> None:
        try:
            self._send(lane)
        except StoreUnavailable:
            raise
        except (OctospoolError, OSError) as error:
            self._rest(lane, str(error))
        except Exception as defect:  # around one queue: the others must go on
            logger.exception("results cannot be put on the queue '%s'", lane.queue)
            self._rest(lane, f"{type(defect).__name__}: {defect}")

    def _send(self, lane: _Lane) -> None:
        """Put the next batch there. Raises what the queue says to it."""
        self._fill(lane)
        parts = [lane.parts[index] for index in range(min(lane.most, len(lane.parts)))]
        items = [part.outgoing.item for part in parts if part.outgoing is not None]
        try:
            if items:
                self._backend.put(lane.queue, items)
        except (QueueFull, InvalidRequest):
            if len(items) == 1:
                raise
            lane.most = len(items) // 2
            return
        if lane.problem is not None:
            logger.info("queue '%s' takes results again", lane.queue)
        lane.failures, lane.problem, lane.most = 0, None, min(lane.most * 2, BATCH_ITEMS)
        sent = [part.ends for part in parts if part.ends is not None]
        if sent:
            forget = self._store.writer.submit(
                lambda connection: forget_notes(connection, sent), lazy=True, keep=True
            )
            forget.result()  # before what comes next is looked up
        for _part in parts:
            lane.parts.popleft()

    def _rest(self, lane: _Lane, why: str) -> None:
        """The queue takes nothing now."""
        if lane.problem is None:
            logger.warning("queue '%s' takes no results now, they are kept: %s", lane.queue, why)
        lane.problem = why
        seconds = min(FIRST_REST_SECONDS * 2.0 ** min(lane.failures, 32), MAX_REST_SECONDS)
        lane.failures += 1
        lane.rests_until = self._clock.monotonic() + seconds

    def _fill(self, lane: _Lane) -> None:
        """Look up what comes next, as much as goes at once."""
        if lane.source is None and not lane.parts:
            lane.source = self._parts(lane.queue)
        size = sum(part.outgoing.size for part in lane.parts if part.outgoing is not None)
        while lane.source is not None and len(lane.parts) < lane.most and size < BATCH_BYTES:
            part = next(lane.source, None)
            if part is None:
                lane.source = None
                return
            lane.parts.append(part)
            size += 0 if part.outgoing is None else part.outgoing.size

    def _parts(self, queue: str) -> Iterator[_Part]:
        for note in self._store.outbox.oldest(queue, NOTES):
            before: Outgoing | None = None
            for outgoing in self._items(note):
                if before is not None:
                    yield _Part(before, None)
                before = outgoing
            yield _Part(before, note)

    def _items(self, note: Note) -> Iterator[Outgoing]:
        success = self._store.outbox.success(note)
        try:
            if success is not None:
                yield from items_of(note, success, self._results)
        except (ResultLost, ValueError, KeyError, TypeError) as error:
            # Nobody will ever be able to send it: those behind it must go on.
            logger.error(
                "a result for the queue '%s' is lost: %s (row %d of the journal)",
                note.queue,
                error,
                note.seq,
                extra={"run": note.run_id},
            )
