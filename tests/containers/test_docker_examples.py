"""The examples with containers that are shipped, on a real engine."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator

import pytest

from tests.containers.container_world import SECONDS
from tests.docker_engine import IMAGE, DockerEngine
from tests.engine.world import World, until
from tests.shipped import SHIPPED, WRITTEN_BY_DAEMONS, switch_containers_on

BUSYBOX = ("busybox", "1.36")
"""The image of the examples."""


@pytest.fixture(scope="module")
def world(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Over a copy of the shipped data folder, with containers switched on as config.yml shows it."""
    data = tmp_path_factory.mktemp("examples") / "data"
    shutil.copytree(SHIPPED, data, ignore=WRITTEN_BY_DAEMONS)
    switch_containers_on(data, f"host: {docker_engine.host}")
    docker_engine.client.api.tag(IMAGE, *BUSYBOX)
    world = World(data, max_workers=2).start()
    yield world
    world.leave()


def test_docker_counts_words_in_a_folder_that_it_is_given(world: World) -> None:
    """One container writes the file that is the result, another one decides by its exit code."""
    issues = (SHIPPED / "input" / "jira_search.json").read_text(encoding="utf-8").splitlines()
    expected = sum("done" in line.lower() for line in issues)
    data = world.succeed("examples/docker.yml")
    assert data["counted"] == {"word": "done", "lines": expected}
    assert data["is_much"] is (expected > 10)
    written = world.data / "output" / "docker" / "count.json"
    assert json.loads(written.read_text(encoding="utf-8")) == data["counted"]
    assert world.succeed("examples/docker.yml", data="no such word; exit 1")["is_much"] is False


def test_docker_needs_runs_containers_side_by_side_and_one_that_needs_them_all(world: World) -> None:
    """What each of them printed is in the last one's report."""
    export = (SHIPPED / "input" / "jira_search.json").read_bytes()
    data = world.succeed("examples/docker_needs.yml")
    assert data["report"] == f"{len(export)} bytes, sha256 {hashlib.sha256(export).hexdigest()}"
    assert (world.data / "output" / "docker_needs" / "report.txt").read_text() == data["report"] + "\n"


def test_docker_needs_ends_what_runs_beside_a_final_failure(
    world: World, docker_engine: DockerEngine
) -> None:
    """After the extra try; and what waits never starts."""
    run = world.wait(world.service.launch("examples/docker_needs.yml", params={"breaks": True}).run_id)
    assert run.error is not None
    assert (run.error.code, run.error.step) == ("container_failed", "checked")
    ends = {(step.path, step.attempt): step.status.value for step in run.steps}
    assert ends[("checked", 1)] == ends[("checked", 2)] == "failed"
    assert (ends[("soaked", 1)], ends[("report", 1)]) == ("cancelled", "not_started")
    label = f"octospool.run={run.run_id}"
    until(lambda: not docker_engine.containers(label), "its containers are gone", seconds=SECONDS)
