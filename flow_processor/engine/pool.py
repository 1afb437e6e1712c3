"""The worker processes: as many as are needed, a warm spare, none more than allowed."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from flow_processor.clock import Clock
from flow_processor.engine.frames import Frame
from flow_processor.engine.order import WorkerSettings
from flow_processor.engine.worker_process import WorkerProcess

logger = logging.getLogger("octospool.engine")

IDLE_SECONDS = 10.0
"""A worker beyond the spares that has had nothing to do for so long leaves."""

PATIENCE_SECONDS = 0.02
"""A run waits so long for a busy worker before another one is started for it: short runs come round faster than
a process starts."""

CROWDED_PATIENCE_SECONDS = 0.25
"""The same once there is a worker for each processor core: more of them help only where runs wait for others."""

SPARE_DELAY_SECONDS = 0.1
"""A worker must have been busy for so long before its place as the spare is filled."""

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
        self._waiting_since: float | None = None
        """Since when the oldest run waits for a worker; None if none does."""
        self._short_since: float | None = None
        """Since when there are fewer free workers than spares."""
        self._wakes_at = math.inf
        """When the thread looks again by itself, in monotonic seconds. To wake it for each run that takes a worker or
        gives one back would cost as much as a tenth of the run does."""
        self._is_stopping = False
        self._failed_starts = 0
        self._failed_at: float = 0.0
        self._cores = os.cpu_count() or 1
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

    def take(self, *, waiting_since: float) -> WorkerProcess | None:
        """A free worker for a run that has waited since then (monotonic seconds).

        None if there is none; then, if the run goes on waiting, another worker is started.
        """
        with self._changed:
            if not self._idle:
                self._waiting_since = waiting_since
                self._wake_by(self._start_due())
                return None
            worker, _ = self._idle.pop()
            self._waiting_since = None
            if len(self._idle) < self._spares and self._short_since is None:
                self._short_since = self._clock.monotonic()
                self._wake_by(self._start_due())
            return worker

    def _wake_by(self, moment: float | None) -> None:
        """The thread has to look at that moment at the latest (monotonic seconds; None: no more than before)."""
        if moment is not None and moment < self._wakes_at:
            self._changed.notify_all()

    def nobody_waits(self) -> None:
        """No run waits for a worker any more."""
        with self._changed:
            self._waiting_since = None

    def take_within(self, seconds: float) -> WorkerProcess | None:
        """A free worker; None if all are busy. While the first one is still starting it is waited for."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._is_stopping, seconds)
            return self._idle.pop()[0] if self._idle else None

    def give_back(self, worker: WorkerProcess) -> None:
        """The worker is free again."""
        with self._changed:
            if worker in self._all:
                self._add_idle(worker)
                if len(self._idle) > self._spares:
                    self._wake_by(self._clock.monotonic() + IDLE_SECONDS)

    def _add_idle(self, worker: WorkerProcess) -> None:
        self._idle.append((worker, self._clock.monotonic()))
        if len(self._idle) >= self._spares:
            self._short_since = None

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
        with self._changed:
            while not self._is_stopping:
                due = self._start_due()
                now = self._clock.monotonic()
                if due is not None and due <= now:
                    self._start_one()
                    continue
                has_surplus = len(self._idle) > self._spares
                pause = due - now if due is not None else IDLE_SECONDS if has_surplus else None
                self._wakes_at = math.inf if pause is None else now + pause
                self._changed.wait(pause)
                self._retire()

    def _start_due(self) -> float | None:
        """When another worker should be started, in monotonic seconds; None while there are enough."""
        is_starting = len(self._all) > len(self._ready)
        if is_starting or len(self._all) >= self._max:
            return None
        if self._failed_starts:
            return self._failed_at + min(MAX_START_DELAY_SECONDS, 0.5 * 2.0**self._failed_starts)
        if len(self._all) < max(1, self._spares):
            return 0.0
        if self._waiting_since is not None:
            is_crowded = len(self._all) >= self._cores
            return self._waiting_since + (CROWDED_PATIENCE_SECONDS if is_crowded else PATIENCE_SECONDS)
        return None if self._short_since is None else self._short_since + SPARE_DELAY_SECONDS

    def _start_one(self) -> None:
        settings = replace(self._settings, worker_id=secrets.token_hex(4))
        try:
            worker = WorkerProcess(
                settings, environment=self._environment, on_frame=self._take_frame, on_exit=self._left
            )
        except (OSError, RuntimeError) as error:  # no process can be had now, or no thread to hear it
            self._note_failed_start()
            logger.error("a worker could not be started: %s", error)
            return
        self._all.add(worker)

    def _note_failed_start(self) -> None:
        self._failed_starts += 1
        self._failed_at = self._clock.monotonic()

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
            self._add_idle(worker)
            self._changed.notify_all()
        self._on_ready()

    def _left(self, worker: WorkerProcess, exit_code: int) -> None:
        with self._changed:
            if worker not in self._ready and not self._is_stopping:
                self._note_failed_start()
                logger.error("worker %s died at its start with exit code %d", worker.id, exit_code)
            self._all.discard(worker)
            self._ready.discard(worker)
            self._idle = deque(entry for entry in self._idle if entry[0] is not worker)
            self._changed.notify_all()
        # It removes its lock file itself, unless it was killed.
        with contextlib.suppress(OSError):  # on a disk that fails too its run must go on
            (Path(self._settings.workers_path) / f"{worker.id}.lock").unlink(missing_ok=True)
        self._on_exit(worker, exit_code)
