"""Ctrl-C: the first one asks, the second one leaves at once."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
from types import FrameType, TracebackType
from typing import Any

from flow_processor.cli.exits import ExitCode

ASKING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
"""Signals that ask a process to end; SIGBREAK is Windows' Ctrl-Break."""


class Interrupts:
    """While the block lasts a signal sets `asked` instead of raising. For the main thread."""

    def __init__(self, *, second_says: str, second_code: int = ExitCode.LEFT):
        """When somebody asks again, the process says `second_says` and leaves with `second_code`."""
        self.asked = False
        self.second_says = second_says
        self._second_code = second_code
        # A handler may interrupt the main thread anywhere, also inside threading.Event, whose lock is not
        # reentrant; SimpleQueue.put is.
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """From now on, also without a block."""
        for number in ASKING:
            self._before[number] = signal.signal(number, self._take)

    def __enter__(self) -> Interrupts:
        self.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for the first signal; `asked` afterwards."""
        if not self.asked:
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=seconds)
        return self.asked

    def _take(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            self._wake.put(None)
            return
        with contextlib.suppress(RuntimeError, OSError):  # the main thread may be in the middle of a print
            sys.stdout.flush()
        with contextlib.suppress(OSError):
            os.write(2, f"{self.second_says}\n".encode())
        # No clean-up: that is what asking twice means. Locks are the kernel's, and the journal is durable.
        os._exit(self._second_code)
