"""An engine that is not there, that hangs, or that fails meanwhile: a clear error, in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow_processor.containers import Engine, EngineUnavailable
from flow_processor.errors import StepError
from tests.containers.docker_steps import DockerSteps
from tests.docker_engine import DockerEngine
from tests.engine.world import until
from tests.steps.conftest import FakeContext

IN_TIME_SECONDS = 20.0
"""Far more than the limits here, and far less than what a hanging engine would take."""


@pytest.fixture
def steps(own_docker_engine: DockerEngine, context: FakeContext) -> Iterator[DockerSteps]:
    """Steps on an engine that may be stopped."""
    steps = DockerSteps(own_docker_engine, context)
    yield steps
    until(lambda: not steps.left(), "no container is left")


def test_no_engine(context: FakeContext, tmp_path: Path) -> None:
    error = DockerSteps(DockerEngine(tmp_path), context).fail("true")
    assert error.code == "docker_unavailable"
    assert error.message == (
        f"the Docker engine at unix://{tmp_path}/socket cannot be used: nothing listens there; "
        "start it, or name another one by docker.host in config.yml"
    )


def test_an_engine_that_hangs_at_the_beginning(steps: DockerSteps) -> None:
    began = time.monotonic()
    with steps.engine.standing_still():
        error = steps.fail("true", timeout_seconds=1)
        took = time.monotonic() - began
    assert error.code == "docker_unavailable"
    assert "did not answer within the step's time limit" in error.message
    assert "outcome" not in error.details, "nothing was started, so it may be tried again"
    assert took < IN_TIME_SECONDS


def test_an_engine_that_hangs_while_the_container_runs(steps: DockerSteps) -> None:
    """The step ends in time; the container is removed once the engine answers again."""
    context = steps.context
    failed: list[StepError] = []
    step = threading.Thread(
        target=lambda: failed.append(steps.fail("sh", "-c", "echo begun; exec sleep 1000"))
    )
    step.start()
    until(lambda: ("info", "begun") in context.lines, "it runs")
    with steps.engine.standing_still():
        context.seconds_left = 0
        step.join(IN_TIME_SECONDS)
        assert not step.is_alive()
    assert failed[0].code == "step_timeout"


def test_a_cancel_while_the_engine_hangs(steps: DockerSteps) -> None:
    with steps.engine.standing_still():
        threading.Timer(0.3, steps.context.stop.set).start()
        assert steps.fail("true").code == "cancelled"


def test_what_is_asked_outside_of_steps_has_a_limit(steps: DockerSteps) -> None:
    engine = Engine(steps.engine.host, timeout_seconds=0.5)
    with steps.engine.standing_still(), pytest.raises(EngineUnavailable) as silent:
        engine.containers({"octospool.data": steps.owner})
    assert "it did not answer within 0.5 s" in silent.value.message
    assert engine.containers({"octospool.data": steps.owner}) == []
    engine.ping()
    engine.close()
