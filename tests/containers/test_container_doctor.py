"""The doctor finds containers that nobody looks after, and removes them where it may."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flow_processor.cli.app import octospool
from tests.containers.container_world import ContainerWorld, container
from tests.docker_engine import DockerEngine


def doctor(*options: str) -> tuple[int, list[Any]]:
    """Exit code and what was found."""
    result = CliRunner().invoke(octospool, ["doctor", "--json", *options], prog_name="octospool")
    return result.exit_code, json.loads(result.stdout)["found"]


def test_a_container_without_a_worker_is_found_and_removed(
    docker_engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ContainerWorld(tmp_path / "data", docker_engine).start()
    monkeypatch.setenv("DATA_PATH", str(world.data))
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    run_id = world.launch("steps:\n" + container("one", "sleep", "1000"))
    world.until_running(run_id)
    assert doctor() == (0, []), "a container in a worker's hands is as it should be"
    labels = docker_engine.client.containers.get(world.containers(run_id)[0]).labels
    world.service.cancel_run(run_id, by="a test")
    world.wait(run_id)
    world.until_gone(run_id)
    world.leave()

    left = docker_engine.client.containers.run(
        docker_engine.image, ["sleep", "9"], detach=True, labels=labels
    )
    code, found = doctor()
    assert (code, [one["code"] for one in found]) == (1, ["container_left"])
    assert all(word in found[0]["message"] for word in (left.id[:12], run_id, "step one"))
    code, found = doctor("--repair")
    assert (code, [one["repaired"] for one in found]) == (0, [True])
    assert world.containers(run_id) == []

    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere")
    code, found = doctor()
    assert (code, [one["code"] for one in found]) == (1, ["docker_unavailable"])
