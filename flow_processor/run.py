"""A run: one execution of a flow. Its statuses, what may follow what, what caused it, and its id."""

from __future__ import annotations

import base64
import re
import secrets
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


def new_run_id(now: datetime) -> str:
    """A run id that people can read and that sorts by time: `20261121T074006123-k7x2mtqa` (UTC, ms)."""
    stamp = now.strftime("%Y%m%dT%H%M%S") + f"{now.microsecond // 1000:03d}"
    return f"{stamp}-{base64.b32encode(secrets.token_bytes(5)).decode().lower()}"
