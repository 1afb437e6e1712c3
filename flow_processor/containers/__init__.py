"""Containers: the only place that talks to a Docker engine.

The SDK is imported when an engine is first spoken to (it takes a tenth of a second), so that a process that has no
container to do with never loads it.
"""

from flow_processor.containers.container import Container, Ended
from flow_processor.containers.engine import Engine, EngineUnavailable, LabelledContainer, engine_at
from flow_processor.containers.labels import labels_of, owner_id
from flow_processor.containers.rules import ContainerRules
from flow_processor.containers.wanted import WantedContainer

__all__ = [
    "Container",
    "ContainerRules",
    "Ended",
    "Engine",
    "EngineUnavailable",
    "LabelledContainer",
    "WantedContainer",
    "engine_at",
    "labels_of",
    "owner_id",
]
