"""The Docker engine of the tests, and worlds whose flows may use it."""

from __future__ import annotations

from tests.docker_engine import docker_engine, own_docker_engine

__all__ = ["docker_engine", "own_docker_engine"]
