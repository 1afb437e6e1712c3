"""How many files wait in each folder queue, with those that are being put."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from flow_processor.clock import Clock
from flow_processor.errors import QueueUnavailable
from flow_processor.queues.bounds import check_bounds
from flow_processor.queues.folder_line import WaitingLine
from flow_processor.queues.folder_place import Place
from flow_processor.queues.item import Item
from flow_processor.spec.queue_settings import QueueSettings


class FolderDepths:
    """Counts what waits. Thread safe."""

    def __init__(
        self,
        place_of: Callable[[str], Place],
        *,
        worked_off: Callable[[str], WaitingLine | None],
        lock: threading.RLock,
        clock: Clock,
    ) -> None:
        """`worked_off` gives the line of a queue that flows listen to: its thread looks all the time. `lock` is that of
        all queues."""
        self._place_of = place_of
        self._worked_off = worked_off
        self._lock = lock
        self._clock = clock
        self._lines: dict[str, WaitingLine] = {}
        """What waits in queues that no flow listens to."""
        self._on_their_way = Counter[str]()
        """Items that are being put: they count, or several calls at once would fill a queue beyond its bound."""

    def line(self, queue: str) -> WaitingLine:
        """What waits in a queue, counted. Raises QueueUnavailable."""
        with self._lock:
            found = self._worked_off(queue)
            if found is not None and found.has_looked:
                self._lines.pop(queue, None)
                return found
            line = self._lines.setdefault(queue, WaitingLine(self._place_of(queue).new, self._clock))
        # Without the lock of all queues: to read a large folder takes a while.
        with line.guard:
            try:
                line.look()
            except FileNotFoundError:
                line.forget()
            except OSError as error:
                raise unavailable(queue, error) from error
        return line

    @contextlib.contextmanager
    def room_for(
        self, queue: str, sizes: Sequence[int], settings: QueueSettings, *, any_size: bool
    ) -> Iterator[None]:
        """Put items of these sizes (bytes; `any_size`: whatever they are) meanwhile, and note them. Raises QueueFull,
        ItemTooLarge, QueueUnavailable."""
        line = self.line(queue)
        with self._lock:
            if sizes:
                waiting = line.count + self._on_their_way[queue]
                check_bounds(queue, sizes, waiting=waiting, settings=settings, any_size=any_size)
            self._on_their_way[queue] += len(sizes)
        try:
            yield
        finally:
            with self._lock:
                self._on_their_way[queue] -= len(sizes)

    def note_put(self, queue: str, items: Sequence[Item]) -> None:
        """These were put there by this process."""
        with self._lock:
            # Both: the one that is worked off may be looking for the first time, and miss them.
            lines = [self._worked_off(queue), self._lines.get(queue)]
        for line in lines:
            if line is not None:
                line.note_put(items)

    def is_awaited(self, queue: str) -> bool:
        """Are items being put there? For who holds the lock."""
        return self._on_their_way[queue] > 0

    def forget(self, queue: str) -> None:
        """The queue's folders are gone. For who holds the lock."""
        self._lines.pop(queue, None)


def unavailable(queue: str, error: OSError) -> QueueUnavailable:
    """What is said where the folders of a queue cannot be read or written."""
    return QueueUnavailable(f"the folders of queue '{queue}' cannot be worked on: {error}")
