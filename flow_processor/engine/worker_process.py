"""The daemon's side of one worker process: start it, talk to it, end it."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict

from flow_processor.engine.frames import Frame, FrameWriter, read_frame
from flow_processor.engine.order import WorkerSettings
from flow_processor.engine.worker_start import start_worker
from flow_processor.process_tree import (
    LOOK_SECONDS,
    ask_descendants,
    has_children,
    kill_group,
    kill_process,
    kill_strays,
    wait_for_end,
)

logger = logging.getLogger("octospool.engine")

TERMINATE_GRACE_SECONDS = 2.0
"""What a step has started, and is told to end, is killed after so long."""


class WorkerProcess:
    """One worker. `on_frame` and `on_exit` are called in the thread that reads from it.

    Making one starts the process. Raises OSError or RuntimeError where no process or no thread can be had.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        environment: Mapping[str, str],
        on_frame: Callable[[WorkerProcess, Frame], None],
        on_exit: Callable[[WorkerProcess, int], None],
    ) -> None:
        self.id = settings.worker_id
        self._on_frame = on_frame
        self._on_exit = on_exit
        self._process = start_worker(self.id, environment)
        self._exit_code: int | None = None
        self._reaping = threading.Lock()
        """Held by who uses the process's number: it is its own only until the process is waited for."""
        self._outgoing: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name=f"worker-{self.id}", daemon=True)
        self.send({"settings": asdict(settings)})
        try:
            self._reader.start()
            threading.Thread(target=self._write, name=f"to-worker-{self.id}", daemon=True).start()
        except RuntimeError:  # no thread can be had; a worker that nobody talks to leaves
            self._process.stdin.close()
            if self._reader.ident is None:
                self._process.has_died(wait=True)
                self._process.reap()
                self._process.stdout.close()
            raise

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def send(self, frame: Frame) -> None:
        """Tell it something. Never waits: a worker that does not read must not hold up who tells it.

        If it is gone, that is reported by `on_exit`.
        """
        self._outgoing.put(frame)

    def _write(self) -> None:
        pipe = self._process.stdin
        writer = FrameWriter(pipe)
        try:
            while (frame := self._outgoing.get()) is not None:
                writer.send(frame)
        except (OSError, ValueError):  # it is gone
            pass
        finally:
            # Here and not by the garbage collector, which would complain about what could not be written.
            with contextlib.suppress(OSError):
                pipe.close()

    def kill(self) -> None:
        """End it and all that it has started, at once."""
        with self._reaping:
            if self._exit_code is None:
                kill_process(self._process.pid)

    def end(self) -> None:
        """End it and all that it has started, in a thread of its own: what it has started is asked first.

        The worker itself takes no notice of being asked, so one that merely hangs is ended at once.
        """
        threading.Thread(target=self._end, name=f"end-worker-{self.id}", daemon=True).start()

    def _end(self) -> None:
        with self._reaping:
            if self._exit_code is None:
                ask_descendants(self._process.pid)
        wait_for_end(self._process.pid, looks=round(TERMINATE_GRACE_SECONDS / LOOK_SECONDS))
        self.kill()

    def has_children(self) -> bool:
        """Does anything live that it has started?"""
        return has_children(self._process.pid)

    def end_what_is_left(self) -> None:
        """Where it has died, end the rest of its process group.

        A process that it forked may hold the pipe that it wrote to: then nobody would hear of its death.
        """
        if not self._reaping.acquire(blocking=False):
            return  # somebody sees to it
        try:
            if self._exit_code is None and self._process.has_died():
                kill_group(self._process.pid)
        finally:
            self._reaping.release()

    def leave_alone(self) -> None:
        """Close its stdin: it finishes the step under way, hands over and leaves."""
        self._outgoing.put(None)

    def join(self, seconds: float) -> bool:
        """Wait for its end; False if it has not come."""
        self._reader.join(seconds)
        return not self._reader.is_alive()

    def _read(self) -> None:
        pipe = self._process.stdout
        try:
            while (frame := read_frame(pipe)) is not None:
                self._on_frame(self, frame)
        except Exception:
            # Whatever it said cannot be taken; a worker nobody listens to would keep its run for ever.
            logger.exception("worker %s is ended: what it says cannot be understood", self.id)
            self.kill()
        self._process.has_died(wait=True)
        self.end_what_is_left()
        with self._reaping:
            code = self._exit_code = self._process.reap()
        kill_strays([self.id])
        pipe.close()
        self.leave_alone()
        self._on_exit(self, code)
