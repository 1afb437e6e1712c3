"""How much queues take and how fast they are worked off: `queues:` in config.yml, for all of them and for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from flow_processor.spec.base import QueueName, Spec
from flow_processor.spec.retention import Age, bytes_of

DEFAULTS = "defaults"
"""The entry of `queues:` that counts for every queue which does not say otherwise."""


def _checked_size(value: int | str) -> int:
    if isinstance(value, str) or not 1 <= value <= 1024**3:
        raise ValueError("must be a size up to 1 GiB, in bytes or like '64 KiB'")
    return value


def _checked_rate(value: float | None) -> float | None:
    if value is not None and value > 1 and value % 1:
        raise ValueError("must be a whole number where it is more than 1")
    return value


class KeepDone(Spec):
    """How long items that are done are kept, to be looked at; what is failed stays until somebody decides."""

    days: Age = 7
    """Days after its end; then an item is deleted. `forever`: its age is no reason."""
    count: Annotated[int, Field(ge=0)] = 10_000
    """So many of the newest stay; 0 keeps none."""


class QueueSettings(Spec):
    """What counts for one queue."""

    max_items: Annotated[int, Field(ge=1)] = 100_000
    """So many items may wait. Over that a call is answered 429 `queue_full`, and what steps send waits in the store
    until there is room; files that somebody else drops are taken all the same."""
    rate_per_second: Annotated[
        Annotated[float, Field(gt=0, le=10_000)] | None, AfterValidator(_checked_rate)
    ] = None
    """Each listener begins at most so many items in a second, further attempts among them; 0.1 is one in ten seconds.
    After a start of the daemon too: it cannot know what the one before it began. Left out: as fast as workers are
    free."""
    prefetch: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """So many items each listener takes before the first of them has ended; its `concurrency` limit may be less. Left
    out: 20, or as many as have ended in the last quarter of a second, if those are more."""
    keep_done: KeepDone = KeepDone()
    """How long items that are done are kept."""
    max_item_bytes: Annotated[int | str, BeforeValidator(bytes_of), AfterValidator(_checked_size)] = 1024**2
    """Largest item, in bytes or like `64 KiB`. A larger one is refused with 413 by a call; a larger file goes to
    `failed/`, unless it is binary: of that a flow gets only the path."""


class QueuesSettings(Spec):
    """What counts for queues, by name."""

    by_name: Mapping[QueueName, QueueSettings] = Field(default_factory=dict)
    """Name of a queue, or DEFAULTS -> what is said of it."""

    def of(self, queue: str) -> QueueSettings:
        """What counts for one queue: what is said of it, on top of what is said of all."""
        for_all = self.by_name.get(DEFAULTS, QueueSettings())
        own = self.by_name.get(queue)
        if own is None:
            return for_all
        return _on_top(own, for_all)

    def max_item_bytes(self) -> dict[str, int]:
        """The largest item of each queue of which something is said, in bytes; that of all others under DEFAULTS."""
        return {name: int(self.of(name).max_item_bytes) for name in (DEFAULTS, *self.by_name)}


_S = TypeVar("_S", bound=Spec)


def _on_top(own: _S, for_all: _S) -> _S:
    """What `own` says, and what it leaves out as `for_all` says it."""
    said: dict[str, Any] = {}
    for name in own.model_fields_set:
        value = getattr(own, name)
        said[name] = _on_top(value, getattr(for_all, name)) if isinstance(value, Spec) else value
    return for_all.model_copy(update=said)
