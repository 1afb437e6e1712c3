"""When a flow is started by the items of a queue."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from flow_processor.spec.base import Pause, QueueName, Spec


class AttemptsSpec(Spec):
    """How often an item is tried, and with which parameters."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 1
    """How many runs an item may have until one of them succeeds; after that it has failed. A run that was cancelled
    or interrupted is the last one."""
    backoff_seconds: Pause = 10
    """Pause before the second attempt, in seconds; before each further one it is twice as long."""
    max_backoff_seconds: Pause = 3600
    """The longest pause before an attempt, in seconds."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Values for the flow's `params`."""

    def backoff(self, attempt: int) -> float:
        """The pause behind this attempt, in seconds; the first is 1."""
        return min(self.backoff_seconds * 2.0 ** min(attempt - 1, 64), self.max_backoff_seconds)


class QueueSpec(AttemptsSpec):
    """Each item of the queue starts the flow; short: `queue: NAME`."""

    name: QueueName
    """The queue's name. Any number of flows may listen to one: each gets each item once."""
