"""Why a run is to start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flow_processor.run import Trigger
from flow_processor.store import Connection
from flow_processor.store.runs import RunRow


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a run is to start."""

    trigger: Trigger
    by: str
    """Who or what, for people: `api`, a user's name, a schedule's id."""
    timeout_seconds: float | None = None
    """Overrides the flow's own time limit."""
    schedule_id: str | None = None
    slot: float | None = None
    """The schedule's moment, in seconds since 1970."""
    claim: Callable[[Connection, RunRow], bool] | None = None
    """Done in the transaction that inserts the run; False means that somebody else had it: nothing starts."""
    waits_its_turn: bool = False
    """Where the flow is running: wait for the lock, whatever its `on_conflict` (a missed slot that is made up)."""
    item: Mapping[str, Any] | None = None
    """What the run has as `__item__`."""
