"""Watches the files that start one flow, in a thread of its own: a slow disk holds up nobody else."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

from flow_processor.clock import Clock, from_epoch, to_text
from flow_processor.errors import OctospoolError
from flow_processor.queues.backend import Intake, Offer
from flow_processor.queues.file_ends import FileEnds
from flow_processor.queues.file_look import BATCH, FileLook, item_of
from flow_processor.queues.file_pattern import FilePattern, SeenFile
from flow_processor.queues.item import Item
from flow_processor.spec.files import After, FilesSpec
from flow_processor.store.file_items import FILES, FileItems

logger = logging.getLogger("octospool.files")

LOOK_SECONDS = 0.5
"""Pause between two looks at the files, at least."""

LOOK_SHARE = 10
"""The pause is so many times as long as a look takes: many kept files cost a tenth of a processor at most."""

LONGEST_LOOK_SECONDS = 60.0

LATER_SECONDS = 5.0
"""Pause before a file is offered again, or put away again, after that did not work."""

FORGET_EVERY_SECONDS = 3600.0

FORGET_SECONDS = 7 * 86_400.0
"""So long a file is remembered that is not there: a disk may be away for a while."""

STOP_SECONDS = 5.0
"""So long a stop waits for a look or a move that is under way: a disk may never answer."""


class FileWatcher:
    """Offers the files of one flow, and puts them away. Its methods may be called from any thread."""

    def __init__(
        self,
        flow: str,
        spec: FilesSpec,
        *,
        folder: Path,
        pattern: FilePattern,
        ledger: FileItems,
        intake: Intake,
        mover_of: Callable[[str], str | None],
        ends: FileEnds,
        clock: Clock,
    ) -> None:
        """`mover_of` tells which flow puts a file away, by its path; None: nobody does."""
        self.flow = flow
        self.spec = spec
        self._folder = folder
        self._ledger = ledger
        self._intake = intake
        self._mover_of = mover_of
        self._ends = ends
        self._clock = clock
        self._look = FileLook(pattern, folder, settle_seconds=spec.settle_seconds, clock=clock)
        self._wake = threading.Event()
        self._stopping = False
        self._told: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        """What others have told this thread to do."""
        self._waiting: deque[SeenFile] = deque()
        self._look_at = 0.0
        """When to look next, by the monotonic clock."""
        self._in_work: dict[str, tuple[str, SeenFile | None]] = {}
        """Items that the flow has: paths, and what was seen where that is known."""
        self._to_put_away: dict[str, str] = {}
        """Ended items whose file is still to go: paths."""
        self._put_away_at = 0.0
        self._held_up: dict[str, str] = {}
        self._done_before: set[str] = set()
        self._forget_at = 0.0
        self._absent: set[str] = set()
        """Remembered items that were not there the last time somebody looked for such."""
        self._is_missing = False
        self._is_more = False
        """Did the last look leave files out?"""
        self._problem: str | None = None
        self._logged: set[str] = set()
        """Problems that stand in the log, as long as they last."""
        self._thread = threading.Thread(target=self._work, name=f"files of {flow}", daemon=True)

    def start(self) -> None:
        """Begin; what the ledger has of before is gone on with."""
        self._thread.start()

    def stop(self) -> None:
        """Offer nothing more. What the thread is at that waits for a disk may go on; it harms nobody."""
        self._stopping = True
        self._wake.set()

    def join(self) -> None:
        """Wait for the end of the thread, a while."""
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def has_room(self) -> None:
        """The flow takes more files again."""
        self._wake.set()

    def has_ended(self, item: str) -> None:
        """The flow is done with an item, or has given it up."""
        self._tell(partial(self._ended, item))

    def another_has_ended(self, item: str) -> None:
        """So is another flow."""
        if item in self._to_put_away:
            self._tell(partial(self._hold_up_no_more, item))

    def problems(self) -> list[str]:
        """What keeps files from starting the flow or from being put away, for people."""
        found = [] if self._problem is None else [self._problem]
        if self._is_missing:
            found.append(f"there is no folder {self.spec.folder}/ yet")
        return [*found, *(f"{path} {why}" for path, why in {**self._look.refused(), **self._held_up}.items())]

    def _tell(self, what: Callable[[], None]) -> None:
        self._told.put(what)
        self._wake.set()

    def _work(self) -> None:
        is_known = False
        while not self._stopping:
            self._wake.clear()
            try:
                if not is_known:
                    self._recall()
                    is_known = True
                pause = self._turn()
                self._problem = None
            except (OSError, OctospoolError) as error:
                pause = LATER_SECONDS
                self._problem = f"cannot be watched now: {error}"
            except Exception as error:  # around one turn: without this no file would start the flow any more
                logger.exception("files of '%s': unexpected error", self.flow)
                pause = LATER_SECONDS
                self._problem = f"cannot be watched now: {error!r}"
            self._log_problems()
            self._clock.wait(self._wake, pause)

    def _recall(self) -> None:
        """Take from the ledger what was begun before this thread: by an earlier daemon, or with an earlier pattern."""
        self._in_work = {item: (path, None) for item, path in self._ledger.open_paths(self.flow).items()}
        if self.spec.after is After.KEEP:
            self._done_before = self._ledger.ended_ids(self.flow)
        else:
            ended = self._ledger.ended_paths(self.flow)
            self._to_put_away = {i: path for i, path in ended.items() if self._mover_of(path) == self.flow}

    def _turn(self) -> float:
        """Do what is to be done now; how many seconds may pass until the next turn."""
        while not self._told.empty():
            what = self._told.get()
            try:
                what()
            except OctospoolError:
                self._told.put(what)
                raise
        self._put_away()
        pause = self._offer_ready()
        return min(pause, LATER_SECONDS) if self._held_up else pause

    def _offer_ready(self) -> float:
        """Offer what is ready, as much as the flow takes; how many seconds may pass until there can be more."""
        has_offered = False
        while not self._stopping:
            if self._intake.room(FILES, self.flow) <= 0:
                return LONGEST_LOOK_SECONDS
            if not self._waiting:
                wait = self._look_at - self._clock.monotonic()
                if wait > 0 and not (has_offered and self._is_more):
                    return wait
                self._look_again()
                has_offered = False
                if not self._waiting:
                    continue
            seen = self._waiting.popleft()
            if self._look.is_ready(seen):
                self._offer(seen)
                has_offered = True
        return 0.0

    def _look_again(self) -> None:
        begun = self._clock.monotonic()
        busy = {path for path, _ in self._in_work.values()} | set(self._to_put_away.values())
        self._waiting.extend(self._look.look(busy, self._done_before))
        self._done_before = set()
        self._is_more = len(self._waiting) >= BATCH
        self._is_missing = not (self._folder / self.spec.folder).is_dir()
        now = self._clock.monotonic()
        self._look_at = now + min(max(LOOK_SHARE * (now - begun), LOOK_SECONDS), LONGEST_LOOK_SECONDS)
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_SECONDS
            self._forget_absent()

    def _forget_absent(self) -> None:
        """Forget files that were not there at two such moments. Where nothing is there at all a disk may be away."""
        there = self._look.handled_items() | self._to_put_away.keys()
        if there or self.spec.after is not After.KEEP:
            old = self._clock.now().timestamp() - FORGET_SECONDS
            absent = self._ledger.ended_ids(self.flow, before=old) - there
            self._ledger.forget(absent & self._absent, flow=self.flow)
            self._absent = absent

    def _offer(self, seen: SeenFile) -> None:
        item = item_of(seen.path, seen.version)
        changed_at = seen.version.mtime_ns / 1e9
        value = {
            "path": seen.path,
            "name": PurePosixPath(seen.path).name,
            "size": seen.version.size,
            "modified_at": to_text(from_epoch(changed_at)),
        }
        self._in_work[item] = (seen.path, seen)
        offered = self._intake.offer(
            Item(id=item, queue=FILES, value=value, put_at=changed_at, name=seen.path), self.flow
        )
        offered.add_done_callback(lambda done: self._tell(partial(self._answered, item, done.result())))

    def _answered(self, item: str, answer: Offer) -> None:
        if answer is Offer.LATER:
            self._in_work.pop(item, None)
            self._waiting.clear()
            self._look_at = self._clock.monotonic() + LATER_SECONDS
        elif answer is Offer.REPEATED and any(
            row.flow == self.flow and row.has_ended for row in self._ledger.of(item)
        ):
            self._ended(item)

    def _ended(self, item: str) -> None:
        path, seen = self._in_work.pop(item, (None, None))
        if path is None:
            return
        if self._mover_of(path) == self.flow:
            self._to_put_away[item] = path
        elif seen is not None:
            self._look.is_handled(path, seen.version)

    def _hold_up_no_more(self, item: str) -> None:
        self._held_up.pop(self._to_put_away.get(item, ""), None)

    def _put_away(self) -> None:
        """Put away what has ended; what did not work is tried again after a while."""
        now = self._clock.monotonic()
        if now >= self._put_away_at:
            self._put_away_at = now + LATER_SECONDS
            self._held_up = {}
        files = {item: path for item, path in self._to_put_away.items() if path not in self._held_up}
        if files:
            held_up = self._ends.put_away(files)
            self._held_up.update(held_up)
            self._to_put_away = {
                item: path for item, path in self._to_put_away.items() if path in self._held_up
            }

    def _log_problems(self) -> None:
        """Each stands in the log once, and once more when it was over meanwhile."""
        problems = self.problems()
        for problem in problems:
            if problem not in self._logged:
                logger.warning("files '%s': %s", self.spec.path, problem, extra={"flow": self.flow})
        self._logged = set(problems)
