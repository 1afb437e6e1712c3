"""A container never outlives its run, however that ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from flow_processor.run import RunStatus
from tests.containers.container_world import ContainerWorld, container
from tests.docker_engine import DockerEngine
from tests.engine.world import error_code, until

FOREVER = ("sleep", "1000")


@pytest.fixture(scope="module")
def world(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerWorld]:
    """One for all tests of this file."""
    world = ContainerWorld(tmp_path_factory.mktemp("containers") / "data", docker_engine, max_workers=4)
    world.start()
    yield world
    world.leave()


@pytest.mark.parametrize(
    ("command", "step", "code"),
    [
        (("true",), {}, None),
        (("sh", "-c", "exit 3"), {"retry": "{attempts: 1, delay_seconds: 0}"}, "container_failed"),
    ],
    ids=["success", "failure"],
)
def test_it_is_gone_when_its_run_has_ended(
    world: ContainerWorld, command: tuple[str, ...], step: dict[str, str], code: str | None
) -> None:
    """The step itself removes it: at the end of the run nothing has to be waited for."""
    run = world.run("steps:\n" + container("one", *command, **step))
    assert error_code(run) == code
    assert world.containers(run.run_id) == []


def test_the_time_limit_of_the_step_ends_it(world: ContainerWorld) -> None:
    """Also one that is deaf to signals."""
    limit = {"needs": "[]", "timeout_seconds": 5, "ignore_errors": "'time limit'"}
    deaf = ("sh", "-c", 'trap "" TERM; sleep 1000')
    run = world.run("steps:\n" + container("plain", *FOREVER, **limit) + container("deaf", *deaf, **limit))
    assert [step.error and step.error.code for step in run.steps] == ["step_timeout", "step_timeout"]
    world.until_gone(run.run_id)


def test_a_cancel_ends_all_that_run(world: ContainerWorld) -> None:
    run_id = world.launch(
        "steps:\n" + container("a", *FOREVER, needs="[]") + container("b", *FOREVER, needs="[]")
    )
    world.until_running(run_id, 2)
    world.service.cancel_run(run_id, by="a test")
    assert world.wait(run_id).status is RunStatus.CANCELLED
    world.until_gone(run_id)


def test_a_final_failure_ends_those_beside_it_and_what_waits_never_starts(world: ContainerWorld) -> None:
    """After its extra try; the containers of the others are gone with them."""
    flow = (
        "steps:\n"
        + container(
            "bad", "sh", "-c", "sleep 0.5; exit 3", needs="[]", retry="{attempts: 1, delay_seconds: 0}"
        )
        + container("slow", *FOREVER, needs="[]")
        + container("slow_too", *FOREVER, needs="[]")
        + container("after", "true", needs="[slow, slow_too]")
    )
    run = world.run(flow)
    assert (run.status, run.error and run.error.step) == (RunStatus.FAILED, "bad")
    world.until_gone(run.run_id)
    ends = {
        (step.path, step.attempt): (step.status.value, step.error and step.error.code) for step in run.steps
    }
    assert ends == {
        ("bad", 1): ("failed", "container_failed"),
        ("bad", 2): ("failed", "container_failed"),
        ("slow", 1): ("cancelled", "sibling_failed"),
        ("slow_too", 1): ("cancelled", "sibling_failed"),
        ("after", 1): ("not_started", None),
    }


def test_the_time_limit_of_the_run_ends_it(world: ContainerWorld) -> None:
    run_id = world.launch("steps:\n" + container("one", *FOREVER))
    world.until_running(run_id)
    world.use_up_time_limit(run_id)
    assert error_code(world.wait(run_id)) == "flow_timeout"
    world.until_gone(run_id)


def test_a_worker_that_is_killed_leaves_none(world: ContainerWorld) -> None:
    """The daemon removes what the dead cannot; what the container did is in doubt."""
    run_id = world.launch("steps:\n" + container("one", *FOREVER))
    world.until_running(run_id)
    world.kill_worker(run_id)
    world.until_gone(run_id)
    assert world.wait(run_id).status is RunStatus.INTERRUPTED


def test_a_worker_that_hangs_is_killed_and_leaves_none(world: ContainerWorld) -> None:
    """Also where the worker itself does nothing any more when the step's time is over."""
    run_id = world.launch("steps:\n" + container("one", *FOREVER, timeout_seconds=8))
    world.until_running(run_id)
    os.kill(world.worker_pid(run_id), signal.SIGSTOP)
    assert error_code(world.wait(run_id)) == "step_timeout"
    world.until_gone(run_id)


def test_a_step_that_may_be_run_again_never_runs_beside_its_old_container(world: ContainerWorld) -> None:
    """The next worker's container begins once the dead one's is gone."""
    once = container("one", "sh", "-c", "sleep 1000", on_interrupt="rerun")
    run_id = world.launch("steps:\n" + once)
    world.until_running(run_id)
    first = world.containers(run_id)
    world.kill_worker(run_id)
    until(lambda: world.containers(run_id) not in ([], first), "the step is run again")
    assert len(world.containers(run_id)) == 1
    world.service.cancel_run(run_id, by="a test")
    world.wait(run_id)
    world.until_gone(run_id)


def test_what_is_not_ours_stays(world: ContainerWorld) -> None:
    """Another daemon's container is not touched, whatever is looked for; nor is one without labels."""
    labels = {"octospool.data": "another", "octospool.run": "another", "octospool.worker": "dead"}
    others = [
        world.docker.client.containers.run(world.docker.image, list(FOREVER), detach=True, labels=given)
        for given in (labels, {})
    ]
    try:
        run_id = world.launch("steps:\n" + container("one", *FOREVER))
        world.until_running(run_id)
        world.kill_worker(run_id)
        world.until_gone(run_id)
        for other in others:
            other.reload()
            assert other.status == "running"
    finally:
        for other in others:
            other.remove(force=True)
