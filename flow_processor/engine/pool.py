"""The worker processes: as many as are needed, a warm spare, none more than allowed."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from flow_processor.clock import Clock
from flow_processor.engine.frames import Frame
from flow_processor.engine.order import WorkerSettings
from flow_processor.engine.worker_process import WorkerProcess

logger = logging.getLogger("octospool.engine")

IDLE_SECONDS = 30.0
"""A worker beyond the spares that has had nothing to do for so long leaves."""

MAX_START_DELAY_SECONDS = 30.0
"""Longest pause between tries to start a worker when they die at their start."""

LEAVE_SECONDS = 2.0
"""How long `stop` waits for idle workers to leave."""


class WorkerPool:
    """Starts and retires workers in a thread of its own, so that nobody waits for a process to start."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        environment: Mapping[str, str],
        max_workers: int,
        spare_workers: int,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._max = max_workers
        self._spares = min(spare_workers, max_workers)
        self._clock = clock
        self._changed = threading.Condition()
        self._all: set[WorkerProcess] = set()
        self._ready: set[WorkerProcess] = set()
        self._idle: deque[tuple[WorkerProcess, float]] = deque()
        """Free workers with the moment since when, the latest on the right: it is taken first, its caches warm."""
        self._is_short = False
        self._is_stopping = False
        self._failed_starts = 0
        self._thread = threading.Thread(target=self._work, name="worker-pool", daemon=True)

    def start(
        self,
        *,
        on_ready: Callable[[], None],
        on_frame: Callable[[WorkerProcess, Frame], None],
        on_exit: Callable[[WorkerProcess, int], None],
    ) -> None:
        """Start the spares. The callbacks come from the threads that read from the workers."""
        self._on_ready = on_ready
        self._on_frame = on_frame
        self._on_exit = on_exit
        self._thread.start()

    def take(self) -> WorkerProcess | None:
        """A free worker; None if there is none, then one is started if that is allowed."""
        with self._changed:
            if not self._idle:
                self._is_short = True
                self._changed.notify_all()
                return None
            worker, _ = self._idle.pop()
            if len(self._idle) < self._spares:
                self._changed.notify_all()
            return worker

    def give_back(self, worker: WorkerProcess) -> None:
        """The worker is free again."""
        with self._changed:
            if worker in self._all:
                self._idle.append((worker, self._clock.monotonic()))

    def problem(self) -> str | None:
        """Why no worker can be had; None if all is well."""
        with self._changed:
            if self._failed_starts and not self._ready:
                return f"workers die at their start ({self._failed_starts} in a row); see the log"
            if not self._ready:
                return "no worker has answered yet"
            return None

    def stop(self) -> None:
        """Let all workers go: idle ones leave at once, busy ones finish the step under way and hand over."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
            workers = set(self._all)
            idle = [worker for worker, _ in self._idle]
        if self._thread.is_alive():
            self._thread.join()
        for worker in workers:
            worker.leave_alone()
        for worker in idle:
            worker.join(LEAVE_SECONDS)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._is_stopping and not self._lacks():
                    has_surplus = len(self._idle) > self._spares
                    self._changed.wait(IDLE_SECONDS if has_surplus else None)
                    self._retire()
                if self._is_stopping:
                    return
                self._is_short = False
                if self._failed_starts:
                    delay = min(MAX_START_DELAY_SECONDS, 0.5 * 2**self._failed_starts)
                    self._changed.wait_for(lambda: self._is_stopping, delay)
                    if self._is_stopping:
                        return
                self._start_one()

    def _lacks(self) -> bool:
        starting = len(self._all) - len(self._ready)
        if len(self._all) >= self._max:
            return False
        return starting == 0 and (self._is_short or len(self._idle) < self._spares)

    def _start_one(self) -> None:
        settings = replace(self._settings, worker_id=secrets.token_hex(4))
        try:
            worker = WorkerProcess(
                settings, environment=self._environment, on_frame=self._take_frame, on_exit=self._left
            )
        except OSError as error:
            self._failed_starts += 1
            logger.error("a worker could not be started: %s", error)
            return
        self._all.add(worker)

    def _retire(self) -> None:
        now = self._clock.monotonic()
        while len(self._idle) > self._spares and self._idle[0][1] < now - IDLE_SECONDS:
            worker, _ = self._idle.popleft()
            worker.leave_alone()

    def _take_frame(self, worker: WorkerProcess, frame: Frame) -> None:
        if "ready" not in frame:
            self._on_frame(worker, frame)
            return
        with self._changed:
            self._failed_starts = 0
            self._all.add(worker)  # its first word may be faster than the thread that started it
            self._ready.add(worker)
            self._idle.append((worker, self._clock.monotonic()))
            self._changed.notify_all()
        self._on_ready()

    def _left(self, worker: WorkerProcess, exit_code: int) -> None:
        with self._changed:
            if worker not in self._ready and not self._is_stopping:
                self._failed_starts += 1
                logger.error("worker %s died at its start with exit code %d", worker.id, exit_code)
            self._all.discard(worker)
            self._ready.discard(worker)
            self._idle = deque(entry for entry in self._idle if entry[0] is not worker)
            self._changed.notify_all()
        self._on_exit(worker, exit_code)
