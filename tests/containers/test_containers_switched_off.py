"""Containers are switched off, and a crash has left some of the time before: they are removed all the same."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from flow_processor.containers.labels import OWNER_FILE
from tests.containers.container_world import ContainerWorld, container
from tests.docker_engine import DockerEngine
from tests.engine.world import World, until


def has_sweep() -> bool:
    """Does a thread look for containers?"""
    return "containers" in [thread.name for thread in threading.enumerate()]


@pytest.fixture(autouse=True)
def _alone() -> None:
    until(lambda: not has_sweep(), "the worlds of other tests are gone")


def test_what_a_crash_left_is_removed_then_nobody_looks_any_more(
    docker_engine: DockerEngine, tmp_path: Path
) -> None:
    world = ContainerWorld(tmp_path / "data", docker_engine).start()
    run_id = world.launch("steps:\n" + container("one", "sleep", "1000"))
    world.until_running(run_id)
    labels = docker_engine.client.containers.get(world.containers(run_id)[0]).labels
    world.service.cancel_run(run_id, by="a test")
    world.wait(run_id)
    world.until_gone(run_id)
    world.leave()
    docker_engine.client.containers.run(docker_engine.image, ["sleep", "1000"], detach=True, labels=labels)

    (world.data / "config.yml").write_text("docker: {enabled: false}\n")
    off = World(world.data, docker_host=docker_engine.host).start()
    world.until_gone(run_id)
    until(lambda: not has_sweep(), "nobody looks any more")
    off.leave()


def test_an_engine_that_is_gone_too_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / OWNER_FILE).write_text("a\n")
    world = World(tmp_path / "data", docker_host=f"unix://{tmp_path}/nowhere").start()
    try:
        until(lambda: "cannot be removed now" in caplog.text, "it has looked")
        assert [one.levelname for one in caplog.records if "cannot be removed now" in one.message] == ["INFO"]
    finally:
        world.leave()


def test_where_there_never_were_any_nobody_looks(tmp_path: Path) -> None:
    world = World(tmp_path / "data").start()
    assert not has_sweep()
    world.leave()
