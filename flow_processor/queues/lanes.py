"""All lanes: how many more items each takes now, and when one that took none may take some again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from flow_processor.clock import Clock
from flow_processor.queues.lane import Lane, spec_of
from flow_processor.queues.rate import RateLimits
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.queue_settings import QueueSettings

BLOCKED_SECONDS = 5.0
"""Pause before something is launched again where nothing could be: the flow is broken, the disk is full."""


class Lanes:
    """The lanes by queue and flow. Thread safe."""

    def __init__(self, settings_of: Callable[[str], QueueSettings], *, clock: Clock) -> None:
        self._settings_of = settings_of
        self._clock = clock
        self._rates = RateLimits(settings_of, clock=clock)
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._paused: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self.is_closed = False
        """True: no lane takes anything more."""

    def listen(self, flows: Mapping[str, FlowSpec], queues: Mapping[str, list[str]]) -> None:
        """From now on these flows take items: those of `queues`, by queue. One that is not in `flows` cannot be read
        now: it listens as before."""
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

    def set_paused(self, queues: frozenset[str]) -> None:
        """Exactly these queues stand still from now on."""
        with self._lock:
            self._paused = queues

    def of(self, queue: str, flow: str) -> Lane:
        """The lane, whether the flow listens or not."""
        with self._lock:
            return self._lane(queue, flow)

    def problems(self, queue: str) -> list[str]:
        """Why flows take nothing of the queue, for people."""
        with self._lock:
            lanes = [lane for lane in self._lanes.values() if lane.queue == queue and lane.problem]
            return [f"{lane.flow}: {lane.problem}" for lane in lanes]

    def room(self, queue: str, flow: str) -> int:
        """How many more items of the queue the flow takes now."""
        with self._lock:
            lane = self._lanes.get((queue, flow))
            return 0 if lane is None else self._room(lane)

    def take_up(self, queue: str, flow: str) -> Lane | None:
        """The lane, with one item more in work; None where it takes none."""
        with self._lock:
            lane = self._lanes.get((queue, flow))
            if lane is None or self.is_closed:
                return None
            lane.in_work += 1
        self._rates.take(queue, flow)
        return lane

    def go_on_with(self, queue: str, flow: str) -> Lane:
        """The lane, with an item in work that was begun before this process."""
        with self._lock:
            lane = self._lane(queue, flow)
            lane.in_work += 1
            return lane

    def give_back(self, lane: Lane, *, has_ended: bool) -> bool:
        """An item of the lane is no longer in work; `has_ended`: its run has ended just now. Is somebody to be told
        that there is room again?"""
        with self._lock:
            lane.in_work -= 1
            if has_ended:
                lane.pace.note_end(self._clock.monotonic())
            return self._is_to_tell(lane)

    def block(self, lane: Lane, message: str) -> bool:
        """Nothing of the lane can be launched for a while, for people; the item is not in work. Is that new?"""
        with self._lock:
            lane.in_work -= 1
            lane.blocked_until = self._clock.monotonic() + BLOCKED_SECONDS
            is_new = lane.problem != message and not self.is_closed
            lane.problem = message
            return is_new

    def freed(self) -> list[Lane]:
        """Those of which somebody was told that there is no room, and for which there is by now."""
        with self._lock:
            return [lane for lane in self._lanes.values() if self._is_to_tell(lane)]

    def note_due(self, lane: Lane, at: float) -> None:
        """A further attempt is due then, in seconds since 1970."""
        with self._lock:
            lane.next_due = at if lane.next_due is None else min(lane.next_due, at)

    def due(self, now: float) -> list[tuple[Lane, int]]:
        """Lanes with further attempts that are due at `now`, in seconds since 1970, and how many they take."""
        with self._lock:
            return [
                (lane, room)
                for lane in self._lanes.values()
                if lane.next_due is not None and lane.next_due <= now and (room := self._room(lane)) > 0
            ]

    def forget_due(self, lane: Lane) -> None:
        """The ledger is about to be asked: what becomes due from now on is noted anew."""
        with self._lock:
            lane.next_due = None

    def pause(self) -> float | None:
        """Seconds until a lane is to be looked at by itself; None: it need not be."""
        now, moment = self._clock.monotonic(), self._clock.now().timestamp()
        pauses: list[float] = []
        with self._lock:
            for lane in self._lanes.values():
                if lane.awaits_room or lane.next_due is not None:
                    pauses += [lane.blocked_until - now] if lane.blocked_until > now else []
                    rate = self._rates.wait_seconds(lane.queue, lane.flow)
                    pauses += [rate] if rate > 0 else []
                if lane.next_due is not None and (lane.next_due > moment or self._room(lane) > 0):
                    pauses.append(lane.next_due - moment)
        return min(pauses, default=None)

    def _lane(self, queue: str, flow: str) -> Lane:
        """The lock is held."""
        return self._lanes.setdefault((queue, flow), Lane(queue, flow))

    def _is_to_tell(self, lane: Lane) -> bool:
        """Is there room where there was none? It is told once. The lock is held."""
        if not lane.awaits_room or self._room(lane) <= 0:
            return False
        lane.awaits_room = False
        return True

    def _room(self, lane: Lane) -> int:
        """The lock is held."""
        room = 0
        is_open = lane.is_listening and not self.is_closed and lane.queue not in self._paused
        now = self._clock.monotonic()
        if is_open and now >= lane.blocked_until:
            prefetch = self._settings_of(lane.queue).prefetch
            room = max(min(lane.room(prefetch, now), self._rates.room(lane.queue, lane.flow)), 0)
        lane.awaits_room |= room == 0
        return room
