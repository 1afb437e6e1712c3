"""A daemon that starts goes on with what the one before it left: quickly, however much that is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flow_processor.clock import from_epoch
from flow_processor.engine.losses import MAX_CRASHES_OF_STEP, rests_until
from flow_processor.flow_files import FlowLibrary
from flow_processor.journal import DISPATCH_SPAN, Event, JournalRow, to_wire
from flow_processor.locks import LockFile
from flow_processor.run import RunFilter, RunStatus, Trigger, new_run_id
from flow_processor.store import Connection, Store
from flow_processor.store.journal import insert_rows
from flow_processor.store.runs import RunRow, insert_flow_version, insert_run
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, until

FLOW = """concurrency: {on_conflict: parallel}
steps:
  - {name: a, type: set_fact, set_fact: {value: done}}
  - {name: nap, type: wait, wait: {signal: go}}
  - {name: next, type: set_fact, set_fact: {value: '{{ a }}'}}
"""
WAITING, UNDER_WAY = 10_000, 1_000
BACK_SECONDS = 5.0


def left_behind(world: World, *, waiting: int, under_way: int) -> None:
    """What a daemon leaves that was killed with all its workers: runs that wait, and runs that were under way."""
    path = world.write("many.yml", FLOW)
    bundle = FlowLibrary(world.settings.flows_path).launchable(path)
    store = Store(world.settings.database_url)
    (world.data / "workers").mkdir(exist_ok=True)

    def insert(connection: Connection) -> None:
        insert_flow_version(connection, version=bundle.hash, path=path, flows=bundle.flows)
        for number in range(waiting + under_way):
            at = 1_790_000_000.0 + number / 100
            is_waiting = number < waiting
            run = RunRow(
                id=new_run_id(from_epoch(at)),
                flow=path,
                flow_hash=bundle.hash,
                trigger=Trigger.API,
                trigger_by="api",
                status=RunStatus.WAITING if is_waiting else RunStatus.RUNNING,
                input={"text": "x" * 1000},
                created_at=at,
                started_at=at,
            )
            insert_run(connection, run)
            insert_rows(connection, run.id, journal_of(number, at, is_waiting=is_waiting))
            if not is_waiting:
                content = " " + json.dumps({"run_id": run.id, "pid": 999_999_999})
                (world.data / "workers" / f"w{number}.lock").write_text(content)

    store.writer.run(insert)
    store.close()


def journal_of(
    number: int, at: float, *, is_waiting: bool
) -> list[tuple[int, str, int, str, float, str | None]]:
    """A run that has done its first step, and waits in its second (or had just begun it)."""
    first = DISPATCH_SPAN
    rows = [
        JournalRow(first, "", 0, Event.DISPATCHED, at, {"worker": f"w{number}", "pid": 999_999_999}),
        JournalRow(first + 1, "a", 1, Event.SUCCEEDED, at, {"result": "done", "key": "a", "started_at": at}),
        JournalRow(first + 2, "nap", 1, Event.STARTED, at),
    ]
    if is_waiting:
        wait = {"kind": "signal", "signal": "go"}
        rows.append(JournalRow(first + 3, "nap", 1, Event.WAITING, at, wait))
        rows.append(JournalRow(first + 4, "", 0, Event.PARKED, at, {"wake_at": None}))
    return [to_wire(row) for row in rows]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Not started."""
    world = World(tmp_path / "data", max_workers=2)
    world.settings.create_folders()
    return world


@pytest.mark.soak
def test_a_thousand_runs_under_way_and_ten_thousand_that_wait_are_back_in_five_seconds(world: World) -> None:
    left_behind(world, waiting=WAITING, under_way=UNDER_WAY)
    began = time.monotonic()
    world.start()
    try:
        took = time.monotonic() - began
        assert took < BACK_SECONDS, f"{took:.1f} s"
        assert not list((world.data / "workers").glob("w*.lock")), "what the dead left is cleared up"
        assert len(world.living_workers()) <= 2
        waiting = world.service.runs(RunFilter(status=(RunStatus.WAITING,)), limit=1).runs[0].run_id
        world.service.signal_run(waiting, "go", data=1, by="a test")
        ended = until(lambda: (run := world.service.run(waiting)).status.is_terminal and run, "it goes on")
        assert ended.status is RunStatus.SUCCEEDED
    finally:
        world.leave()


def test_a_death_that_nobody_saw_is_in_the_journal_once(world: World) -> None:
    left_behind(world, waiting=0, under_way=1)
    world.start()
    try:
        run_id = world.service.runs(limit=1).runs[0].run_id
        until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "it waits again")
        lost = world.events(run_id, Event.WORKER_LOST)
        expected = {"worker": "w0", "exit_code": None, "under_way": [["nap", 1]], "restart": True}
        assert [row.data for row in lost] == [expected]
        world.stop()
        world.start()
        assert len(world.events(run_id, Event.WORKER_LOST)) == 1
        world.service.signal_run(run_id, "go", by="a test")
        assert world.wait(run_id).status is RunStatus.SUCCEEDED
    finally:
        world.leave()


def test_trouble_with_the_disk_while_an_old_worker_is_waited_for_costs_no_run(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it lives cannot be seen for a while; then the run goes on as if nothing had been."""
    left_behind(world, waiting=0, under_way=1)
    folder, aside = world.data / "workers", world.data / "workers-aside"
    old_worker = LockFile(folder / "w0.lock")
    assert old_worker.take()
    world.start()
    try:
        run_id = world.service.runs(limit=1).runs[0].run_id
        until(lambda: world.service._pool.problem() is None, "the new workers are there")
        folder.rename(aside)
        folder.write_text("in the way")
        until(lambda: "cannot go on yet" in caplog.text, "it is noticed")
        folder.unlink()
        aside.rename(folder)
        old_worker.free(unlink=True)
        until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "it goes on")
        world.service.signal_run(run_id, "go", by="a test")
        assert world.wait(run_id).status is RunStatus.SUCCEEDED
    finally:
        world.leave()


@pytest.mark.parametrize("deaths", [3, pytest.param(MAX_CRASHES_OF_STEP, marks=pytest.mark.soak)])
def test_a_step_that_kills_everything_is_given_up_in_the_end(
    make_world: Callable[..., World], server: CountingServer, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    """As after a power cut: the daemon has no chance to see its worker die."""
    monkeypatch.setattr("flow_processor.engine.losses.MAX_CRASHES_OF_STEP", deaths)
    monkeypatch.setattr("flow_processor.engine.losses.REST_SECONDS", 0.0)
    step = f"  - {{name: get, type: rest, rest: {{uri: '{server.url}/held/get'}}}}\n"
    world = make_world(max_workers=1)
    run_id = world.launch(f"steps:\n{step}")
    for death in range(1, deaths + 1):
        world.until_begun(run_id, "get", worker=death)
        server.wait_for_call("/held/get", times=death)
        die(world, run_id)
        world.start()
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "worker_lost")
    assert server.calls["/held/get"] == deaths


def test_a_run_with_which_everything_died_too_often_rests_while_others_go_on(
    make_world: Callable[..., World], server: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart does not cut the rest short, and a person can cancel the run."""
    for module in ("engine.losses", "service.recovery"):
        monkeypatch.setattr(f"flow_processor.{module}.CRASHES_BEFORE_REST", 2)
    monkeypatch.setattr("flow_processor.engine.losses.REST_SECONDS", 60.0)
    world = make_world(max_workers=1)
    rests = world.launch(f"steps:\n  - {{name: get, type: rest, rest: {{uri: '{server.url}/held/get'}}}}\n")
    for death in (1, 2):
        world.until_begun(rests, "get", worker=death)
        server.wait_for_call("/held/get", times=death)
        die(world, rests)
        world.start()
    world.stop()
    world.start()
    assert (
        world.succeed("steps:\n  - {name: next, type: set_fact, set_fact: {value: done}}\n")["next"] == "done"
    )
    assert server.calls["/held/get"] == 2
    run = world.service.run(rests)
    assert run.status is RunStatus.RUNNING
    told = [event.text for event in run.events if "rests until" in event.text]
    assert told == [event.text for event in run.events if event.event is Event.WORKER_LOST][-1:]
    world.service.cancel_run(rests, by="a test")
    assert world.wait(rests).status is RunStatus.CANCELLED
    assert server.calls["/held/get"] == 2


@pytest.mark.parametrize(
    ("crashes", "rest"), [(9, None), (10, 5.0), (11, 10.0), (13, 40.0), (14, 60.0), (24, 60.0)]
)
def test_each_rest_is_twice_as_long_as_the_one_before_it_up_to_a_minute(
    crashes: int, rest: float | None
) -> None:
    rows = [JournalRow(DISPATCH_SPAN + 1, "get", 1, Event.STARTED, 1.0)]
    lost = {"worker": "w", "exit_code": None, "under_way": [["get", 1]], "restart": True}
    rows += [
        JournalRow(number * DISPATCH_SPAN + 2, "", 0, Event.WORKER_LOST, 100.0 + number, lost)
        for number in range(1, crashes + 1)
    ]
    until_then = rests_until([to_wire(row) for row in rows])
    assert until_then == (None if rest is None else 100.0 + crashes + rest)


def die(world: World, run_id: str) -> None:
    """Everything dies at once, as with the machine: nobody is there to see the worker's end."""
    folder = world.data / "workers"
    kept = {path: path.read_bytes() for path in folder.glob("*.lock")}
    world.stop()
    world.kill_worker(run_id)
    # The old service still clears up after its workers, for it lives in this process.
    until(lambda: not list(folder.glob("*.lock")), "the worker's end is noticed")
    for path, content in kept.items():
        path.write_bytes(content)


def test_a_run_whose_journal_cannot_be_read_costs_no_other(world: World) -> None:
    """A damaged row ends its own run, and the daemon starts."""
    left_behind(world, waiting=0, under_way=2)
    store = Store(world.settings.database_url)
    broken, whole = (run.id for run in store.runs.under_way())
    store.writer.run(lambda connection: insert_rows(connection, broken, [NONSENSE]))
    store.close()
    world.start()
    try:
        until(lambda: world.service.run(whole).status is RunStatus.WAITING, "the other goes on")
        until(
            lambda: world.service.runs(RunFilter(status=(RunStatus.INTERRUPTED,))).runs,
            "the broken one has ended",
        )
    finally:
        world.leave()


NONSENSE = (DISPATCH_SPAN + 50, "nap", 1, Event.STARTED.value, 1_790_000_000.0, "{no JSON")
