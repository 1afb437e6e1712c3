"""A run that is under way in the store and in nobody's hands is told, and goes on at the next start."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flow_processor.run import RunStatus
from flow_processor.service.views import Check
from tests.engine.world import World, until

FLOW = """steps:
  - {name: first, type: set_fact, set_fact: {value: 1}}
  - {name: ask, type: wait, wait: {signal: go}}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One worker."""
    world = World(tmp_path / "data", max_workers=1).start()
    yield world
    world.leave()


def lost(world: World) -> Check:
    """What readiness says of lost runs."""
    return next(check for check in world.service.readiness().checks if check.name == "runs")


def reopen_behind_its_back(world: World, run_id: str) -> None:
    """The run's end is taken out of the store while the daemon works: nobody has it then."""
    with closing(sqlite3.connect(world.data / "octospool.db")) as connection, connection:
        connection.execute("UPDATE runs SET status = 'running', ended_at = NULL WHERE id = ?", (run_id,))
        connection.execute("DELETE FROM journal WHERE run_id = ? AND event = 'ended'", (run_id,))


def test_a_run_in_nobodys_hands_is_told_and_goes_on_at_the_next_start(world: World) -> None:
    waiting = world.launch(FLOW)
    until(lambda: world.service.engine.parked_count() == 1, "it waits")
    lost_one = world.launch("steps:\n  - {name: a, type: set_fact, set_fact: {value: 1}}\n")
    assert world.wait(lost_one).status is RunStatus.SUCCEEDED
    reopen_behind_its_back(world, lost_one)
    world.service.lost_runs.look()
    assert lost(world).ok, "it may just be changing hands"
    world.service.lost_runs.look()
    found = lost(world)
    assert not found.ok
    assert lost_one in found.message
    assert waiting not in found.message
    assert "restart the daemon" in found.message
    world.stop()
    world.start()
    until(lambda: world.service.run(lost_one).status is RunStatus.SUCCEEDED, "it goes on")
    for _ in range(2):
        world.service.lost_runs.look()
    assert lost(world).ok
