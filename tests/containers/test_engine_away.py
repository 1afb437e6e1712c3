"""An engine that is not there, or hangs: steps say so in their time, and nobody else notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow_processor.run import RunStatus
from tests.containers.container_world import ContainerWorld, container
from tests.containers.engine_proxy import EngineProxy
from tests.docker_engine import DockerEngine
from tests.engine.world import World, error_code, until

QUICK = "steps:\n  - {name: one, type: set_fact, set_fact: {value: 1}}\n"


@pytest.fixture(scope="module")
def world(
    own_docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContainerWorld]:
    """One for the tests that stop the engine."""
    world = ContainerWorld(tmp_path_factory.mktemp("away") / "data", own_docker_engine, max_workers=4).start()
    yield world
    world.leave()


def test_an_engine_that_hangs_fails_the_step_in_its_time_and_nothing_else(world: ContainerWorld) -> None:
    """The step ends `docker_unavailable` at its limit; other runs go on; what it may have begun is removed later."""
    with world.docker.standing_still():
        run_id = world.launch("steps:\n" + container("one", "sleep", "1000", timeout_seconds=2))
        world.succeed(QUICK)
        run = world.wait(run_id)
        assert error_code(run) == "docker_unavailable"
        assert run.steps[0].duration_seconds < 2 + 10  # of its own limit, whatever the machine is busy with
    world.until_gone(run_id)


def test_a_container_whose_engine_hangs_is_given_up_and_removed_once_it_answers(
    world: ContainerWorld,
) -> None:
    """A cancel ends the run at once; the container, which nobody could reach, does not outlive it for long."""
    run_id = world.launch("steps:\n" + container("one", "sleep", "1000"))
    world.until_running(run_id)
    with world.docker.standing_still():
        world.service.cancel_run(run_id, by="a test")
        assert world.wait(run_id).status is RunStatus.CANCELLED
    world.until_gone(run_id)


def test_a_stop_does_not_wait_for_an_engine_that_hangs(
    own_docker_engine: DockerEngine, tmp_path: Path
) -> None:
    """Even where it has just lost a worker. The next start removes what is left then."""
    world = ContainerWorld(tmp_path / "data", own_docker_engine).start()
    run_id = world.launch("steps:\n" + container("one", "sleep", "1000"))
    world.until_running(run_id)
    with world.docker.standing_still():
        world.kill_worker(run_id)
        assert world.wait(run_id).status is RunStatus.INTERRUPTED
        began = time.monotonic()
        world.stop()
        assert time.monotonic() - began < 10
    assert len(world.containers(run_id)) == 1
    world.start()
    world.until_gone(run_id)
    world.leave()


def test_an_engine_that_is_restarted_below_a_container_leaves_none_beside_the_run(
    docker_engine: DockerEngine, tmp_path: Path
) -> None:
    """The step fails meanwhile; while the run goes on after it, its worker removes the container as soon as it can."""
    proxy = EngineProxy(tmp_path / "socket", docker_engine.folder / "socket")
    world = ContainerWorld(tmp_path / "data", docker_engine, docker_host=proxy.host).start()
    steps = container("one", "sleep", "1000", ignore_errors="'engine'")
    run_id = world.launch(
        f"steps:\n{steps}  - {{name: two, type: shell, shell: {{command: [sleep, '1000']}}}}\n"
    )
    world.until_running(run_id)
    with proxy.away():
        world.until_begun(run_id, "two")
        assert len(world.containers(run_id)) == 1
    until(lambda: not world.containers(run_id), "the container is gone")
    run = world.service.run(run_id)
    error = run.steps[0].error
    assert error is not None
    assert (run.status, error.code) == (RunStatus.RUNNING, "docker_unclear")
    assert error.message.startswith(
        "the container had begun and may have done its work: the Docker engine at "
    )
    world.service.cancel_run(run_id, by="a test")
    world.wait(run_id)
    world.leave()
    proxy.close()


def test_without_an_engine_the_step_says_so_and_all_else_works(
    own_docker_engine: DockerEngine, tmp_path: Path
) -> None:
    world = ContainerWorld(tmp_path / "data", own_docker_engine)
    world = World(tmp_path / "data", docker_host=f"unix://{tmp_path}/nowhere").start()
    assert error_code(world.run("steps:\n" + container("one", "true"))) == "docker_unavailable"
    world.succeed(QUICK)
    assert all(check.ok for check in world.service.readiness().checks if check.name != "scheduler")
    world.leave()
