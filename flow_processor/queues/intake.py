"""The intake: starts the runs of items, follows them, tries again, and keeps the ledger."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial

from flow_processor.clock import Clock
from flow_processor.errors import OctospoolError, StoreUnavailable
from flow_processor.queues.backend import Offer, Source
from flow_processor.queues.endings import Endings
from flow_processor.queues.further_attempts import FurtherAttempts
from flow_processor.queues.item import Item
from flow_processor.queues.item_launch import ItemLaunch, launch_of
from flow_processor.queues.lane import Delivery, Lane, item_of
from flow_processor.queues.lanes import Lanes
from flow_processor.queues.upkeep import Upkeep
from flow_processor.run import Trigger
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.queue_settings import QueueSettings
from flow_processor.store import Connection, Store
from flow_processor.store.items import ItemRow, begin_again, begin_first, begin_next
from flow_processor.store.runs import RunRow

logger = logging.getLogger("octospool.queues")

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
        self._clock = clock
        self._lanes = Lanes(settings_of, clock=clock)
        self._live: dict[str, Delivery] = {}
        """What is under way, by the id of its run."""
        self._wake = threading.Event()
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
            lane_of=self._lanes.of,
            end_missed=self._end_missed,
            clock=clock,
        )
        self._thread = threading.Thread(target=self._work, name="intake", daemon=True)

    def listen(self, flows: Mapping[str, FlowSpec], queues: Mapping[str, list[str]]) -> None:
        """From now on these flows take items: those of `queues`, by queue. A flow that is not in `flows` cannot be
        read now: it is asked for all the same, and its items wait."""
        self._lanes.listen(flows, queues)
        self._wake.set()

    def load(self) -> None:
        """Take over what the ledger says is under way: before any of these runs goes on. Raises StoreUnavailable."""
        for row in self._store.items.running():
            lane = self._lanes.go_on_with(row.queue, row.flow)
            self._live[str(row.run_id)] = Delivery(lane, item_of(row), row.attempt, row.run_id)
        for queue, flow in self._store.items.due_flows():
            if (at := self._store.items.next_due(queue, flow)) is not None:
                self._lanes.note_due(self._lanes.of(queue, flow), at)

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
        self._lanes.is_closed = True

    def stop(self) -> None:
        """Note the ends that were told so far, and nothing more."""
        self._lanes.is_closed = True
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def set_paused(self, queues: frozenset[str]) -> None:
        """Start nothing of these queues, and everything of the others again."""
        self._lanes.set_paused(queues)
        self._wake.set()

    def room(self, queue: str, flow: str) -> int:
        """How many more items of the queue the flow takes now."""
        return self._lanes.room(queue, flow)

    def offer(self, item: Item, flow: str) -> Future[Offer]:
        """Start a run of the flow with the item."""
        return self._begin(item, flow, attempt=1, begin=begin_first)

    def again(self, item: Item, flow: str) -> Future[Offer]:
        """Start a run of the flow with an item that it has given up."""
        return self._begin(item, flow, attempt=1, begin=begin_again)

    def problems(self, queue: str) -> list[str]:
        """Why flows take nothing of the queue, for people."""
        return self._lanes.problems(queue)

    def run_ended(self, run: RunRow) -> None:
        """A run has ended, and that is durable. Returns at once."""
        delivery = self._live.pop(run.id, None)
        if delivery is not None:
            self._give_back(delivery.lane, has_ended=True)
            self._endings.add(delivery, run)
        elif run.item is not None and run.trigger in (Trigger.QUEUE, Trigger.FILE):
            self._endings.add_unknown(run)  # it was interrupted, and somebody resumed it

    def _begin(self, item: Item, flow: str, *, attempt: int, begin: _Begin) -> Future[Offer]:
        answer: Future[Offer] = Future()
        lane = self._lanes.take_up(item.queue, flow)
        if lane is None:
            answer.set_result(Offer.LATER)
            return answer
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
        if self._lanes.block(lane, message):
            logger.warning("queue '%s': items wait: %s", lane.queue, message, extra={"flow": lane.flow})

    def _give_back(self, lane: Lane, *, has_ended: bool = False) -> None:
        """An item of the lane is no longer in work."""
        if self._lanes.give_back(lane, has_ended=has_ended):
            self._source(lane.queue).has_room(lane.queue, lane.flow)
        if lane.next_due is not None:
            self._wake.set()

    def _is_due(self, lane: Lane, at: float) -> None:
        """A further attempt is due then, in seconds since 1970."""
        self._lanes.note_due(lane, at)
        self._wake.set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._clock.wait(self._wake, self._pause())
            self._clock.wait(self._stopping, GATHER_SECONDS)
            self._wake.clear()
            try:
                self._turn()
            except Exception:  # around one turn: what is missed now is found by the next look
                logger.exception("items: unexpected error")
        try:
            self._endings.flush()
        except StoreUnavailable as error:  # the next start finds them in the rows of the runs
            logger.error("ends of items could not be noted: %s", error)

    def _turn(self) -> None:
        self._endings.flush()
        self._tell_rooms()
        self._try_again()
        if self._upkeep.pause() <= 0:
            self._upkeep.look()

    def _pause(self) -> float:
        """Seconds until something is to be done by itself."""
        pauses = [self._upkeep.pause(), self._endings.pause()]
        if (lanes := self._lanes.pause()) is not None:
            pauses.append(lanes)
        return max(min(pauses), 0.001)

    def _tell_rooms(self) -> None:
        for lane in self._lanes.freed():
            self._source(lane.queue).has_room(lane.queue, lane.flow)

    def _try_again(self) -> None:
        """Launch further attempts that are due."""
        now = self._clock.now().timestamp()
        for lane, room in self._lanes.due(now):
            self._lanes.forget_due(lane)
            self._attempts.launch(lane, limit=room, now=now)

    def _begin_next(self, item: Item, flow: str, attempt: int) -> Future[Offer]:
        return self._begin(item, flow, attempt=attempt, begin=begin_next)

    def _end_missed(self, row: ItemRow) -> None:
        run = self._store.runs.get(str(row.run_id))
        delivery = self._live.pop(str(row.run_id), None)
        if delivery is None:
            delivery = Delivery(self._lanes.of(row.queue, row.flow), item_of(row), row.attempt, row.run_id)
        else:
            self._give_back(delivery.lane)
        if run is None:
            self._endings.add_gone(delivery)
        else:
            self._endings.add(delivery, run)
