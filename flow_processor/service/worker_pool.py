"""The workers of a data folder: what they are told of it, and how many there may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flow_processor.clock import Clock
from flow_processor.containers import owner_id
from flow_processor.engine.order import WorkerSettings
from flow_processor.engine.pool import WorkerPool
from flow_processor.settings import Settings
from flow_processor.spec.docker import DockerAccess
from flow_processor.store import store_files


def worker_pool(settings: Settings, *, spares: int, cores: Sequence[int], clock: Clock) -> WorkerPool:
    """A pool that starts workers when they are needed, and keeps `spares` ready. `cores`: see engine/cores.py."""
    return WorkerPool(
        _worker_settings(settings, cores),
        environment=settings.environment,
        max_workers=settings.max_workers,
        spare_workers=spares,
        clock=clock,
    )


def _worker_settings(settings: Settings, cores: Sequence[int]) -> WorkerSettings:
    private = [*settings.private_paths, *store_files(settings.database_url)]
    return WorkerSettings(
        worker_id="",
        data_path=str(settings.data_path),
        templates_path=str(settings.templates_path),
        private_paths=[str(path) for path in private],
        workers_path=str(settings.data_path / "workers"),
        handover_path=str(settings.data_path / "handover"),
        results_path=str(settings.results_path),
        timezone=settings.timezone,
        memory_mb=settings.worker_memory_mb,
        switched_off=settings.switched_off,
        max_item_bytes=settings.queues.max_item_bytes(),
        docker=_docker_access(settings),
        cores=cores,
    )


def _docker_access(settings: Settings) -> dict[str, Any] | None:
    """What workers are told about containers."""
    if not settings.docker.enabled:
        return None
    owner = owner_id(settings.data_path, create=True)
    return DockerAccess(settings.docker_host, owner or "", settings.docker).as_json()
