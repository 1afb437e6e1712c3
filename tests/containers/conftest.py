"""The Docker engine of the tests, and steps in memory that use it."""

from __future__ import annotations

from tests.containers.docker_steps import docker_steps
from tests.docker_engine import docker_engine, own_docker_engine
from tests.steps.conftest import context

__all__ = ["context", "docker_engine", "docker_steps", "own_docker_engine"]
