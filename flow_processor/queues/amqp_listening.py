"""The thread that listens at the broker: one connection, a channel for each flow, and again after each loss."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from flow_processor.clock import Clock
from flow_processor.errors import QueueUnavailable
from flow_processor.queues.amqp_address import BrokerAddress
from flow_processor.queues.amqp_consumer import Consumer, Surroundings
from flow_processor.queues.amqp_link import HEARTBEAT_SECONDS, Link, refusing, speaking
from flow_processor.queues.amqp_names import declare, declare_listener
from flow_processor.queues.backend import Listeners

logger = logging.getLogger("octospool.queues")

RETRY_SECONDS = (0.2, 10.0)
"""After the loss of the connection it tries again after the first, then after twice as long, up to the second."""

LOOK_AGAIN_SECONDS = 30.0
"""A listener that the broker refuses is tried again after so long."""


class Listening:
    """Consumers of all listeners. Its methods may be called from any thread, and return at once."""

    def __init__(
        self,
        address: BrokerAddress,
        around: Surroundings,
        *,
        clock: Clock,
        on_listening: Callable[[Link, Listeners], None],
        bring_in: Callable[[Link, str], None],
    ) -> None:
        """`on_listening` is told what is made at the broker. `bring_in` moves what waited for a first listener."""
        self._address = address
        self._around = around
        self._clock = clock
        self._on_listening = on_listening
        self._bring_in = bring_in
        self._wanted: Listeners = {}
        self._paused: frozenset[str] = frozenset()
        self._consumers: dict[tuple[str, str], Consumer] = {}
        self._posted: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._is_woken = False
        self._ear, self._mouth = os.pipe()
        os.set_blocking(self._ear, False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="amqp", daemon=True)
        self._is_stale = True
        self._look_at = 0.0
        self._told: set[str] = set()
        """What the log says of this absence of the broker: each reason once."""
        self.problem: str | None = "not connected yet"
        """Why nothing is taken from the broker; None: all is well."""
        self.refused: dict[str, str] = {}
        """Queue -> why the broker does not let its flows listen."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more; returns when the thread has ended."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join()
        with self._lock:
            self._is_woken = True  # for good: nobody writes into what the numbers mean next
            os.close(self._mouth)
            os.close(self._ear)

    def listen(self, listeners: Listeners) -> None:
        """From now on these."""
        self._wanted = {queue: tuple(flows) for queue, flows in listeners.items()}
        self._is_stale = True
        self._wake()

    def set_paused(self, queues: frozenset[str]) -> None:
        """Take nothing from these."""
        self._paused = queues
        self._is_stale = True
        self._wake()

    def wake(self) -> None:
        """Some flow has room again."""
        self._wake()

    def purge(self, queue: str) -> Future[int]:
        """Delete what waits for the flows of a queue that are connected; how many items went."""
        done: Future[int] = Future()

        def work() -> None:
            try:
                mine = [consumer for consumer in self._consumers.values() if consumer.queue == queue]
                done.set_result(max((consumer.purge() for consumer in mine if consumer.is_open), default=0))
            except BaseException as error:
                done.set_exception(error)
                raise

        self.post(work)
        return done

    def post(self, work: Callable[[], None]) -> None:
        """Have something done in the thread that has the connection; never, once that is lost or stopped."""
        self._posted.append(work)
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            if self._is_woken:
                return
            self._is_woken = True
            os.write(self._mouth, b".")

    def _hear(self) -> None:
        with self._lock:
            self._is_woken = False
            with contextlib.suppress(BlockingIOError):
                os.read(self._ear, 100)

    def _run(self) -> None:
        pause = RETRY_SECONDS[0]
        while not self._stop.is_set():
            link: Link | None = None
            try:
                link = Link(self._address, name="octospool listener", heartbeat=True)
                self._is_stale = True
                with speaking(self._address):
                    self._settle(link)
                    if self.problem is not None:
                        logger.info("connected with the message broker %s", self._address)
                    self.problem = None
                    self._told.clear()
                    pause = RETRY_SECONDS[0]
                    self._serve(link)
            except QueueUnavailable as error:
                if error.message not in self._told:
                    self._told.add(error.message)
                    logger.warning("%s; it is tried again, nothing is lost", error.message)
                self.problem = error.message
            except Exception as error:  # whatever it is: listening goes on
                logger.exception(
                    "listening at the message broker %s failed; it is tried again", self._address
                )
                self.problem = f"listening at the message broker failed: {type(error).__name__}"
            finally:
                self._leave(link)
            self._clock.wait(self._stop, pause)
            pause = min(pause * 2, RETRY_SECONDS[1])

    def _serve(self, link: Link) -> None:
        beat_at = self._clock.monotonic()
        while not self._stop.is_set():
            self._hear()
            for _ in range(len(self._posted)):
                self._posted.popleft()()
            now = self._clock.monotonic()
            if self._is_stale or (self.refused and now >= self._look_at):
                self._settle(link)
            wishes = [
                wish for consumer in list(self._consumers.values()) if (wish := consumer.turn()) is not None
            ]
            if now >= beat_at:
                link.beat()
                beat_at = now + HEARTBEAT_SECONDS / 4
            seconds = min([*wishes, HEARTBEAT_SECONDS / 4])
            while link.wait(self._ear, seconds):  # as much as is there, then a turn for all
                seconds = 0.0

    def _settle(self, link: Link) -> None:
        """Have a consumer for each flow that listens and is not paused, and for no other."""
        self._is_stale = False
        self._look_at = self._clock.monotonic() + LOOK_AGAIN_SECONDS
        wanted = {(queue, flow) for queue, flows in self._wanted.items() for flow in flows}
        for key in [key for key in self._consumers if key not in wanted or key[0] in self._paused]:
            self._consumers.pop(key).close()
        refused = {}
        for queue, flows in self._wanted.items():
            try:
                self._open(link, queue, [flow for flow in flows if queue not in self._paused])
            except QueueUnavailable as error:
                refused[queue] = error.message
                if self.refused.get(queue) != error.message:
                    logger.error("queue '%s': %s", queue, error.message)
        self.refused = refused
        self._on_listening(link, self._wanted)

    def _open(self, link: Link, queue: str, flows: list[str]) -> None:
        """Open what is not open. Raises QueueUnavailable if the broker refuses that; OSError if it is lost."""
        with refusing(self._address):
            channel = link.channel()
            declare(channel, queue)
            for flow in self._wanted.get(queue, ()):  # those that are paused too: items come meanwhile
                declare_listener(channel, queue, flow)
            channel.close()
            new = [flow for flow in flows if (queue, flow) not in self._consumers]
            for flow in new:
                consumer = Consumer(queue, flow, self._around)
                consumer.open(link.channel())
                self._consumers[queue, flow] = consumer
            if new:
                self._bring_in(link, queue)

    def _leave(self, link: Link | None) -> None:
        self._posted.clear()
        self._consumers.clear()
        if link is not None:
            link.close()
