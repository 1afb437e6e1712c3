"""Daemons that are killed while containers run: none outlives its run, and none is taken from a worker that lives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.containers.container_world import SECONDS, allow_containers, container
from tests.docker_engine import DockerEngine, docker_engine
from tests.engine.world import until

__all__ = ["docker_engine"]

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="the engine of the tests is Linux's")


@pytest.fixture
def daemon(make_daemon: Callable[..., DaemonProcess], docker_engine: DockerEngine) -> DaemonProcess:
    """One whose flows may run containers, not started yet."""
    daemon = make_daemon(docker_host=docker_engine.host, max_workers=2)
    allow_containers(daemon.data)
    return daemon


def until_running(engine: DockerEngine, run_id: str, count: int) -> None:
    label = f"octospool.run={run_id}"
    until(lambda: len(engine.containers(label, running=True)) == count, f"{count} containers run")


def test_ten_containers_are_removed_after_daemon_and_worker_were_killed(
    daemon: DaemonProcess, docker_engine: DockerEngine
) -> None:
    """kill -9 of everything, as a power cut does it; the next daemon removes what nobody has."""
    steps = "".join(container(f"s{number}", "sleep", "1000", needs="[]") for number in range(10))
    path = daemon.write("ten.yml", f"max_parallel: 10\nsteps:\n{steps}")
    daemon.start()
    run_id = daemon.launch(path)
    until_running(docker_engine, run_id, 10)
    daemon.kill_with_workers()
    assert len(docker_engine.containers(f"octospool.run={run_id}")) == 10
    daemon.start()
    until(
        lambda: not docker_engine.containers(f"octospool.run={run_id}"),
        "the containers of the dead worker are gone",
        seconds=SECONDS,
    )
    assert daemon.until_ended(run_id)["status"] == "interrupted"
    daemon.settle()
    invariants.check(daemon.data, accepted=[run_id], engine=docker_engine)


def test_a_worker_whose_daemon_was_killed_looks_after_its_containers(
    daemon: DaemonProcess, docker_engine: DockerEngine
) -> None:
    """It removes its container though no daemon is there; and no daemon that starts takes one away from it."""
    gates = [daemon.data / "gates" / name for name in ("one", "two")]
    gates[0].parent.mkdir(parents=True)
    steps = ""
    for gate in gates:
        wait = f"while [ ! -e /gates/{gate.name} ]; do sleep 0.1; done; echo done"
        steps += container(gate.name, "sh", "-c", wait).replace(
            "{image", "{volumes: ['gates:/gates:ro'], image"
        )
    path = daemon.write("gates.yml", f"steps:\n{steps}")
    daemon.start()
    run_id = daemon.launch(path)
    until_running(docker_engine, run_id, 1)
    daemon.kill()
    gates[0].touch()
    until(lambda: not daemon.living_workers(), "the worker has finished the step and left")
    assert docker_engine.containers(f"octospool.run={run_id}") == []

    daemon.start()
    until_running(docker_engine, run_id, 1)
    daemon.kill()
    labels = docker_engine.client.containers.list(filters={"label": f"octospool.run={run_id}"})[0].labels
    stray = docker_engine.client.containers.create(
        docker_engine.image, ["true"], labels={**labels, "octospool.worker": "dead"}
    )
    daemon.start()
    until(lambda: stray.name not in docker_engine.containers("octospool.worker=dead"), "the daemon looks")
    until_running(docker_engine, run_id, 1)
    gates[1].touch()
    run = daemon.until_ended(run_id)
    assert (run["status"], run["data"]["one"], run["data"]["two"]) == ("succeeded", "done", "done")
    assert docker_engine.containers(f"octospool.run={run_id}") == []
    daemon.settle()
    invariants.check(daemon.data, accepted=[run_id], engine=docker_engine)

    left = docker_engine.client.containers.create(docker_engine.image, labels={"octospool.run": run_id})
    with pytest.raises(AssertionError, match="containers of runs that have ended"):
        invariants.check(daemon.data, accepted=[run_id], engine=docker_engine)
    left.remove()
