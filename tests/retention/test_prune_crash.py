"""A daemon that is killed while it prunes: the next one goes on, and nothing is left that belongs to nothing."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest

from flow_processor.run import RunStatus
from flow_processor.service import Service
from flow_processor.store.checkup import Checkup
from tests.engine.world import World, until
from tests.forked import start_python

RUNS = 400

PRUNES = """
import sys
from flow_processor.service import Service
from flow_processor.settings import Settings

service = Service(Settings.load({"DATA_PATH": sys.argv[1]}))
print("ready", flush=True)
while True:
    for step in service.pruning.steps():
        service.store.writer.run(step)
        service.pruning.rows = 25
"""


def fill(path: Path) -> None:
    """Old runs with ten journal rows each, written straight into the store."""
    connection = sqlite3.connect(path)
    for number in range(RUNS):
        run_id = f"20200101T000000{number:03d}-aaaaaaaa"
        connection.execute(
            "INSERT INTO runs (id, flow, flow_hash, trigger, trigger_by, status, input, created_at, ended_at)"
            " VALUES (?, 'old.yml', 'h', 'api', 'a test', 'succeeded', 'null', 1, 2)",
            (run_id,),
        )
        connection.executemany(
            "INSERT INTO journal VALUES (?, ?, 'a', 1, 'succeeded', 1.0, NULL)",
            [(run_id, seq) for seq in range(10)],
        )
    connection.commit()
    connection.close()


@pytest.mark.parametrize("left", [RUNS * 3 // 4, 0])
def test_pruning_goes_on_after_a_kill(world: World, run_id: str, left: int) -> None:
    """Killed while runs are deleted, and while only their journals are left."""
    path = world.data / "octospool.db"
    fill(path)
    pruning = start_python(PRUNES, str(world.data))
    checkup = Checkup(path)
    until(lambda: checkup.runs() <= left + 1, "enough of them are deleted")
    pruning.send_signal(signal.SIGKILL)
    pruning.communicate()
    assert checkup.integrity() == []
    assert checkup.rows_without_run() == []
    assert checkup.runs_without_rows() == []

    service = Service(world.settings)
    for step in service.pruning.steps():
        service.store.writer.run(step)
    assert [run.run_id for run in service.runs(limit=100).runs] == [run_id]
    assert service.run(run_id).status is RunStatus.SUCCEEDED
    assert checkup.removals() == 0
    assert checkup.rows_without_run() == []
    checkup.close()
    service.stop()
