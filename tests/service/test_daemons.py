"""Two daemons, each with a data folder of its own, on one PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flow_processor.clock import SystemClock
from flow_processor.errors import DataFolderInUse, FlowRunning, RunElsewhere
from flow_processor.run import RunStatus
from flow_processor.service import daemons
from flow_processor.store import Store
from flow_processor.store.daemons import schedules_changed
from tests.databases import NewDatabase
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, until

QUICK = "steps:\n  - {name: a, type: jq, jq: {expression: '1'}}\n"
WAITS = "steps:\n  - {name: a, type: wait, wait: {signal: go}}\n"
QUEUES = f"concurrency: {{on_conflict: queue}}\n{WAITS}"

MakePair = Callable[..., tuple[World, World]]


@pytest.fixture
def pair(tmp_path: Path, new_database: NewDatabase) -> Iterator[MakePair]:
    """`pair(**settings)`: two worlds that have begun."""
    worlds: list[World] = []
    url = new_database()

    def make(**variables: object) -> tuple[World, World]:
        for name in ("one", "two"):
            worlds.append(World(tmp_path / name, database_url=url, **variables).start())
        return worlds[0], worlds[1]

    yield make
    for world in worlds:
        world.leave()


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that has left is dead at once for the others."""
    monkeypatch.setattr(daemons, "LEASE_SECONDS", 0.0)
    monkeypatch.setattr(daemons, "LOOK_SECONDS", 0.05)


def status(world: World, run_id: str) -> RunStatus:
    return world.service.run(run_id).status


def test_a_run_is_its_daemons_and_both_show_it(pair: MakePair) -> None:
    """Cancel, signal and resume are answered with who has it; what has ended is read anywhere."""
    one, two = pair()
    run_id = one.launch(WAITS)
    until(lambda: status(one, run_id) is RunStatus.WAITING, "it waits")
    assert status(two, run_id) is RunStatus.WAITING
    for call in (
        lambda: two.service.cancel_run(run_id, by="me"),
        lambda: two.service.signal_run(run_id, "go", by="me"),
        lambda: two.service.resume_run(run_id, by="me"),
    ):
        with pytest.raises(RunElsewhere, match="is with the daemon") as caught:
            call()
        assert caught.value.code == "run_elsewhere"
    two.stop()
    two.start()
    assert two.service.engine.parked_count() == 0
    one.service.signal_run(run_id, "go", by="me")
    assert one.wait(run_id).status is RunStatus.SUCCEEDED
    assert two.service.run(run_id).data == one.service.run(run_id).data


def test_a_flow_runs_once_over_both(pair: MakePair) -> None:
    one, two = pair()
    for world in (one, two):
        world.write("a.yml", WAITS)
    run_id = one.launch("a.yml")
    with pytest.raises(FlowRunning) as caught:
        two.launch("a.yml")
    assert caught.value.details["run_id"] == run_id
    assert [lock.run_id for lock in two.service.locks()] == [run_id]
    until(lambda: status(one, run_id) is RunStatus.WAITING, "it waits")
    one.service.cancel_run(run_id, by="me")
    one.wait(run_id)
    until(lambda: not two.service.locks(), "the lock is free")
    second = two.launch("a.yml")
    with pytest.raises(FlowRunning):
        one.launch("a.yml")
    until(lambda: status(two, second) is RunStatus.WAITING, "it waits")
    two.service.signal_run(second, "go", by="me")
    assert two.wait(second).status is RunStatus.SUCCEEDED


def test_who_waits_for_its_turn_gets_it_when_the_other_daemons_run_has_ended(pair: MakePair) -> None:
    one, two = pair()
    for world in (one, two):
        world.write("a.yml", QUEUES)
    first = one.launch("a.yml")
    second = two.launch("a.yml")
    until(lambda: status(one, first) is RunStatus.WAITING, "it waits")
    assert status(two, second) is RunStatus.QUEUED
    one.service.signal_run(first, "go", by="me")
    until(lambda: status(two, second) is RunStatus.WAITING, "it begins")
    two.service.signal_run(second, "go", by="me")
    two.wait(second)


def test_what_a_dead_daemon_never_began_another_one_runs(
    pair: MakePair, short_lease: None, server: CountingServer
) -> None:
    """What it had begun waits for it, and so says readiness; both are done once."""
    one, two = pair(max_workers=1)
    for world in (one, two):
        world.write("a.yml", QUEUES)
        world.write("b.yml", WAITS)
    begun = one.launch("b.yml")
    until(lambda: status(one, begun) is RunStatus.WAITING, "it waits")
    running = one.launch(f"steps:\n  - {{name: a, type: rest, rest: {{uri: '{server.url}/held/a'}}}}\n")
    server.wait_for_call("/held/a")  # it has the only worker
    queued = one.launch("a.yml")
    one.stop()
    until(lambda: two.service.live.of_flow("a.yml"), "the other one has it")
    until(lambda: status(two, queued) is RunStatus.WAITING, "it begins")
    assert status(two, begun) is RunStatus.WAITING
    (told,) = [check for check in two.service.readiness().checks if check.name == "daemons"]
    assert not told.ok
    assert "start it again" in told.message
    two.service.signal_run(queued, "go", by="me")
    assert two.wait(queued).status is RunStatus.SUCCEEDED
    server.open_gate.set()
    one.start()
    assert queued not in one.service.live.of_flow("a.yml")
    one.service.signal_run(begun, "go", by="me")
    assert one.wait(begun).status is RunStatus.SUCCEEDED
    assert one.wait(running).status is RunStatus.SUCCEEDED


def test_a_copy_of_a_data_folder_does_not_start_beside_it(
    pair: MakePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemons, "LEASE_SECONDS", 0.0)
    one, _two = pair()
    copy = World(tmp_path / "copy", database_url=one.settings.database_url)
    copy.data.mkdir()
    (copy.data / "daemon.id").write_text((one.data / "daemon.id").read_text())
    with pytest.raises(DataFolderInUse, match=r"delete daemon\.id"):
        copy.start()


def test_what_was_changed_before_the_first_look_is_noticed_too(new_database: NewDatabase) -> None:
    """A schedule that another daemon adds between this one's load and its first look."""
    store = Store(new_database(), daemon="one")
    noticed: list[str] = []
    mine = daemons.Daemons(
        store,
        "one",
        name="one",
        url=None,
        clock=SystemClock(),
        adopt=lambda run_id: None,
        schedules_changed=lambda: noticed.append("changed"),
    )
    mine.begin()
    store.writer.run(schedules_changed)
    mine.look()
    mine.look()
    assert noticed == ["changed"]
    store.writer.run(schedules_changed)
    mine.look()
    assert noticed == ["changed", "changed"]
    mine.stop()
    store.close()
