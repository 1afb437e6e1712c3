"""The doctor: finds what does not belong together, repairs it where nobody is at work, and touches nothing else."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flow_processor.cli.app import octospool as command
from flow_processor.journal import Event
from flow_processor.locks import LockFile
from flow_processor.service import Service
from flow_processor.store.journal import history_rows
from flow_processor.store.removals import delete_ended
from tests.engine.world import World, until

FIRST = "  - {name: first, type: jq, jq: {expression: '1'}}\n"
VERSIONS = Path(__file__).parents[1] / "store" / "versions"
GONE = "20200101T000000000-aaaaaaaa"


@pytest.fixture
def doctor(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`octospool doctor`, on the world's folder."""
    monkeypatch.setenv("DATA_PATH", str(world.data))
    return lambda *options: CliRunner().invoke(command, ["doctor", *options], prog_name="octospool")


def codes(result: Result) -> list[str]:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return [finding["code"] for finding in json.loads(result.stdout)["found"]]


def write_rows(world: World, run_id: str, data: dict[str, Any] | None = None) -> None:
    service = Service(world.settings)
    row = (1, "a", 1, Event.SUCCEEDED.value, 1.0, json.dumps(data or {}))
    service.store.writer.submit(None, rows=history_rows(run_id, [row], [(1, 1.0, "info", "a", "x")])).result()
    service.stop()


def write_row(world: World, run_id: str, data: str) -> None:
    """One more row of a run that is there."""
    service = Service(world.settings)
    row = (7, "b", 1, Event.SUCCEEDED.value, 1.0, data)
    service.store.writer.submit(None, rows=history_rows(run_id, [row])).result()
    service.stop()


def test_a_folder_that_is_well_is_called_so(world: World, doctor: Callable[..., Result]) -> None:
    result = doctor()
    assert result.exit_code == 0, result.output
    assert "all is well" in result.stderr
    assert "SQLite" in result.stderr
    assert "schema 5" in result.stderr
    assert result.stdout == ""


def test_a_daemon_at_work_is_well_and_nothing_of_it_is_touched(
    world: World, doctor: Callable[..., Result]
) -> None:
    """Also with --repair, which says that it does not."""
    world.start()
    run_id = world.launch("steps:\n  - {name: nap, type: sleep, sleep: {seconds: 1}}\n")
    world.until_begun(run_id, "nap")
    result = doctor("--repair")
    assert result.exit_code == 0, result.output
    assert "in use" in result.stderr
    assert world.wait(run_id).status == "succeeded"


def a_row_without_run(world: World) -> None:
    write_rows(world, GONE)


def a_removal(world: World) -> None:
    service = Service(world.settings)
    run_ids = [run.run_id for run in service.runs().runs]
    service.store.writer.run(lambda connection: delete_ended(connection, run_ids))
    service.stop()


def a_result_without_row(world: World) -> None:
    Service(world.settings).result_files.keep(GONE, '"large"')


def a_stale_lock(world: World) -> None:
    lock = LockFile(world.settings.lock_path / "sub" / "flow1.lock")
    assert lock.take()
    lock.describe({"flow": "sub/flow1.yml", "run_ids": [GONE], "pid": 1})
    lock.free(unlink=False)


def a_dead_worker(world: World) -> None:
    lock = LockFile(world.data / "workers" / "w1.lock")
    assert lock.take()
    lock.describe({"run_id": GONE, "pid": 1})
    lock.free(unlink=False)


def a_handover_of_no_run(world: World) -> None:
    (world.data / "handover" / f"{GONE}.json").write_text("{}")


def a_temporary_file(world: World) -> None:
    (world.data / "templates" / ".t.j2.0123456789ab.tmp").write_text("half")


def a_scratch_folder(world: World) -> None:
    (world.data / "before-restore" / ".unpacked-x").mkdir(parents=True)
    (world.data / "before-restore" / ".unpacked-x" / "octospool.db").write_text("half")


REPAIRABLE = {
    "rows_without_run": a_row_without_run,
    "removals_left": a_removal,
    "result_without_row": a_result_without_row,
    "stale_lock": a_stale_lock,
    "dead_worker": a_dead_worker,
    "handover_of_no_run": a_handover_of_no_run,
    "leftover_file": a_temporary_file,
    "leftover_file ": a_scratch_folder,
}


@pytest.mark.parametrize("code", REPAIRABLE)
def test_what_is_left_over_is_found_then_repaired_then_gone(
    world: World, doctor: Callable[..., Result], code: str
) -> None:
    REPAIRABLE[code](world)
    looked = doctor("--json")
    assert (looked.exit_code, codes(looked)) == (1, [code.strip()])
    repaired = doctor("--json", "--repair")
    assert (repaired.exit_code, codes(repaired)) == (0, [code.strip()])
    assert json.loads(repaired.stdout)["found"][0]["repaired"] is True
    assert codes(doctor("--json")) == []


def test_all_that_can_be_left_over_is_repaired_at_once_and_a_daemon_starts(
    world: World, doctor: Callable[..., Result], run_id: str
) -> None:
    left = set(REPAIRABLE) - {
        "removals_left",
        "result_without_row",
    }  # they are about the only run, and about rows
    for code in left:
        REPAIRABLE[code](world)
    repaired = doctor("--json", "--repair")
    assert (repaired.exit_code, sorted(codes(repaired))) == (0, sorted(code.strip() for code in left))
    assert codes(doctor("--json")) == []
    world.start()
    assert [run.run_id for run in world.service.runs().runs] == [run_id]
    assert world.run("sub/quick.yml").status == "succeeded"


def test_a_large_result_whose_file_is_gone_or_changed_is_told(
    world: World, doctor: Callable[..., Result], run_id: str
) -> None:
    service = Service(world.settings)
    name = service.result_files.keep(run_id, '"large"')
    service.stop()
    write_row(world, run_id, json.dumps({"result_file": name}))
    assert codes(doctor("--json")) == []
    path = world.settings.results_path / run_id / name
    for spoil in (lambda: path.write_text('"other"'), path.unlink):
        spoil()
        result = doctor("--json", "--repair")
        assert (result.exit_code, codes(result)) == (1, ["result_lost"])
        assert name in result.stdout
        assert "of step b" in result.stdout
        assert f"DELETE /api/runs/{run_id}" in result.stdout


@pytest.mark.parametrize(
    ("data", "code"),
    [("[1]", "broken_rows"), ("{", "broken_rows"), ('{"result_file": "../../secrets.yml"}', "result_lost")],
)
def test_a_damaged_row_is_told(
    world: World, doctor: Callable[..., Result], run_id: str, data: str, code: str
) -> None:
    write_row(world, run_id, data)
    result = doctor("--json", "--repair")
    assert (result.exit_code, codes(result)) == (1, [code])
    assert run_id in result.stdout


def test_what_nobody_knows_stays_for_a_person(world: World, doctor: Callable[..., Result]) -> None:
    """The names are none that a result has."""
    (world.data / "results" / GONE).mkdir(parents=True)
    strangers = [world.data / "results" / "notes.txt", world.data / "results" / GONE / "deadbeef.json"]
    for path in strangers:
        path.write_text("{}")
    result = doctor("--json", "--repair")
    assert (result.exit_code, codes(result)) == (1, ["unknown_file", "unknown_file"])
    for path in strangers:
        assert str(path) in result.stdout
        assert path.exists()


def test_rows_that_the_store_did_not_take_stay_for_a_person(
    world: World, doctor: Callable[..., Result], run_id: str
) -> None:
    rejected = world.data / "handover" / f"{run_id}.rejected"
    rejected.write_text("{}")
    result = doctor("--json", "--repair")
    assert (result.exit_code, codes(result)) == (1, ["handover_rejected"])
    assert rejected.exists()


def test_a_run_that_ended_without_a_row_is_told(world: World, doctor: Callable[..., Result]) -> None:
    service = Service(world.settings)
    service.store.writer.run(lambda connection: connection.exec_driver_sql("DELETE FROM journal"))
    service.stop()
    assert codes(doctor("--json", "--repair")) == ["run_without_rows"]


@pytest.mark.parametrize("place", [0, 3])
def test_a_damaged_store_is_told_with_its_file_and_the_way_out(
    world: World, doctor: Callable[..., Result], place: int
) -> None:
    """Damaged at its head, or in its middle."""
    store = world.data / "octospool.db"
    with store.open("r+b") as file:
        file.seek(store.stat().st_size * place // 8 // 4096 * 4096)
        file.write(b"x" * 20_000)
    result = doctor("--repair")
    assert result.exit_code == 1
    assert "store_damaged" in result.stdout
    assert str(store) in result.stdout
    assert "octospool restore FILE --force" in result.stdout


def test_what_the_next_start_needs_is_left_alone(world: World, doctor: Callable[..., Result]) -> None:
    """Traces of a worker that died with its run, and what it handed over: only a daemon can take that in."""
    world.start()
    count = "'reduce range(1000000000) as $i (0; . + 1)'"
    run_id = world.launch(f"steps:\n{FIRST}  - {{name: long, type: jq, jq: {{expression: {count}}}}}\n")
    world.until_begun(run_id, "long")
    world.stop()
    (name,) = world.living_workers()
    worker = LockFile(world.data / "workers" / name)
    assert worker.content()["run_id"] == run_id
    assert "at work" in doctor("--repair").stderr
    os.kill(int(worker.content()["pid"]), signal.SIGKILL)
    until(lambda: not worker.path.exists(), "the worker is gone")
    # This process is the worker's parent, and has removed what a dead daemon would have left.
    assert worker.take()
    worker.describe({"run_id": run_id, "pid": 1})
    worker.free(unlink=False)
    assert doctor("--repair").exit_code == 0
    assert worker.path.exists()


def test_a_store_of_version_1_that_is_mostly_free_is_rebuilt_and_can_shrink_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file was made without the table by which SQLite gives space back bit by bit."""
    data = tmp_path / "old"
    (data / "flows").mkdir(parents=True)
    store = data / "octospool.db"
    connection = sqlite3.connect(store)
    connection.executescript((VERSIONS / "1.sql").read_text(encoding="utf-8"))
    connection.execute("CREATE TABLE filler (text)")
    connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 4000,)] * 2000)
    connection.execute("DROP TABLE filler")
    connection.commit()
    connection.close()
    monkeypatch.setenv("DATA_PATH", str(data))

    def doctor(*options: str) -> Result:
        return CliRunner().invoke(command, ["doctor", *options], prog_name="octospool")

    assert "brings it to schema 5" in doctor().stderr
    service = Service(World(data).settings)
    before = {run.run_id: service.run(run.run_id).status for run in service.runs(limit=100).runs}
    assert not service.store.removals.gives_space_back()
    service.stop()
    size = store.stat().st_size
    assert codes(doctor("--json")) == ["store_wasteful"]
    assert store.stat().st_size == size
    assert codes(doctor("--json", "--repair")) == ["store_wasteful"]
    assert store.stat().st_size < size / 4
    assert codes(doctor("--json")) == []
    service = Service(World(data).settings)
    assert service.store.removals.gives_space_back()
    assert {run.run_id: service.run(run.run_id).status for run in service.runs(limit=100).runs} == before
    service.stop()
