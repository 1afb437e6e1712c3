"""Queues as folders (no BROKER_URL): files in `data/spool/<queue>/new/` are items, for whoever drops them there."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import cast

from flow_processor.clock import Clock
from flow_processor.documents import json_bytes
from flow_processor.errors import OctospoolError
from flow_processor.queues.backend import Intake, Listeners, Purged
from flow_processor.queues.folder_depths import FolderDepths, unavailable
from flow_processor.queues.folder_failed import FailedFiles
from flow_processor.queues.folder_line import WaitingLine
from flow_processor.queues.folder_place import Place
from flow_processor.queues.folder_queue import AT_ONCE, FolderQueue
from flow_processor.queues.item import Counts, FailedItem, Held, Item, Reason
from flow_processor.spec.base import queue_name_problem
from flow_processor.spec.queue_settings import QueueSettings
from flow_processor.store import Store

logger = logging.getLogger("octospool.queues")

POLL_SECONDS = 0.02
"""How often it is looked whether a folder has changed: one `stat` each, which costs some microseconds."""

GATHER_SECONDS = 0.004
"""Pause after a turn in which there was something to do: the next one then finds several items, which share the syncs
of their folders."""

REFUSED_SECONDS = 1.0
"""Pause before a queue is worked on again whose folders cannot be read or written."""


class FolderBackend:
    """Backend over folders. Thread safe; one thread works off all queues."""

    def __init__(
        self,
        spool: Path,
        *,
        store: Callable[[], Store],
        settings_of: Callable[[str], QueueSettings],
        clock: Clock,
    ) -> None:
        self._spool = spool
        self._store = store
        self._settings_of = settings_of
        self._clock = clock
        self._listeners: Listeners = {}
        self._paused: frozenset[str] = frozenset()
        self._queues: dict[str, FolderQueue] = {}
        """The queues that flows listen to."""
        self._ended: deque[tuple[str, str]] = deque()
        """(queue, item) of what has ended, until the thread hears of it."""
        self._lock = threading.RLock()
        self._depths = FolderDepths(
            self._place, worked_off=self._line_worked_off, lock=self._lock, clock=clock
        )
        self._intake: Intake | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)

    def start(self, intake: Intake) -> None:
        """Begin to offer what waits."""
        self._intake = intake
        self.listen(self._listeners)
        self._thread.start()

    def stop(self) -> None:
        """Offer nothing more."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def close(self) -> None:
        """Nothing is held."""

    def listen(self, listeners: Listeners) -> None:
        """From now on these flows get the items of these queues."""
        with self._lock:
            self._listeners = listeners
            for queue in listeners:
                self._make(queue)
            if self._intake is None:
                return
            for queue in listeners.keys() | self._queues.keys():
                self._queue(queue, self._intake).listen(listeners.get(queue, ()))
        self._wake.set()

    def set_paused(self, queues: frozenset[str]) -> None:
        """Offer nothing of these queues, and everything of the others again."""
        with self._lock:
            self._paused = queues
            for name, queue in self._queues.items():
                queue.is_paused = name in queues
        self._wake.set()

    def has_room(self, queue: str, flow: str) -> None:
        """The flow takes items again."""
        self._wake.set()

    def give_up(self, item: Item, reason: Reason) -> Future[None]:
        """The file is kept in any case; it goes to `failed/` once every flow has ended."""
        kept: Future[None] = Future()
        kept.set_result(None)
        return kept

    def may_try_again(self, item: Item, flow: str) -> str | None:
        """Always."""
        return None

    def has_ended(self, queue: str, item_id: str, flow: str) -> None:
        """This flow is done with the item, or has given it up."""
        # Without a lock: the store's writer calls this, and whoever holds one may wait for the writer.
        self._ended.append((queue, item_id))
        self._wake.set()

    def put(self, queue: str, items: Sequence[Item], *, any_size: bool = False) -> None:
        """Put items on a queue; durable when this returns. Raises QueueFull, ItemTooLarge, QueueUnavailable."""
        place = self._place(queue)
        items = place.absent(items)
        sizes = [len(json_bytes(item.value)) for item in items]
        with self._depths.room_for(queue, sizes, self._settings_of(queue), any_size=any_size):
            place.put(items)
            self._depths.note_put(queue, items)
        self._wake.set()

    def names(self) -> set[str]:
        """The queues that flows listen to, and those whose folders are there."""
        try:
            with os.scandir(self._spool) as entries:
                there = {
                    entry.name
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) and queue_name_problem(entry.name) is None
                }
        except FileNotFoundError:
            there = set()
        return there | set(self._listeners)

    def counts(self, queue: str) -> Counts:
        """How full a queue is."""
        line = self._depths.line(queue)
        ledger = self._store().items
        return Counts(
            waiting=line.count,
            in_work=ledger.open_count(queue),
            failed=ledger.failed_count(queue),
            oldest_at=line.oldest_at if line.count else None,
        )

    def failed(self, queue: str, *, limit: int, after: str | None = None) -> list[FailedItem]:
        """Failed items by their ids, those behind `after`."""
        return self._failed(queue).page(limit=limit, after=after)

    def failed_item(self, queue: str, item_id: str) -> FailedItem:
        """One failed item. Raises ItemNotFound."""
        return self._failed(queue).get(item_id)

    def value(self, queue: str, item_id: str) -> Held:
        """What a failed item holds. Raises ItemNotFound."""
        return self._failed(queue).value(item_id)

    def retry(self, queue: str, item_id: str) -> None:
        """Put a failed item into the queue again, for the flows that have given it up. Raises ItemNotFound."""
        with self._changing(queue):
            self._failed(queue).retry(item_id)
        self._wake.set()

    def delete(self, queue: str, item_id: str) -> None:
        """Delete a failed item. Raises ItemNotFound."""
        with self._changing(queue):
            self._failed(queue).delete(item_id)

    def purge(self, queue: str, what: Purged) -> int:
        """Delete all these items; how many went."""
        return self._purge_failed(queue) if what is Purged.FAILED else self._purge_files(queue, what)

    def _purge_failed(self, queue: str) -> int:
        number, after = 0, ""
        # In pieces: meanwhile the one thread goes on with this queue and the others.
        while True:
            with self._changing(queue):
                gone, last = self._failed(queue).purge_some(after)
            number += gone
            if last is None:
                return number
            after = last

    def _purge_files(self, queue: str, what: Purged) -> int:
        place, line = self._place(queue), self._depths.line(queue)
        folder = place.new if what is Purged.WAITING else place.done
        with self._changing(queue):
            names = list(place.names(folder)) if folder.is_dir() else []
        number = 0
        for first in range(0, len(names), AT_ONCE):
            with self._changing(queue):
                number += sum(place.remove(folder, name) for name in names[first : first + AT_ONCE])
        if what is Purged.WAITING:
            with self._changing(queue), line.guard:
                line.forget()
        return number

    def forget(self, queue: str) -> None:
        """Delete the folders of a queue if nothing is in them."""
        ledger = self._store().items
        # The locks in the order in which `listen` takes them.
        with self._lock, self._changing(queue):
            if self._listeners.get(queue) or self._depths.is_awaited(queue):
                return
            if ledger.open_count(queue) or ledger.failed_count(queue):
                return
            if self._place(queue).remove_if_empty():
                self._queues.pop(queue, None)
                self._depths.forget(queue)

    def problems(self, queue: str) -> list[str]:
        """What keeps the queue from being worked off, for people."""
        found = self._queues.get(queue)
        own = [found.problem] if found is not None and found.problem is not None else []
        return [*own, *(self._intake.problems(queue) if self._intake is not None else [])]

    def _work(self) -> None:
        pause, is_busy = 0.0, False
        while not self._stopping.is_set():
            self._clock.wait(self._stopping if is_busy else self._wake, pause)
            self._wake.clear()
            self._hear_of_ends()
            with self._lock:
                queues = list(self._queues.values())
            turns = [self._turn(queue) for queue in queues]  # each of them, whatever comes of the others
            is_busy = any(turns)
            pause = GATHER_SECONDS if is_busy else POLL_SECONDS

    def _hear_of_ends(self) -> None:
        for _ in range(len(self._ended)):
            queue, item_id = self._ended.popleft()
            with self._lock:
                # One that no flow listens to any more may have items too.
                found = self._queue(queue, cast(Intake, self._intake))
            found.has_ended(item_id)

    def _turn(self, queue: FolderQueue) -> bool:
        """One turn of a queue; what goes wrong there disturbs no other one."""
        now = self._clock.monotonic()
        if now < queue.refused_until:
            return False
        try:
            is_busy = queue.turn()
        except (OSError, OctospoolError) as error:
            if self._queues.get(queue.place.queue) is not queue:
                return False  # its folders were deleted meanwhile
            problem = f"its folders cannot be worked on: {error}"
            if queue.problem != problem:
                logger.error("queue '%s': %s", queue.place.queue, problem)
            queue.problem, queue.refused_until = problem, now + REFUSED_SECONDS
            return False
        except Exception:  # around one queue: the others go on
            logger.exception("queue '%s': unexpected error", queue.place.queue)
            queue.refused_until = now + REFUSED_SECONDS
            return False
        queue.problem = None
        return is_busy

    def _place(self, queue: str) -> Place:
        return Place(self._spool, queue)

    def _line_worked_off(self, queue: str) -> WaitingLine | None:
        found = self._queues.get(queue)
        return None if found is None else found.line

    def _failed(self, queue: str) -> FailedFiles:
        return FailedFiles(self._place(queue), self._store())

    def _make(self, queue: str) -> None:
        """Make the folders of a queue, so that people find where to drop files."""
        try:
            self._place(queue).make()
        except OSError as error:
            logger.error("queue '%s': its folders cannot be made: %s", queue, error)

    def _queue(self, queue: str, intake: Intake) -> FolderQueue:
        if queue not in self._queues:
            self._queues[queue] = FolderQueue(
                self._place(queue),
                store=self._store(),
                intake=intake,
                settings=self._settings_of(queue),
                clock=self._clock,
                wake=self._wake.set,
            )
            self._queues[queue].is_paused = queue in self._paused
        return self._queues[queue]

    @contextlib.contextmanager
    def _changing(self, queue: str) -> Iterator[None]:
        """Nothing is taken of the queue meanwhile. Raises QueueUnavailable where its folders cannot be written."""
        found = self._queues.get(queue)
        try:
            with found.guard if found is not None else contextlib.nullcontext():
                yield
        except OSError as error:
            raise unavailable(queue, error) from error
