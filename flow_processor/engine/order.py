"""What a worker is told to do: one run, with all that its execution depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

CLOSING_SECONDS = 300.0
"""How long finally steps may take altogether after a cancel or time limit."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """One dispatch of one run. JSON values only: it crosses a pipe."""

    run_id: str
    flow: str
    """Path of the flow below the flows folder."""
    flow_hash: str
    """SHA-256 over `flows`."""
    flows: dict[str, str]
    """The flow and its sub-flows as they were at launch: `{path: text}`."""
    data: dict[str, Any]
    """The flow data before the first step."""
    dispatch: int
    """1 for the first worker that gets the run; gives the range of its sequence numbers."""
    timeout_seconds: float | None
    """How long the run may still take, in seconds."""
    rows: Sequence[Sequence[Any]]
    """The journal so far, as wire rows."""
    started_at: float
    """When the run's first worker got it, in seconds since 1970."""
    log_bytes: int = 0
    """How much of a log the run has already, in bytes."""
    secrets: Sequence[str] = ()
    """Secrets that steps before may have used, in another worker or another run: names only."""

    def as_frame(self) -> dict[str, Any]:
        """The order as a frame's content."""
        # Not dataclasses.asdict: it copies the payload level by level.
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker process needs to know, once, at its start. No secret of the daemon is among it."""

    worker_id: str
    data_path: str
    templates_path: str
    private_paths: Sequence[str]
    """What no step may touch: flows, secrets, config, store, locks."""
    workers_path: str
    """Folder of the worker's own lock file."""
    handover_path: str
    """Folder for the last rows of a worker whose daemon is gone."""
    results_path: str
    """Folder of large results."""
    timezone: str
    """Name of the zone in which moments without one are meant."""
    memory_mb: int
    """Limit of the process's address space, in MiB; 0 for none."""
    switched_off: Mapping[str, str] = field(default_factory=dict)
    """Step type -> the key of config.yml that switches it off."""
    docker: Mapping[str, Any] | None = None
    """DockerAccess as JSON values; None: there are no containers."""
    max_item_bytes: Mapping[str, int] = field(default_factory=dict)
    """Queue -> the largest item that may be put there, in bytes; DEFAULTS stands for the queues that are not named."""
    cores: Sequence[int] = ()
    """Processor cores to use; none named: those of the daemon."""
