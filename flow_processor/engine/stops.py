"""What ends steps before their time: for a whole run, or for steps that run beside each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flow_processor.errors import ENDED_BESIDE, StepError


class Stops:
    """Steps that can be ended together. What is inside ends with what is around it. Thread safe."""

    def __init__(
        self, on_stop: Callable[[], None], *, prefix: str = "", lock: threading.RLock | None = None
    ) -> None:
        """`on_stop` wakes who waits; `prefix` is what the paths of the steps begin with."""
        self._on_stop = on_stop
        self._prefix = prefix
        # One for all that is nested: what is begun while the outer one is ended must not slip through.
        self._lock = lock or threading.RLock()
        self._inner: set[Stops] = set()
        self.event = threading.Event()
        """Set when the steps must end."""
        self.reason: StepError | None = None
        """Why they must; None while they need not."""

    def stop_for(self, reason: StepError) -> None:
        """End the steps under way; the first reason stays."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
            for inner in self._inner:
                inner.stop_for(reason)
        self.event.set()
        self._on_stop()

    def stop_beside(self, failed: str) -> None:
        """End the steps because the one at the path `failed`, which is one of them, failed."""
        message = f"ended, for step '{failed}' beside it failed"
        self.stop_for(StepError(message, code="sibling_failed", details={"beside": failed}))

    def stop_at_exit(self, path: str) -> None:
        """End the steps because the one at `path`, which is one of them, has ended the flow."""
        message = f"ended, for step '{path}' beside it has ended the flow (exit)"
        self.stop_for(StepError(message, code="sibling_exited", details={"beside": path}))

    def is_own(self, reason: StepError) -> bool:
        """Did one of these steps end the others? Else the reason comes from around them.

        Told by what the error says, so that it holds for one that the journal kept too.
        """
        beside = reason.details.get("beside")
        return reason.code in ENDED_BESIDE and isinstance(beside, str) and beside.startswith(self._prefix)

    @contextmanager
    def group(self, prefix: str) -> Iterator[Stops]:
        """Stops for steps inside, whose paths begin with `prefix`; for as long as the `with` lasts."""
        inner = Stops(self._on_stop, prefix=prefix, lock=self._lock)
        with self._lock:
            self._inner.add(inner)
            if self.reason is not None:
                inner.stop_for(self.reason)
        try:
            yield inner
        finally:
            with self._lock:
                self._inner.discard(inner)
