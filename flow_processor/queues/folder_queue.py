"""One queue whose items are files: takes them in, and puts them away when their runs have ended.

What holds at any moment, so that a crash loses nothing and starts nothing twice: a file in `processing/` has, for each
flow that listened when it was taken, a row in the ledger, or an offer or a row on its way there. What was on its way
when the process died is made up for at the next start (`_recover`); what a turn could not do to the end, because the
disk refused, by the next turn.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from flow_processor.clock import Clock
from flow_processor.queues.backend import Intake
from flow_processor.queues.content import ContentRefused
from flow_processor.queues.folder_content import Content, NotYet, read_content
from flow_processor.queues.folder_done import DoneFiles
from flow_processor.queues.folder_line import WaitingLine
from flow_processor.queues.folder_names import Named, known, named
from flow_processor.queues.folder_offers import FolderOffers, Listener, Taken
from flow_processor.queues.folder_place import Place
from flow_processor.queues.item import Item, new_item_id
from flow_processor.queues.reason_file import told_of
from flow_processor.spec.queue_settings import QueueSettings
from flow_processor.store import Store
from flow_processor.store.items import NO_FLOW, ItemRow, ItemState, fail_due

logger = logging.getLogger("octospool.queues")

AT_ONCE = 500
"""So many items are looked up in the ledger, or taken, in one piece."""


PUT_AWAY_SECONDS = 0.1
"""How often files are put away: nobody waits for that, and the ledger is asked about many of them at once."""


class FolderQueue:
    """One queue. The guard is held whenever files of it are moved; `turn` belongs to one thread."""

    def __init__(
        self,
        place: Place,
        *,
        store: Store,
        intake: Intake,
        settings: QueueSettings,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        """`wake`: `turn` has something to do."""
        self.place = place
        self.guard = threading.RLock()
        self.line = WaitingLine(place.new, clock)
        self.problem: str | None = None
        """What keeps it from being worked off, for people."""
        self.refused_until = 0.0
        """On the monotonic clock; until then it is not worked on."""
        self.is_paused = False
        self._store = store
        self._settings = settings
        self._clock = clock
        self._offers = FolderOffers(place.queue, store=store, intake=intake, clock=clock, wake=wake)
        self._done = DoneFiles(place.done, settings.keep_done, clock=clock)
        self._told: deque[str] = deque()
        """Items of which something has ended."""
        self._put_away_at = 0.0
        """On the monotonic clock."""
        self._on_hand: list[Taken] = []
        """Files that were moved to `processing/`, and are not offered yet."""
        self._refused: dict[str, ItemRow] = {}
        """Files on their way to `failed/`, and not in the ledger yet; by the names they get there."""
        self._to_recover = True
        self._is_first_look = True
        """Nothing was recovered yet."""
        self._is_half_done = False
        """The last turn broke off."""

    def listen(self, flows: Sequence[str]) -> None:
        """From now on these flows get the items."""
        with self.guard:
            # Files that nobody listened for at the start may lie in `processing/`.
            self._to_recover |= not self._offers.listeners and bool(flows)
            self._offers.listen(flows)

    def has_ended(self, item_id: str) -> None:
        """The ledger says that a flow is done with the item. Returns at once."""
        self._told.append(item_id)

    def turn(self) -> bool:
        """One turn: put away what has ended, offer what waits. Was there anything to do? Raises OSError,
        StoreUnavailable."""
        with self.guard:
            if self._to_recover:
                self._recover()
            if self._is_half_done:
                self._make_up()
            self._is_half_done = True
            self._told.extend(self._offers.take_answers())
            is_busy = self._put_away()
            is_busy |= self._done.prune()
            has_files = self.line.look()
            if not self.is_paused:
                for listener in self._offers.listeners:
                    is_busy |= listener.waits and self._offer_waiting(listener)
                is_busy |= has_files and self._take()
            self._is_half_done = False
            return is_busy

    def _make_up(self) -> None:
        """Go on where the last turn broke off."""
        self.place.make()
        for listener in self._offers.listeners:
            listener.waits = True  # it may have been about to be offered what waits for it
        self.line.look_again()
        self._offer_taken()
        for kept in list(self._refused):
            if os.path.lexists(self.place.failed / kept):
                self._note_refused(kept)
        self._refused.clear()  # what is in `new/` still is refused anew

    def _take(self) -> bool:
        """Take files from `new/` as long as a flow has room for which nothing waits."""
        number = min(self._offers.most_room(), AT_ONCE)
        # Each that is there counts: among many that cannot be taken yet, no turn must last for ever.
        while number > 0 and (file := self.line.next()) is not None:
            number -= self._take_one(file)
        return self._offer_taken()

    def _offer_taken(self) -> bool:
        if not self._on_hand:
            return False
        # Before any run is accepted: a power cut must not put a file back whose run is remembered.
        self.place.sync_taken()
        taken, self._on_hand = self._on_hand, []
        self._offers.offer_all(taken)
        return True

    def _take_one(self, file: str) -> bool:
        """Take a file if that can be done now. Was it there at all?"""
        now = self._clock.now()
        name = named(file, new_id=lambda: new_item_id(now))
        try:
            content = self._read(self.place.new / file, now=now.timestamp())
            if self.place.take(file, name.kept):
                self._on_hand.append((self._item(name, content), name))
        except NotYet:
            self.line.look_again()
        except ContentRefused as error:
            self._refuse(file, name, error)
        except FileNotFoundError:
            if os.path.lexists(self.place.new / file):
                raise  # it cannot be moved: a folder is missing
            return False  # whoever dropped it took it back; or it was taken already, and the line was told of it twice
        return True

    def _read(self, path: Path, *, now: float | None) -> Content:
        return read_content(path, max_bytes=int(self._settings.max_item_bytes), now=now)

    def _item(self, name: Named, content: Content) -> Item:
        value = content.value
        if content.is_binary:
            data = self.place.root.parent.parent
            file = (self.place.processing / name.kept).relative_to(data).as_posix()
            value = {"file": file, "name": name.name, "size": content.size}
        return Item(
            id=name.id,
            queue=self.place.queue,
            value=value,
            put_at=content.changed_at,
            name=name.name,
            priority=name.priority,
        )

    def _refuse(self, file: str, name: Named, error: ContentRefused) -> None:
        """What can never be an item goes to `failed/`, with the reason."""
        logger.warning("queue '%s': '%s' is refused: %s", self.place.queue, name.name or file, error.message)
        row = self._refused_row(name, {"code": error.code, "message": error.message})
        self._refused[name.kept] = row
        self.place.fail(name.kept, told_of([row], queue=self.place.queue), source=self.place.new / file)
        self._note_refused(name.kept)

    def _note_refused(self, kept: str) -> None:
        self._offers.insert([self._refused[kept]])
        del self._refused[kept]

    def _refused_row(self, name: Named, reason: dict[str, Any]) -> ItemRow:
        now = self._clock.now().timestamp()
        waiting = self._offers.row(name, NO_FLOW, now)
        return replace(waiting, state=ItemState.FAILED, next_at=None, error=json.dumps(reason), ended_at=now)

    def _offer_waiting(self, listener: Listener) -> bool:
        """Offer what was taken before and waits for this flow."""
        rows = self._offers.waiting(listener)
        gone: list[ItemRow] = []
        for row in rows:
            name = Named(row.item, row.name, row.priority)
            try:
                content = self._read(self.place.processing / name.kept, now=None)
            except (NotYet, ContentRefused, OSError) as error:
                logger.error("queue '%s': item %s is lost: %s", self.place.queue, row.item, error)
                gone.append(row)
                continue
            self._offers.offer(listener, self._item(name, content), name)
        if gone:
            self._give_up_waiting(
                gone, code="item_gone", message="its file can no longer be read in processing/"
            )
        return bool(rows)

    def _give_up_waiting(self, rows: Sequence[ItemRow], *, code: str, message: str) -> None:
        error = json.dumps({"code": code, "message": message})
        now = self._clock.now().timestamp()
        self._store.writer.run(lambda connection: fail_due(connection, rows, error=error, at=now))
        self._told.extend(row.item for row in rows)

    def _put_away(self) -> bool:
        """Move the files of items that have ended for every flow: to `done/`, or to `failed/` with the reasons."""
        now = self._clock.monotonic()
        if len(self._told) < AT_ONCE and now < self._put_away_at:
            return False
        self._put_away_at = now + PUT_AWAY_SECONDS
        told = {self._told.popleft() for _ in range(min(len(self._told), AT_ONCE))}
        ids = [item_id for item_id in told if not self._offers.is_open(item_id)]
        try:
            for item_id, rows in self._store.items.of_items(self.place.queue, ids).items():
                if all(row.has_ended for row in rows):
                    self._put_one_away(item_id, rows)
        except BaseException:
            self._told.extend(ids)
            raise
        return bool(told)

    def _put_one_away(self, item_id: str, rows: Sequence[ItemRow]) -> None:
        # An id may have come with one priority for one flow and, when that was done with it, with another for the next.
        kept_names = {Named(item_id, row.name, row.priority).kept for row in rows}
        again = self._offers.repeated.pop(item_id, None)
        if again is not None and again.kept not in kept_names:
            self.place.remove(self.place.processing, again.kept)
        failed = [row for row in rows if row.state is ItemState.FAILED]
        for kept in kept_names:
            if not failed:
                self.place.finish(kept)
            elif os.path.lexists(self.place.processing / kept):
                self.place.fail(kept, told_of(failed, queue=self.place.queue))

    def _recover(self) -> None:
        """Make up for what was on its way into the ledger when the process died.

        At the start an item may lack the row of one of several listeners. Later, when there is a first listener, only
        those are left that nobody has: an item that other flows had is not for one that began to listen after that.
        """
        self.place.make()
        self.place.remove_unfinished(self._clock)
        for found in _named(self.place.names(self.place.processing)):
            rows = self._store.items.of_items(self.place.queue, found)
            settled = {item_id: name for item_id, name in found.items() if not self._offers.is_open(item_id)}
            for listener in self._offers.listeners:
                has = {
                    item
                    for item, of_item in rows.items()
                    if not self._is_first_look or listener.flow in {row.flow for row in of_item}
                }
                missing = [name for item_id, name in settled.items() if item_id not in has]
                self._offers.keep_waiting(listener, [self._taken(name) for name in missing])
            self._told.extend(item for item, of_item in rows.items() if all(row.has_ended for row in of_item))
        for found in _named(self.place.names(self.place.failed)):
            rows = self._store.items.of_items(self.place.queue, found)
            unknown = [name for item_id, name in found.items() if item_id not in rows]
            self._offers.insert([self._refused_row(name, self._reason_of(name)) for name in unknown])
        self._to_recover = self._is_first_look = False

    def _taken(self, name: Named) -> Taken:
        """A file that lies in `processing/`."""
        put_at = (self.place.processing / name.kept).lstat().st_mtime
        return Item(id=name.id, queue=self.place.queue, value=None, put_at=put_at), name

    def _reason_of(self, name: Named) -> dict[str, Any]:
        reasons = self.place.reason(name.kept).get("reasons")
        return dict(reasons[0]) if reasons else {"code": "unknown", "message": "nothing tells why"}


def _named(files: Iterator[str]) -> Iterator[dict[str, Named]]:
    """What the names of files tell that carry an id, by id, many at a time."""
    while some := list(islice(files, AT_ONCE)):
        yield {name.id: name for file in some if (name := known(file)) is not None}
