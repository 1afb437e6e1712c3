"""The intake: starts the runs of items, follows them, tries again, and keeps the ledger."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial

from flow_processor.clock import Clock
from flow_processor.errors import OctospoolError
from flow_processor.queues.backend import Offer, Source
from flow_processor.queues.endings import Endings
from flow_processor.queues.further_attempts import FurtherAttempts
from flow_processor.queues.item import Item
from flow_processor.queues.item_launch import ItemLaunch, launch_of
from flow_processor.queues.lane import Delivery, Lane, item_of, spec_of
from flow_processor.queues.rate import RateLimits
from flow_processor.queues.upkeep import Upkeep
from flow_processor.run import Trigger
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.queue_settings import QueueSettings
from flow_processor.store import Connection, Store
from flow_processor.store.items import ItemRow, begin_again, begin_first, begin_next
from flow_processor.store.runs import RunRow

logger = logging.getLogger("octospool.queues")

BLOCKED_SECONDS = 5.0
"""Pause before something is launched again where nothing could be: the flow is broken, the disk is full."""

GATHER_SECONDS = 0.01
"""Pause between two turns: what ends meanwhile is noted together."""

_Begin = Callable[[Connection, ItemRow], bool]


class ItemIntake:
    """Takes items in. Thread safe; see `backend.Intake`."""

    def __init__(
        self,
        store: Store,
        *,
        launch: Callable[[ItemLaunch], Future[RunRow | None]],
        source: Callable[[str], Source],
        settings_of: Callable[[str], QueueSettings],
        clock: Clock,
    ) -> None:
        """What it is given:

        launch: starts a run that waits its turn; the future is done when it is durable, None where the claim refused.
            Raises OctospoolError where nothing of that flow can be launched now. It does not wait.
        source: where the items of a queue come from.
        """
        self._store = store
        self._launch = launch
        self._source = source
        self._settings_of = settings_of
        self._clock = clock
        self._rates = RateLimits(settings_of, clock=clock)
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._live: dict[str, Delivery] = {}
        """What is under way, by the id of its run."""
        self._paused: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_closed = False
        """True: nothing more is started."""
        self._stopping = threading.Event()
        self._endings = Endings(store, source, clock=clock, on_due=self._is_due, wake=self._wake.set)
        self._attempts = FurtherAttempts(
            store, self._endings, source, begin=self._begin_next, on_due=self._is_due
        )
        self._upkeep = Upkeep(
            store,
            self._endings,
            source,
            settings_of=settings_of,
            lane_of=self._lane_of,
            end_missed=self._end_missed,
            clock=clock,
        )
        self._thread = threading.Thread(target=self._work, name="intake", daemon=True)

    def listen(self, flows: Mapping[str, FlowSpec], queues: Mapping[str, list[str]]) -> None:
        """From now on these flows take items: those of `queues`, by queue. A flow that is not in `flows` cannot be
        read now: it is asked for all the same, and its items wait."""
        with self._lock:
            wanted = {(queue, flow) for queue, found in queues.items() for flow in found}
            for queue, flow in wanted:
                lane = self._lane(queue, flow)
                spec = spec_of(flows[flow], queue) if flow in flows else None
                if spec is not None:
                    lane.listen(spec, flows[flow].concurrency)
                lane.is_listening = True
            for key, lane in self._lanes.items():
                if key not in wanted and lane.is_listening:
                    lane.leave()
        self._wake.set()

    def load(self) -> None:
        """Take over what the ledger says is under way: before any of these runs goes on. Raises StoreUnavailable."""
        with self._lock:
            for row in self._store.items.running():
                lane = self._lane(row.queue, row.flow)
                lane.in_work += 1
                self._live[str(row.run_id)] = Delivery(lane, item_of(row), row.attempt, row.run_id)
            for queue, flow in self._store.items.due_flows():
                self._lane(queue, flow).next_due = self._store.items.next_due(queue, flow)

    def catch_up(self) -> None:
        """Note the ends that nobody tells, for the daemon found at its start that these runs had ended. To be called
        when it has taken over the others, and before `start`: what is told twice until then is one end. Raises
        StoreUnavailable."""
        for row in self._store.items.missed_ends():
            self._end_missed(row)

    def start(self) -> None:
        """Begin to note ends, and to try again."""
        self._thread.start()

    def close(self) -> None:
        """Start nothing more."""
        self._is_closed = True

    def stop(self) -> None:
        """Note the ends that were told so far, and nothing more."""
        self._is_closed = True
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def set_paused(self, queues: frozenset[str]) -> None:
        """Start nothing of these queues, and everything of the others again."""
        with self._lock:
            self._paused = queues
        self._wake.set()

    def room(self, queue: str, flow: str) -> int:
        """How many more items of the queue the flow takes now."""
        with self._lock:
            lane = self._lanes.get((queue, flow))
            return 0 if lane is None else self._room(lane)

    def offer(self, item: Item, flow: str) -> Future[Offer]:
        """Start a run of the flow with the item."""
        return self._begin(item, flow, attempt=1, begin=begin_first)

    def again(self, item: Item, flow: str) -> Future[Offer]:
        """Start a run of the flow with an item that it has given up."""
        return self._begin(item, flow, attempt=1, begin=begin_again)

    def problems(self, queue: str) -> list[str]:
        """Why flows take nothing of the queue, for people."""
        with self._lock:
            lanes = [lane for lane in self._lanes.values() if lane.queue == queue and lane.problem]
            return [f"{lane.flow}: {lane.problem}" for lane in lanes]

    def run_ended(self, run: RunRow) -> None:
        """A run has ended, and that is durable. Returns at once."""
        delivery = self._live.pop(run.id, None)
        if delivery is not None:
            self._give_back(delivery.lane)
            self._endings.add(delivery, run)
        elif run.item is not None and run.trigger in (Trigger.QUEUE, Trigger.FILE):
            self._endings.add_unknown(run)  # it was interrupted, and somebody resumed it

    def _lane_of(self, queue: str, flow: str) -> Lane:
        with self._lock:
            return self._lane(queue, flow)

    def _lane(self, queue: str, flow: str) -> Lane:
        """The lock is held."""
        return self._lanes.setdefault((queue, flow), Lane(queue, flow))

    def _room(self, lane: Lane) -> int:
        """The lock is held."""
        room = 0
        is_open = lane.is_listening and not self._is_closed and lane.queue not in self._paused
        now = self._clock.monotonic()
        if is_open and now >= lane.blocked_until:
            prefetch = self._settings_of(lane.queue).prefetch
            room = max(min(lane.room(prefetch, now), self._rates.room(lane.queue, lane.flow)), 0)
        lane.awaits_room |= room == 0
        return room

    def _begin(self, item: Item, flow: str, *, attempt: int, begin: _Begin) -> Future[Offer]:
        answer: Future[Offer] = Future()
        with self._lock:
            lane = self._lanes.get((item.queue, flow))
            if lane is None or self._is_closed:
                answer.set_result(Offer.LATER)
                return answer
            lane.in_work += 1
        self._rates.take(item.queue, flow)
        delivery = Delivery(lane, item, attempt)

        def claim(connection: Connection, run: RunRow) -> bool:
            if not begin(connection, delivery.row(run.id, self._store.daemon)):
                return False
            delivery.run_id = run.id
            self._live[run.id] = delivery  # before anybody can tell of its end
            return True

        try:
            launched = self._launch(launch_of(delivery, claim))
        except Exception as error:  # whatever it is: one that nobody answers would take up room for ever
            if not isinstance(error, OctospoolError):
                logger.exception("queue '%s': unexpected error", item.queue, extra={"flow": flow})
            self._block(lane, error)
            answer.set_result(Offer.LATER)
        else:
            launched.add_done_callback(partial(self._launched, delivery, answer))
        return answer

    def _launched(self, delivery: Delivery, answer: Future[Offer], done: Future[RunRow | None]) -> None:
        lane, error = delivery.lane, done.exception()
        if error is not None:
            if delivery.run_id is not None:
                self._live.pop(delivery.run_id, None)
            self._block(lane, error)
            answer.set_result(Offer.LATER)
            return
        lane.problem = None
        if done.result() is None:
            self._give_back(lane)
            answer.set_result(Offer.REPEATED)
            return
        answer.set_result(Offer.TAKEN)

    def _block(self, lane: Lane, error: BaseException) -> None:
        """Nothing of the lane can be launched for a while."""
        message = error.message if isinstance(error, OctospoolError) else f"{type(error).__name__}: {error}"
        with self._lock:
            lane.in_work -= 1
            lane.blocked_until = self._clock.monotonic() + BLOCKED_SECONDS
            is_new = lane.problem != message and not self._is_closed
            lane.problem = message
        if is_new:
            logger.warning("queue '%s': items wait: %s", lane.queue, message, extra={"flow": lane.flow})

    def _give_back(self, lane: Lane) -> None:
        """An item of the lane is no longer in work."""
        with self._lock:
            lane.in_work -= 1
            lane.pace.note_end(self._clock.monotonic())
            tell = lane.awaits_room and self._room(lane) > 0
            if tell:
                lane.awaits_room = False
            is_due = lane.next_due is not None
        if tell:
            self._source(lane.queue).has_room(lane.queue, lane.flow)
        if is_due:
            self._wake.set()

    def _is_due(self, lane: Lane, at: float) -> None:
        """A further attempt is due then, in seconds since 1970."""
        with self._lock:
            lane.next_due = at if lane.next_due is None else min(lane.next_due, at)
        self._wake.set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._clock.wait(self._wake, self._pause())
            self._clock.wait(self._stopping, GATHER_SECONDS)
            self._wake.clear()
            try:
                self._endings.flush()
                self._tell_rooms()
                self._try_again()
                if self._upkeep.pause() <= 0:
                    self._upkeep.look()
            except Exception:  # around one turn: what is missed now is found by the next look
                logger.exception("items: unexpected error")
        self._endings.flush()

    def _pause(self) -> float:
        """Seconds until something is to be done by itself."""
        now, moment = self._clock.monotonic(), self._clock.now().timestamp()
        pauses = [self._upkeep.pause(), self._endings.pause()]
        with self._lock:
            for lane in self._lanes.values():
                if lane.awaits_room or lane.next_due is not None:
                    pauses += [lane.blocked_until - now] if lane.blocked_until > now else []
                    rate = self._rates.wait_seconds(lane.queue, lane.flow)
                    pauses += [rate] if rate > 0 else []
                if lane.next_due is not None and (lane.next_due > moment or self._room(lane) > 0):
                    pauses.append(lane.next_due - moment)
        return max(min(pauses), 0.001)

    def _tell_rooms(self) -> None:
        """Tell those that were told that there is no room, and for which there is by now."""
        with self._lock:
            freed = [lane for lane in self._lanes.values() if lane.awaits_room and self._room(lane) > 0]
            for lane in freed:
                lane.awaits_room = False
        for lane in freed:
            self._source(lane.queue).has_room(lane.queue, lane.flow)

    def _try_again(self) -> None:
        """Launch further attempts that are due."""
        now = self._clock.now().timestamp()
        with self._lock:
            lanes = [
                (lane, room)
                for lane in self._lanes.values()
                if lane.next_due is not None and lane.next_due <= now and (room := self._room(lane)) > 0
            ]
        for lane, room in lanes:
            with self._lock:
                lane.next_due = None  # before the ledger is asked: what becomes due meanwhile is told
            self._attempts.launch(lane, limit=room, now=now)

    def _begin_next(self, item: Item, flow: str, attempt: int) -> Future[Offer]:
        return self._begin(item, flow, attempt=attempt, begin=begin_next)

    def _end_missed(self, row: ItemRow) -> None:
        run = self._store.runs.get(str(row.run_id))
        delivery = self._live.pop(str(row.run_id), None)
        if delivery is None:
            delivery = Delivery(self._lane_of(row.queue, row.flow), item_of(row), row.attempt, row.run_id)
        else:
            self._give_back(delivery.lane)
        if run is None:
            self._endings.add_gone(delivery)
        else:
            self._endings.add(delivery, run)
