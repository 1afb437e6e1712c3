"""Puts the results of steps on queues: what `store.outbox` has noted, again and again until it is there.

Between a result's commit and the moment it is noted as sent it may be put several times, after a crash say; the items'
ids are the same each time, so that whoever takes them in drops the repeats.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

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


Put = Callable[[str, Sequence[Item]], None]
"""`Backend.put`."""


@dataclass(slots=True)
class _Part:
    """A piece of a result on its way."""

    outgoing: Outgoing | None
    """None: nothing is to be sent any more."""
    ends: Note | None
    """Once this piece is sent, all of that result is."""


@dataclass(slots=True)
class _Target:
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


class ResultPublisher:
    """One thread, which begins with what is left from before."""

    def __init__(self, store: Store, results: ResultFiles, put: Put, *, clock: Clock) -> None:
        self._store = store
        self._results = results
        self._put = put
        self._clock = clock
        self._targets: dict[str, _Target] = {}
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

    def problems(self) -> list[str]:
        """Queues that take nothing now, each with the reason, for people; what is for them is kept."""
        targets = [target for target in self._targets.values() if target.problem is not None]
        return [
            f"results wait to be put on the queue '{target.queue}': {target.problem}" for target in targets
        ]

    def _work(self) -> None:
        while True:
            self._store.outbox.has_more.clear()
            give_up_at = self._give_up_at  # before the round: the last one must see all that is there by then
            try:
                pause = self._round()
            except StoreUnavailable as error:
                logger.warning("results cannot be put on queues now: %s", error)
                pause = STORE_REST_SECONDS
            except Exception:  # around one round: what waits must not wait for the next start
                logger.exception("results: unexpected error")
                pause = STORE_REST_SECONDS
            if give_up_at is not None and (pause > 0 or self._clock.monotonic() > give_up_at):
                return
            if pause > 0:
                self._clock.wait(self._store.outbox.has_more, min(pause, MAX_REST_SECONDS))

    def _round(self) -> float:
        """Send a batch to each queue for which there is something; how long it may rest then, in seconds."""
        queues = self._store.outbox.queues()
        self._targets = {queue: self._targets.get(queue) or _Target(queue) for queue in queues}
        for target in self._targets.values():
            if target.rests_until <= self._clock.monotonic():
                self._try(target)
        now = self._clock.monotonic()
        return min(
            (max(0.0, target.rests_until - now) for target in self._targets.values()), default=math.inf
        )

    def _try(self, target: _Target) -> None:
        try:
            self._send(target)
        except StoreUnavailable:
            raise
        except (OctospoolError, OSError) as error:
            self._rest(target, str(error))
        except Exception as defect:  # around one queue: the others must go on
            logger.exception("results cannot be put on the queue '%s'", target.queue)
            self._rest(target, f"{type(defect).__name__}: {defect}")

    def _send(self, target: _Target) -> None:
        """Put the next batch there. Raises what the queue says to it."""
        self._fill(target)
        parts = [target.parts[index] for index in range(min(target.most, len(target.parts)))]
        items = [part.outgoing.item for part in parts if part.outgoing is not None]
        try:
            if items:
                self._put(target.queue, items)
        except (QueueFull, InvalidRequest):
            if len(items) == 1:
                raise
            target.most = len(items) // 2
            return
        if target.problem is not None:
            logger.info("queue '%s' takes results again", target.queue)
        target.failures, target.problem, target.most = 0, None, min(target.most * 2, BATCH_ITEMS)
        sent = [part.ends for part in parts if part.ends is not None]
        if sent:
            forget = self._store.writer.submit(
                lambda connection: forget_notes(connection, sent), lazy=True, keep=True
            )
            forget.result()  # before what comes next is looked up
        for _part in parts:
            target.parts.popleft()

    def _rest(self, target: _Target, why: str) -> None:
        """The queue takes nothing now."""
        if target.problem is None:
            logger.warning("queue '%s' takes no results now, they are kept: %s", target.queue, why)
        target.problem = why
        seconds = min(FIRST_REST_SECONDS * 2.0 ** min(target.failures, 32), MAX_REST_SECONDS)
        target.failures += 1
        target.rests_until = self._clock.monotonic() + seconds

    def _fill(self, target: _Target) -> None:
        """Look up what comes next, as much as goes at once."""
        if target.source is None and not target.parts:
            target.source = self._parts(target.queue)
        size = sum(part.outgoing.size for part in target.parts if part.outgoing is not None)
        while target.source is not None and len(target.parts) < target.most and size < BATCH_BYTES:
            part = next(target.source, None)
            if part is None:
                target.source = None
                return
            target.parts.append(part)
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
