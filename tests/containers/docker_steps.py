"""A docker step in memory, over the real engine of the tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from flow_processor import factory
from flow_processor.errors import StepError
from flow_processor.spec.docker import DockerAccess, DockerSettings
from tests.docker_engine import DockerEngine
from tests.engine.world import until
from tests.steps.conftest import FakeContext, validate_step


class DockerSteps:
    """Runs docker steps in one context; `owner` tells its containers from those of other tests."""

    def __init__(self, engine: DockerEngine, context: FakeContext) -> None:
        self.engine = engine
        self.context = context
        self.owner = f"test-{secrets.token_hex(4)}"
        self.allow(allow_images=["octospool-test:*"], allow_root=False)
        context.containers = self.access

    def allow(self, **settings: Any) -> None:
        """What config.yml says under `docker:`."""
        parsed = DockerSettings.model_validate({"enabled": True, **settings})
        self.access = DockerAccess(self.engine.host, self.owner, parsed)
        self.context.containers = self.access

    def run(self, *command: str, **options: Any) -> Any:
        """The result of a step whose container runs the command."""
        given = {"image": self.engine.image, **({"command": list(command)} if command else {}), **options}
        spec = validate_step({"type": "docker", "docker": given})
        return factory.step_type_of(spec).run(spec.options, self.context).value

    def fail(self, *command: str, **options: Any) -> StepError:
        """Its error."""
        with pytest.raises(StepError) as failed:
            self.run(*command, **options)
        return failed.value

    def left(self) -> list[str]:
        """Its containers that are there."""
        return self.engine.containers(f"octospool.data={self.owner}")


@pytest.fixture
def docker_steps(docker_engine: DockerEngine, context: FakeContext) -> Iterator[DockerSteps]:
    """Docker steps in memory. Nothing of them may be left."""
    steps = DockerSteps(docker_engine, context)
    yield steps
    until(lambda: not steps.left(), "no container is left")
