"""A data folder as a daemon leaves it, made once, and copies of it to do things to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow_processor.run import RunStatus
from flow_processor.service import Service
from tests.engine.world import World

QUICK = (
    "concurrency: {on_conflict: parallel}\nsteps:\n  - {name: a, type: jq, jq: {expression: '.__input__'}}\n"
)


@pytest.fixture(scope="session")
def left_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a flow, its one run, a template, secrets and a config. For `world` to copy, never to change."""
    made = World(tmp_path_factory.mktemp("left") / "data", max_workers=1).start()
    made.write("sub/quick.yml", QUICK)
    (made.data / "templates" / "t.j2").write_text("x", encoding="utf-8")
    (made.data / "secrets.yml").write_text("[]\n", encoding="utf-8")
    (made.data / "config.yml").write_text("timezone: UTC\n", encoding="utf-8")
    assert made.run("sub/quick.yml").status is RunStatus.SUCCEEDED
    made.leave()
    return made.data


@pytest.fixture
def world(left_folder: Path, tmp_path: Path) -> Iterator[World]:
    """A copy of that folder. Nobody is at work there until the test says `world.start()`."""
    shutil.copytree(left_folder, tmp_path / "data")
    made = World(tmp_path / "data", max_workers=1)
    yield made
    if hasattr(made, "service"):
        made.leave()


@pytest.fixture
def run_id(world: World) -> str:
    """The run that the folder has."""
    service = Service(world.settings)
    (run,) = service.runs().runs
    service.stop()
    return run.run_id
