"""What can be done to queues: look, put items there, decide on failed ones, pause."""

from __future__ import annotations

import contextlib
import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flow_processor.clock import Clock, from_epoch
from flow_processor.documents import NotJson, to_json_value
from flow_processor.errors import InvalidRequest, QueueNotFound
from flow_processor.flow_files.parsing import LoadedFlow
from flow_processor.queues.backend import Backend, Purged
from flow_processor.queues.item import ITEM_ID, PRIORITIES, Item, new_item_id
from flow_processor.service.put_keys import id_of_key, standing_for
from flow_processor.service.queue_views import (
    FailedItemDetail,
    FailedItems,
    ItemDone,
    ItemsPurged,
    ItemsPut,
    ItemVerb,
    QueueDetail,
    QueueView,
    failed_item_view,
    listener_view,
)
from flow_processor.spec.base import queue_name_problem
from flow_processor.spec.queue import QueueSpec
from flow_processor.spec.queue_settings import QueuesSettings
from flow_processor.store import Store
from flow_processor.store.item_counts import NOTHING, ended_count, listener_counts
from flow_processor.store.listeners import read_listeners
from flow_processor.store.queue_states import (
    QueueState,
    forget_queue_state,
    read_queue_states,
    set_queue_state,
)

logger = logging.getLogger("octospool.queues")

STUCK_SECONDS = 300.0
"""Items that wait so long, although flows listen and none of them is at work, are told by readiness."""
RATE_SECONDS = 60.0
"""Over how long a queue's speed is taken."""
_CURSOR = "after:"
"""Begins every cursor: ids of items may be anything."""

Listening = Mapping[str, LoadedFlow]
"""The flows in force that something else than a schedule starts, by path."""


class QueueVerbs:
    """The verbs of queues. Thread safe; works without a started service too, then nothing is taken."""

    def __init__(
        self,
        backend: Backend,
        store: Store,
        *,
        listening: Callable[[], Listening],
        settings: QueuesSettings,
        pause: Callable[[frozenset[str]], None],
        is_wrong_now: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        """`pause` makes exactly these queues stand still from now on. `is_wrong_now`: a flow's file is wrong as it lies
        there, and the version from before counts."""
        self._backend = backend
        self._store = store
        self._listening = listening
        self._settings = settings
        self._pause = pause
        self._is_wrong_now = is_wrong_now
        self._clock = clock

    def all(self) -> list[QueueView]:
        """Every queue that flows listen to, or that is there."""
        listening = self._listeners_by_queue()
        states = read_queue_states(self._store.engine)
        unsent = self._store.outbox.counts()
        names = sorted(listening.keys() | self._backend.names() | unsent.keys())
        return [
            self._view(name, listening.get(name, {}), states.get(name), unsent.get(name, 0)) for name in names
        ]

    def one(self, queue: str) -> QueueDetail:
        """One queue. Raises QueueNotFound."""
        listeners = self._known(queue)
        state, unsent = read_queue_states(self._store.engine).get(queue), self._store.outbox.counts()
        view = self._view(queue, listeners, state, unsent.get(queue, 0))
        rule = self._settings.of(queue)
        counts = listener_counts(self._store.engine, queue)
        return QueueDetail(
            **dict(view),
            max_items=rule.max_items,
            rate_per_second=rule.rate_per_second,
            prefetch=rule.prefetch,
            max_item_bytes=int(rule.max_item_bytes),
            listening=[
                listener_view(flow, spec, counts.get(flow, NOTHING), is_wrong_now=self._is_wrong_now(flow))
                for flow, spec in sorted(listeners.items())
            ],
        )

    def listeners(self, queue: str) -> list[str]:
        """The flows that listen to a queue."""
        return sorted(self._listeners_by_queue().get(queue, {}))

    def entitled(self, queue: str) -> list[str]:
        """The flows that get the items put there: those that listen, and those that did until their file broke."""
        before = read_listeners(self._store.engine, self._store.daemon)
        return sorted({*self.listeners(queue), *before.get(queue, ())})

    def put(
        self, queue: str, values: Sequence[Any], *, priority: int = PRIORITIES[0], key: str | None = None
    ) -> ItemsPut:
        """Put items on a queue; durable when this returns. The same `key` again means the same items: they start
        nothing anew.

        Raises InvalidRequest, ItemTooLarge, IdempotencyConflict, QueueFull, QueueUnavailable.
        """
        check_queue_name(queue)
        now = self._clock.now()
        base = new_item_id(now) if key is None else id_of_key(queue, key)
        is_one = key is None and len(values) == 1
        items = [
            Item(
                # Numbers of one length: a list is worked off in its order.
                id=base if is_one else f"{base}-{number:05d}",
                queue=queue,
                value=_json(value),
                put_at=now.timestamp(),
                priority=priority,
            )
            for number, value in enumerate(values, start=1)
        ]
        with contextlib.nullcontext() if key is None else standing_for(self._store, base, items):
            self._backend.put(queue, items)
        state = read_queue_states(self._store.engine).get(queue)
        return ItemsPut(
            queue=queue,
            ids=[item.id for item in items],
            listeners=self.listeners(queue),
            paused=state is not None and state.is_paused,
        )

    def failed(self, queue: str, *, limit: int = 100, cursor: str | None = None) -> FailedItems:
        """A page of the failed items of a queue. Raises QueueNotFound, InvalidRequest for a cursor that is none."""
        self._known(queue)
        after = None if cursor is None else _behind(cursor)
        found = self._backend.failed(queue, limit=limit + 1, after=after)
        shown = found[:limit]
        more = len(found) > limit
        return FailedItems(
            items=[failed_item_view(item) for item in shown],
            next_cursor=f"{_CURSOR}{shown[-1].id}" if more else None,
        )

    def failed_item(self, queue: str, item_id: str) -> FailedItemDetail:
        """One failed item with its value. Raises QueueNotFound, ItemNotFound."""
        self._known(queue)
        item = self._backend.failed_item(queue, item_id)
        held = self._backend.value(queue, item_id)
        return FailedItemDetail(
            **dict(failed_item_view(item)), value=held.value, has_value=held.has_value, text=held.text
        )

    def retry(self, queue: str, item_id: str, *, by: str) -> ItemDone:
        """Begin again with a failed item. Raises QueueNotFound, ItemNotFound, ItemInWork."""
        self._known(queue)
        self._backend.retry(queue, item_id)
        logger.info("queue '%s': item %s is tried again (by %s)", queue, item_id, by)
        return ItemDone(queue=queue, id=item_id, status=ItemVerb.RETRIED)

    def delete(self, queue: str, item_id: str, *, by: str) -> ItemDone:
        """Delete a failed item. Raises QueueNotFound, ItemNotFound, ItemInWork."""
        self._known(queue)
        self._backend.delete(queue, item_id)
        logger.info("queue '%s': the failed item %s is deleted (by %s)", queue, item_id, by)
        return ItemDone(queue=queue, id=item_id, status=ItemVerb.DELETED)

    def purge(self, queue: str, what: Purged, *, by: str) -> ItemsPurged:
        """Delete all items of a queue that stand so. A queue to which no flow listens, and in which nothing is left
        then, goes too, with its pause: else a name with a slip would stay in every list. Raises QueueNotFound."""
        self._known(queue)
        purged = self._backend.purge(queue, what)
        if not self.entitled(queue):
            self._backend.forget(queue)
            # Of several daemons on one store another one may need it.
            if self._store.daemon is None and queue not in self._backend.names():
                self._store.writer.run(lambda connection: forget_queue_state(connection, queue))
                self._pause(self.paused())
        logger.warning("queue '%s': %d items that were %s are deleted (by %s)", queue, purged, what.value, by)
        return ItemsPurged(queue=queue, purged=purged)

    def set_paused(self, queue: str, paused: bool, *, by: str) -> QueueDetail:
        """Let no item of a queue begin, or let them begin again; durable, and in force when this returns.

        Raises QueueNotFound, StoreUnavailable.
        """
        self._known(queue)
        state = QueueState(paused, by, self._clock.now().timestamp())
        self._store.writer.run(lambda connection: set_queue_state(connection, queue, state))
        self._pause(self.paused())
        logger.info("queue '%s' is %s (by %s)", queue, "paused" if paused else "not paused any more", by)
        return self.one(queue)

    def stuck(self) -> list[str]:
        """What keeps queues that flows listen to from being worked off, for people. One that is paused is none."""
        listening, paused = self._listeners_by_queue(), self.paused()
        found = []
        for queue, listeners in sorted(listening.items()):
            found += [f"queue '{queue}': {problem}" for problem in self._backend.problems(queue)]
            if queue not in paused and self._waits_in_vain(queue):
                who = f"{' and '.join(sorted(listeners))} listen{'s' if len(listeners) == 1 else ''}"
                found.append(
                    f"queue '{queue}': items wait, {who}, and none was taken for {STUCK_SECONDS:g} s"
                )
        return found

    def _waits_in_vain(self, queue: str) -> bool:
        counts, now = self._backend.counts(queue), self._clock.now().timestamp()
        rate = self._settings.of(queue).rate_per_second or 1.0
        since = now - max(STUCK_SECONDS, 2 / rate)
        if counts.oldest_at is None or counts.oldest_at > since or counts.in_work:
            return False
        return not ended_count(self._store.engine, queue, since=since)

    def paused(self) -> frozenset[str]:
        """The queues that stand still because somebody said so."""
        states = read_queue_states(self._store.engine)
        return frozenset(queue for queue, state in states.items() if state.is_paused)

    def _listeners_by_queue(self) -> dict[str, dict[str, QueueSpec]]:
        """Queue -> flow that listens -> how it listens."""
        found: dict[str, dict[str, QueueSpec]] = {}
        for path, flow in self._listening().items():
            if flow.spec.queue is not None:
                found.setdefault(flow.spec.queue.name, {})[path] = flow.spec.queue
        return found

    def _known(self, queue: str) -> dict[str, QueueSpec]:
        """The listeners of a queue. Raises QueueNotFound where it has none, and is not there."""
        listening = self._listeners_by_queue()
        names = self._backend.names() | listening.keys()
        if queue in names:
            return listening.get(queue, {})
        near = difflib.get_close_matches(queue, sorted(names), n=1)
        hint = f"did you mean '{near[0]}'?" if near else "GET /api/queues (octospool queue) lists all"
        raise QueueNotFound(
            f"there is no queue '{queue[:100]}': no flow listens to it, and nothing is there; {hint}",
            details={"queue": queue[:100]},
        )

    def _view(
        self, queue: str, listeners: dict[str, QueueSpec], state: QueueState | None, unsent: int
    ) -> QueueView:
        counts = self._backend.counts(queue)
        now = self._clock.now()
        oldest = None if counts.oldest_at is None else from_epoch(counts.oldest_at)
        paused = state if state is not None and state.is_paused else None
        return QueueView(
            queue=queue,
            depth=counts.waiting,
            in_work=counts.in_work,
            failed=counts.failed,
            oldest_at=oldest,
            oldest_seconds=None if oldest is None else max((now - oldest).total_seconds(), 0.0),
            unsent=unsent,
            per_minute=ended_count(self._store.engine, queue, since=now.timestamp() - RATE_SECONDS),
            listeners=sorted(listeners),
            paused=paused is not None,
            paused_by=None if paused is None else paused.by,
            paused_at=None if paused is None else from_epoch(paused.at),
            problems=self._backend.problems(queue),
        )


def check_queue_name(queue: str) -> None:
    """Raises InvalidRequest where no queue can be called so."""
    if (problem := queue_name_problem(queue)) is not None:
        raise InvalidRequest(f"queue: {problem}", code="invalid_queue_name")


def _behind(cursor: str) -> str:
    """The id behind which a page begins. Raises InvalidRequest."""
    item_id = cursor.removeprefix(_CURSOR)
    if item_id == cursor or not ITEM_ID.fullmatch(item_id):
        raise InvalidRequest(f"no page gave this cursor: {cursor[:100]!r}; begin without one")
    return item_id


def _json(value: Any) -> Any:
    try:
        return to_json_value(value)
    except NotJson as error:
        raise InvalidRequest(f"the item cannot be taken: {error}") from error
