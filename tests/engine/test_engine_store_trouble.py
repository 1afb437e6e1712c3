"""A store or a lock that fails for a while: nothing is accepted that is not recorded, nothing recorded is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, event

from flow_processor.errors import DiskFull, OctospoolError
from flow_processor.journal import Event
from flow_processor.run import RunFilter, RunStatus
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, until

WAIT = "  - {name: wait, type: sleep, sleep: {seconds: '{{ __input__ or 0 }}'}}\n"
NEXT = "  - {name: next, type: set_fact, set_fact: {value: '{{ \"x\" * 100000 }}'}}\n"
PAYLOAD = "x" * 100_000
"""More than what is free inside the database."""


class SmallDisk:
    """The world's database may not grow while `is_full`; SQLite says `database or disk is full`."""

    def __init__(self, world: World) -> None:
        self.is_full = False
        _disks[world.service.store.engine] = self


_disks: dict[Engine, SmallDisk] = {}


@event.listens_for(Engine, "begin")
def _limit(connection: Connection) -> None:
    """Listens from the beginning: no listener can be added while threads of a service begin transactions."""
    disk = _disks.get(connection.engine)
    if disk is not None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {1 if disk.is_full else 1_000_000}")


@pytest.fixture
def disk(world: World) -> Iterator[SmallDisk]:
    """The disk of the world, with space."""
    disk = SmallDisk(world)
    yield disk
    disk.is_full = False


def test_a_launch_that_cannot_be_recorded_is_refused_and_leaves_nothing(
    world: World, disk: SmallDisk
) -> None:
    """No lock, no row, no run; and it works again as soon as there is space."""
    path = world.write("a.yml", f"steps:\n{NEXT}")
    disk.is_full = True
    with pytest.raises(DiskFull):
        world.launch(path, data=PAYLOAD)
    assert world.service.locks() == []
    assert world.service.runs(RunFilter(flow=path)).runs == []
    assert not world.service.readiness().ready or world.service.store.writer.problem
    disk.is_full = False
    assert world.run(path, data=PAYLOAD).status is RunStatus.SUCCEEDED


def test_a_run_under_way_waits_for_space_and_goes_on(
    world: World, disk: SmallDisk, server: CountingServer
) -> None:
    """Nothing is lost, and no call is made twice or before its announcement is durable."""
    post = f"  - {{name: call, type: rest, rest: {{uri: '{server.url}/post', method: POST}}}}\n"
    run_id = world.launch(f"steps:\n{WAIT}{NEXT}{post}", data=0.3)
    world.until_begun(run_id, "wait")
    disk.is_full = True
    until(lambda: world.service.store.writer.problem, "the store is full")
    assert server.calls["/post"] == 0
    assert world.service.run(run_id).status is RunStatus.RUNNING
    disk.is_full = False
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert [step.path for step in run.steps] == ["wait", "next", "call"]
    assert server.calls["/post"] == 1


def test_a_run_that_ends_while_the_store_is_full_has_ended_once_there_is_space(
    world: World, disk: SmallDisk
) -> None:
    path = world.write("ends.yml", f"steps:\n{WAIT}{NEXT}")
    run_id = world.launch(path, data=0.3)
    world.until_begun(run_id, "wait")
    disk.is_full = True
    until(lambda: world.service.store.writer.problem, "the store is full")
    assert [lock.run_id for lock in world.service.locks()] == [run_id], "locked until the end is recorded"
    disk.is_full = False
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    assert world.service.locks() == []
    assert len(world.events(run_id, Event.ENDED)) == 1


def test_a_lock_file_that_somebody_has_replaced_loses_no_run(world: World) -> None:
    """A folder stands in its place: the run under way ends as ever, the one behind it waits until it is gone."""
    path = world.write("odd.yml", f"concurrency: {{on_conflict: queue}}\nsteps:\n{WAIT}")
    first, second = world.launch(path, data=0.5), world.launch(path, data=0)
    world.until_begun(first, "wait")
    lock = world.settings.lock_path / "odd.lock"
    lock.rename(lock.with_suffix(".moved"))
    lock.mkdir()
    assert world.wait(first).status is RunStatus.SUCCEEDED
    assert world.service.run(second).status is RunStatus.QUEUED
    lock.rmdir()
    third = world.launch(path, data=0)
    assert [world.wait(run_id).status for run_id in (second, third)] == [RunStatus.SUCCEEDED] * 2


def test_a_launch_whose_lock_file_cannot_be_made_is_refused(world: World) -> None:
    path = world.write("folder.yml", f"steps:\n{WAIT}")
    lock = world.settings.lock_path / "folder.lock"
    lock.mkdir()
    with pytest.raises(OctospoolError, match=r"folder\.lock"):
        world.launch(path)
    assert world.service.runs(RunFilter(flow=path)).runs == []
    lock.rmdir()
    assert world.run(path).status is RunStatus.SUCCEEDED
