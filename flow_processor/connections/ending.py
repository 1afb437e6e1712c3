"""Calls into libraries that wait for a server: ended when the run is cancelled or the step's time is over."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from flow_processor.errors import StepCancelled, StepTimeout
from flow_processor.step import StepContext

_LOOK_SECONDS = 0.05


@contextlib.contextmanager
def ended_with(context: StepContext, end: Callable[[], Any]) -> Iterator[None]:
    """While the block waits for a server, call `end` from a thread once the run is cancelled or time is over.

    `end` is called again until the block is left: it may have come before the server began. Raises StepCancelled
    or StepTimeout instead of what the block raises then.
    """
    left, ended = threading.Event(), threading.Event()
    mutex = threading.Lock()

    def watch() -> None:
        while not left.wait(_LOOK_SECONDS):
            if context.stop.is_set() or context.remaining_seconds() == 0:
                with mutex:
                    if left.is_set():
                        return
                    ended.set()
                    with contextlib.suppress(Exception):  # the connection may be gone already
                        end()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except Exception as error:
        if ended.is_set():
            raise _why(context, getattr(error, "details", {})) from error
        raise
    finally:
        left.set()
        with mutex:  # `end` must not reach a connection that is used for something else
            pass


def _why(context: StepContext, details: dict[str, Any]) -> StepCancelled | StepTimeout:
    """The error of a call that was ended. What is not known of its outcome does not become known by that."""
    kept = {name: value for name, value in details.items() if name in unknown_outcome()}
    if context.stop.is_set():
        return StepCancelled("the call was ended, for the run is being ended", details=kept)
    message = f"step '{context.step_name}' did not end within its time limit"
    return StepTimeout(message, details=kept)


def unknown_outcome() -> dict[str, Any]:
    """Details of an error after which nobody can say whether the server did what it was asked: no retry."""
    return {"outcome": "unknown"}
