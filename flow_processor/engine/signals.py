"""How a flow is left before its last step, inside the interpreter."""

from __future__ import annotations

from typing import Any

from flow_processor.errors import StepError
from flow_processor.journal import StepRecord


class FlowFailed(Exception):
    """A step failed and its policy lets the flow fail; `error` is the journal's record, with the step's path."""

    def __init__(self, error: dict[str, Any]):
        super().__init__(error["message"])
        self.error = error


class Stopped(BaseException):
    """The run was cancelled, or its time is up. Not an Exception: it passes through steps that run flows."""

    def __init__(self, reason: StepError):
        super().__init__(reason.message)
        self.reason = reason


class InDoubt(BaseException):
    """A step that must not silently run twice was under way when its worker died."""

    def __init__(self, record: StepRecord):
        super().__init__(record.path)
        self.path = record.path
