"""Items of queues, and how they are told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flow_processor.run import new_run_id

ITEM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""What an item's id may be: it is also part of a file's name, so never `..`, never hidden."""

PRIORITIES = range(10)
"""9 comes first, 0 last and where nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item of a queue."""

    id: str
    """Fits ITEM_ID. The same id again in the same queue is the same item: it starts nothing."""
    queue: str
    value: Any
    """What its runs get as `__input__`; a JSON value."""
    put_at: float
    """When it was put there, in seconds since 1970."""
    name: str | None = None
    """What people know it by: the name of its file, say."""
    priority: int = 0
    """One of PRIORITIES."""


def new_item_id(now: datetime) -> str:
    """An id that sorts by time and does not come again."""
    return new_run_id(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How full a queue is."""

    waiting: int = 0
    """Items that no flow has yet; at a broker: of the listener that is furthest behind."""
    in_work: int = 0
    """Items that were taken, of which not every run has ended."""
    failed: int = 0
    """Items that some flow has given up, or that were refused."""
    oldest_at: float | None = None
    """When the oldest waiting item was put there, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why something failed."""

    code: str
    message: str
    flow: str | None = None
    """The flow whose run failed; None: no flow had it."""
    run_id: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedItem:
    """An item that some flow has given up, or that was refused before any had it."""

    id: str
    queue: str
    name: str | None
    put_at: float
    """When it was put there, in seconds since 1970."""
    failed_at: float
    """When the last of its runs failed."""
    reasons: tuple[Reason, ...]
    """One for each flow that has given it up; one without a flow where it was refused."""
    attempts: int
    """How many runs the flow had for it that tried most often."""
    size: int | None = None
    """Bytes, where that is known."""
    file: str | None = None
    """Where its file lies, below the data folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a failed item holds."""

    value: Any = None
    """What its runs had as `__input__`."""
    has_value: bool = True
    """False: no run could have it, or it can be read no more."""
    text: str | None = None
    """Without a value: what stands in it, as far as it is text; long ones are cut."""


TEXT_CHARACTERS = 10_000
"""So much is shown of what became no value."""
