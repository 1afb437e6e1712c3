"""Data folders of older versions: each one opens, its runs go on, its history reads. See versions/README.md."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from flow_processor.errors import StoreUnavailable
from flow_processor.run import RunStatus
from flow_processor.service import Service
from flow_processor.settings import Settings
from flow_processor.store import database
from tests.engine.world import World

VERSIONS = Path(__file__).parent / "versions"
ROOT = Path(__file__).parents[2]
OUTCOMES = {
    "ok.yml": RunStatus.SUCCEEDED,
    "bad.yml": RunStatus.FAILED,
    "loop.yml": RunStatus.SUCCEEDED,
    "out.yml": RunStatus.EXITED,
}
"""Every fixture holds an ended run of each of these flows."""


def older(version: int, data: Path) -> Path:
    """A data folder with the store of that version; the store's file."""
    (data / "flows").mkdir(parents=True)
    (data / "config.yml").write_text("retention: {max_age_days: forever}\n", encoding="utf-8")
    path = data / "octospool.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript((VERSIONS / f"{version}.sql").read_text(encoding="utf-8"))
    connection.close()
    return path


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    (value,) = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    connection.close()
    return int(value)


def shape(path: Path) -> set[tuple[str, str]]:
    """Every table with its columns, and every index with what it is on."""
    connection = sqlite3.connect(path)
    found = set()
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if kind == "table":
            columns = connection.execute(f"PRAGMA table_info({name})").fetchall()
            found |= {(name, f"{column[1]} {column[2]} {column[3]} {column[5]}") for column in columns}
        elif sql:
            found.add((name, " ".join(sql.replace('"', "").split()).upper()))
    connection.close()
    return found


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return lines


def test_there_is_a_fixture_of_every_version() -> None:
    found = sorted(int(path.stem) for path in VERSIONS.glob("*.sql"))
    assert found == list(range(1, database.SCHEMA_VERSION + 1))


@pytest.mark.parametrize("version", range(1, database.SCHEMA_VERSION + 1))
def test_a_store_of_each_version_becomes_what_a_new_one_is(tmp_path: Path, version: int) -> None:
    old, new = older(version, tmp_path / "old"), tmp_path / "new.db"
    database.open_database(f"sqlite:///{old}").dispose()
    database.open_database(f"sqlite:///{new}").dispose()
    assert version_of(old) == database.SCHEMA_VERSION
    assert shape(old) == shape(new)


@pytest.mark.parametrize("version", range(1, database.SCHEMA_VERSION + 1))
def test_the_runs_of_each_version_read_and_go_on(tmp_path: Path, version: int) -> None:
    """With a real service: what had ended tells its steps and data, what was live comes to its end."""
    older(version, tmp_path / "data")
    world = World(tmp_path / "data").start()
    runs = world.service.runs(limit=100).runs
    ended = {run.flow: run for run in runs}
    for flow, status in OUTCOMES.items():
        assert ended[flow].status is status
    loop = world.service.run(ended["loop.yml"].run_id)
    assert [step.path for step in loop.steps][:3] == ["items", "each", "each[1]/a"]
    assert loop.data is not None
    assert loop.data["items"] == [0, 1, 2, 3, 4]
    assert world.service.run(ended["bad.yml"].run_id).error is not None
    schedules = world.service.schedules.page(flow="ok.yml").schedules
    first = schedules[0]
    assert (first.origin, first.every_seconds, first.state) == ("flow", 3600, "active")
    assert len(schedules) == (1 if version < 4 else 2)
    live = [run.run_id for run in runs if run.flow == "long.yml"]
    assert len(live) == 2
    for run_id in live:
        run = world.wait(run_id)
        assert run.status is RunStatus.SUCCEEDED
        assert run.data is not None
        assert (run.data["first"], run.data["last"]) == (1, 2)
        assert [step.status.value for step in run.steps] == ["succeeded"] * 3
    world.leave()


def test_a_newer_store_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    """Neither by a start nor by a command that only reads."""
    path = older(1, tmp_path / "data")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    settings = Settings.load({"DATA_PATH": str(tmp_path / "data")})
    with pytest.raises(StoreUnavailable, match="schema 99, this program knows 5") as caught:
        Service(settings).start()
    assert caught.value.code == "store_too_new"
    with pytest.raises(StoreUnavailable, match="install that version"):
        Service(settings).runs()
    assert path.read_bytes() == before
    # Nobody holds the folder after the refusal.
    assert Service(settings).data_folder.holder() is None


DIES = """
import os, signal, sys
from flow_processor.store import database

def dies(connection):
    database._to_version_2(connection)
    connection.exec_driver_sql("DELETE FROM journal")
    os.kill(os.getpid(), signal.SIGKILL)

database.MIGRATIONS = {**database.MIGRATIONS, 2: dies}
database.open_database(sys.argv[1])
"""


def test_a_migration_that_is_killed_leaves_the_old_version_whole(tmp_path: Path) -> None:
    path = older(1, tmp_path / "data")
    before = dump(path)
    died = subprocess.run(
        [sys.executable, "-c", DIES, f"sqlite:///{path}"],
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert died.returncode == -signal.SIGKILL
    assert version_of(path) == 1
    assert dump(path) == before
    database.open_database(f"sqlite:///{path}").dispose()
    assert version_of(path) == database.SCHEMA_VERSION
