"""Worlds whose flows may run containers, and what is there of them in the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.docker_engine import DockerEngine
from tests.engine.world import World, until

SECONDS = 10.0
"""So soon after a run nothing of it may be left in the engine."""


def allow_containers(data: Path) -> None:
    """Write what config.yml must say."""
    data.mkdir(parents=True, exist_ok=True)
    (data / "config.yml").write_text("docker: {enabled: true, allow_images: ['octospool-test:*']}\n")


def container(name: str, *command: str, **step: Any) -> str:
    """A step of a flow file that runs the command in a container without network."""
    words = ", ".join(f"'{word}'" for word in command)
    options = f"{{image: octospool-test, network: none, command: [{words}]}}"
    more = "".join(f", {key}: {value}" for key, value in step.items())
    return f"  - {{name: {name}, type: docker{more}, docker: {options}}}\n"


class ContainerWorld(World):
    """A world whose flows may run containers of the image of the tests."""

    def __init__(self, data: Path, engine: DockerEngine, **variables: Any) -> None:
        allow_containers(data)
        super().__init__(data, **{"docker_host": engine.host, **variables})
        self.docker = engine

    def containers(self, run_id: str, *, running: bool = False) -> list[str]:
        """Names of the containers of a run that are in the engine, running or not."""
        return self.docker.containers(f"octospool.run={run_id}", running=running)

    def until_running(self, run_id: str, count: int = 1) -> None:
        """Return once so many containers of the run are running."""
        until(lambda: len(self.containers(run_id, running=True)) == count, f"{count} containers run")

    def until_gone(self, run_id: str) -> None:
        """Nothing is left of the run in the engine, soon enough."""
        until(lambda: not self.containers(run_id), "the run's containers are gone", seconds=SECONDS)
