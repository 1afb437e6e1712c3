"""A run: one execution of a flow. Its statuses, what may follow what, what caused it, its id; which runs are meant."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXITED = "exited"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"

    @property
    def is_terminal(self) -> bool:
        """True for a status with which a run has ended. Only a person's resume takes one back: `interrupted`."""
        return self in TERMINAL_STATUSES


LEGAL_TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset(
        {RunStatus.RUNNING, RunStatus.CANCELLED, RunStatus.FAILED, RunStatus.SKIPPED, RunStatus.INTERRUPTED}
    ),
    RunStatus.RUNNING: frozenset(
        {
            RunStatus.WAITING,
            RunStatus.SUCCEEDED,
            RunStatus.FAILED,
            RunStatus.EXITED,
            RunStatus.CANCELLED,
            RunStatus.INTERRUPTED,
        }
    ),
    RunStatus.WAITING: frozenset(
        {RunStatus.RUNNING, RunStatus.CANCELLED, RunStatus.FAILED, RunStatus.INTERRUPTED}
    ),
    RunStatus.SUCCEEDED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.EXITED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
    RunStatus.INTERRUPTED: frozenset({RunStatus.QUEUED}),
    RunStatus.SKIPPED: frozenset(),
}
"""From each status the ones that may follow it. Terminal ones have none, but `interrupted`: a person who knows what
happened may resume such a run."""

LIVE_STATUSES = frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING})
TERMINAL_STATUSES = frozenset(RunStatus) - LIVE_STATUSES


class Trigger(StrEnum):
    """What caused a run."""

    API = "api"
    CLI = "cli"
    SCHEDULE = "schedule"
    QUEUE = "queue"
    FILE = "file"
    FLOW = "flow"
    WEBHOOK = "webhook"


RUN_ID_PATTERN = re.compile(r"\d{8}T\d{9}-[a-z2-7]{8}")


_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def new_run_id(now: datetime) -> str:
    """A run id that people can read and that sorts by time: `20261121T074006123-k7x2mtqa` (UTC, ms)."""
    stamp = now.strftime("%Y%m%dT%H%M%S") + f"{now.microsecond // 1000:03d}"
    return f"{stamp}-{''.join(_ID_LETTERS[byte & 31] for byte in secrets.token_bytes(8))}"


ParamValue = str | int | float | bool | None
"""A value that runs may be looked for by; a text also finds the number or truth value that it spells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs a list shows; what is left out means all."""

    flow: str | None = None
    """A flow's path; a folder, which ends in `/`; or a pattern with `*` and `?`."""
    status: tuple[RunStatus, ...] = ()
    trigger: tuple[Trigger, ...] = ()
    by: str | None = None
    """Who or what caused it, by name."""
    schedule: str | None = None
    """Id of the schedule that started it."""
    queue: str | None = None
    """Only runs that items of this queue started."""
    item: str | None = None
    """Only runs that the item with this id started."""
    parent: str | None = None
    """Only runs that are part of this one."""
    retry_of: str | None = None
    """Only runs that try this one again."""
    since: datetime | None = None
    """Accepted at or after."""
    until: datetime | None = None
    """Accepted before."""
    started_since: datetime | None = None
    started_until: datetime | None = None
    ended_since: datetime | None = None
    ended_until: datetime | None = None
    longer_than: float | None = None
    """Seconds that it takes or took, from its begin."""
    shorter_than: float | None = None
    error: tuple[str, ...] = ()
    """Codes of errors, one of which it ended with."""
    error_text: str | None = None
    """What its error's message holds; lower and upper case are alike."""
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    """Values that its parameters have, by name."""
    oldest_first: bool = False

    @property
    def flow_pattern(self) -> str | None:
        """What the wanted flows' paths fit, as `fnmatch` and GLOB have it; None where one flow is named, or none."""
        if self.flow is None or not (self.flow.endswith("/") or set("*?") & set(self.flow)):
            return None
        plain = self.flow.removeprefix("./").replace("[", "[[]")
        return f"{plain}*" if plain.endswith("/") else plain


ALL_RUNS = RunFilter()

LOWER_BOUNDS = {
    "until": "since",
    "started_until": "started_since",
    "ended_until": "ended_since",
    "shorter_than": "longer_than",
}
"""Bounds of a RunFilter: where the first is not above the second, no run fits, and who asks made a mistake."""
