"""What `octospool doctor` finds in the Docker engine."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from flow_processor.containers.engine import Engine, EngineRefused, EngineUnavailable
from flow_processor.containers.labels import RUN_LABEL, STEP_LABEL
from flow_processor.service.findings import Finding
from flow_processor.service.left_containers import left_containers
from flow_processor.settings import Settings

SILENCE_SECONDS = 5.0
"""So long the engine may take for an answer."""


def in_engine(settings: Settings) -> Iterator[Finding]:
    """Are there containers that nobody looks after? Also where flows may have none any more."""
    engine = Engine(settings.docker_host, timeout_seconds=SILENCE_SECONDS)
    try:
        if settings.docker.enabled:
            engine.ping()
        left = left_containers(engine, settings.data_path)
    except (EngineUnavailable, EngineRefused) as error:
        if settings.docker.enabled:
            yield Finding(error.code, error.message)
        return
    finally:
        engine.close()
    for container in left:
        run, step = (container.labels.get(label, "unknown") for label in (RUN_LABEL, STEP_LABEL))
        message = (
            f"container {container.id[:12]} ({container.state}) of run {run}, step {step}, was left behind"
        )
        yield Finding("container_left", message, partial(_remove, settings, container.id))


def _remove(settings: Settings, container_id: str) -> None:
    engine = Engine(settings.docker_host, timeout_seconds=SILENCE_SECONDS)
    try:
        engine.remove(container_id)
    finally:
        engine.close()
