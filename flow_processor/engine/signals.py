"""How a flow is left before its last step, inside the interpreter.

Those that are no Exception are no failure of a step, so no step may catch them as one.
"""

from __future__ import annotations

from typing import Any

from flow_processor.errors import StepError


class FlowFailed(Exception):
    """A step failed and its policy lets the flow fail; `error` is the journal's record, with the step's path."""

    def __init__(self, error: dict[str, Any], *, told: dict[str, Any] | None = None):
        super().__init__(error["message"])
        self.error = error
        self.told = told
        """What `__errors__` has got of it."""


class Stopped(BaseException):
    """The run was cancelled, or its time is up."""

    def __init__(self, reason: StepError):
        super().__init__(reason.message)
        self.reason = reason


class Parked(BaseException):
    """Every line of the run waits: each is left here, and goes on in whichever worker gets the run next."""

    def __init__(self, wake_at: float | None):
        super().__init__(wake_at)
        self.wake_at = wake_at
        """When the run goes on by itself, in seconds since 1970; None: only when it is told something."""


class Orphaned(BaseException):
    """The daemon is gone: the worker ends here, and hands over what it has not delivered."""


class Interrupted(BaseException):
    """The run cannot go on by itself; a person must look."""

    def __init__(self, path: str, message: str, *, code: str = "interrupted"):
        super().__init__(message)
        self.error = {"code": code, "message": message, "details": {}, "step": path}
        """The error as the journal keeps it."""
