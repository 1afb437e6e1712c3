"""A parked run is told everything: whatever comes while it is being parked, handed out, or waits for a worker."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flow_processor.engine.parked import ParkedRuns
from flow_processor.engine.roster import Roster
from flow_processor.journal import Event
from flow_processor.run import RunStatus
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, until

NEXT = "  - {name: next, type: set_fact, set_fact: {value: done}}\n"
WAIT = "  - {name: ask, type: wait, wait: {signal: {name: go, expires_seconds: 600}}}\n"


@pytest.fixture
def path(world: World) -> str:
    """A flow of which any number may run at once, and which waits for a signal."""
    return world.write("asks.yml", f"concurrency: {{on_conflict: parallel}}\nsteps:\n{WAIT}{NEXT}")


def signal(world: World, run_id: str, name: str = "go", data: Any = None) -> int | None:
    return world.service.engine.signal(run_id, name=name, data=data, by="a test").result(60)


def is_waiting(world: World, run_id: str) -> bool:
    return world.service.run(run_id).status is RunStatus.WAITING


def until_parked(world: World, *run_ids: str) -> None:
    for run_id in run_ids:
        until(lambda run_id=run_id: is_waiting(world, run_id), "it is parked")  # type: ignore[misc]


@contextmanager
def busy_store(world: World) -> Iterator[None]:
    """The store's writer is at work on something else; what is handed to it meanwhile has to wait."""
    busy, go_on = threading.Event(), threading.Event()
    held = world.service.store.writer.submit(lambda connection: busy.set() or go_on.wait(60))
    assert busy.wait(60)
    try:
        yield
    finally:
        go_on.set()
        held.result(60)


def begin_to_park(world: World, server: CountingServer, steps: str = WAIT) -> str:
    """A run that is just before its wait, in the hands of its worker; it waits once the server's gate is open."""
    call = f"  - {{name: call, type: rest, rest: {{uri: '{server.url}/held/x'}}}}\n"
    run_id = world.launch(f"steps:\n{call}{steps}{NEXT}")
    server.wait_for_call("/held/x")
    return run_id


def until_no_worker(world: World) -> None:
    """Return once the engine has heard the worker's last word, whatever the store knows."""
    until(lambda: world.service.engine.counts() == (0, 0), "the worker is free")


# What comes while a run is parked, or being parked.


def test_its_worker_is_free_and_its_status_tells_when_it_goes_on(world: World, path: str) -> None:
    run_id = world.launch(path)
    until_parked(world, run_id)
    assert world.service.engine.counts() == (0, 0)
    row = world.service.store.runs.get(run_id)
    assert row
    assert row.wake_at is not None
    assert 590 < row.wake_at - time.time() <= 600
    assert row.bytes > 100
    (parked,) = world.events(run_id, Event.PARKED)
    assert parked.data["wake_at"] == row.wake_at
    assert signal(world, run_id)
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    assert len(world.events(run_id, Event.DISPATCHED)) == 2


@pytest.mark.parametrize("what", ["signal", "cancel", "both"])
def test_what_comes_while_the_run_is_being_parked_is_heard(
    world: World, server: CountingServer, what: str
) -> None:
    """Its worker has let it go, and the store has not yet heard of that."""
    run_id = begin_to_park(world, server)
    with busy_store(world):
        server.open_gate.set()
        until_no_worker(world)
        engine, told = world.service.engine, []
        if what != "cancel":
            told.append(engine.signal(run_id, name="go", data=1, by="a test"))
        if what != "signal":
            told.append(engine.cancel(run_id, by="a test"))
    assert all(future and future.result(60) is not False for future in told)
    wanted = {"signal": [RunStatus.SUCCEEDED], "cancel": [RunStatus.CANCELLED]}
    assert world.wait(run_id).status in wanted.get(what, [RunStatus.SUCCEEDED, RunStatus.CANCELLED])


def test_a_signal_that_no_wait_is_for_wakes_nobody_and_is_kept(world: World) -> None:
    """Its name is that of a later wait; until then it costs no worker."""
    run_id = world.launch(f"steps:\n{WAIT}{WAIT.replace('ask', 'later').replace('go', 'else')}{NEXT}")
    until_parked(world, run_id)
    row = world.service.store.runs.get(run_id)
    signal(world, run_id, "else", data="x" * 10_000)
    now = world.service.store.runs.get(run_id)
    assert row
    assert now
    assert now.wake_at == row.wake_at, "nor after a restart"
    assert now.bytes > row.bytes + 10_000
    signal(world, run_id)
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    assert len(world.events(run_id, Event.DISPATCHED)) == 2
    assert len(world.events(run_id, Event.PARKED)) == 1


def test_a_signal_between_the_look_into_the_store_and_the_parking_is_heard(
    make_world: Callable[..., World],
) -> None:
    """As a starting daemon parks runs that it has read: one was told something in that moment."""
    world = make_world()
    run_id = world.launch(f"steps:\n{WAIT}{NEXT}")
    until_parked(world, run_id)
    row = world.service.store.runs.get(run_id)
    assert row
    del world.service.engine._parked._wake_at[run_id]  # as if nobody had read it yet
    signal(world, run_id)
    assert is_waiting(world, run_id)
    world.service.engine.park(run_id, row.wake_at)
    assert world.wait(run_id).status is RunStatus.SUCCEEDED


@pytest.mark.parametrize("number", [20, pytest.param(200, marks=pytest.mark.soak)])
@pytest.mark.parametrize("what", ["signal", "cancel"])
def test_whatever_comes_at_any_moment_of_parking_is_heard(
    world: World, path: str, what: str, number: int
) -> None:
    """Each run is told at another moment between its launch and some time after it was parked."""
    moments = random.Random(7)
    threads, runs = [], []

    def tell(run_id: str, seconds: float) -> None:
        threading.Event().wait(seconds)
        if what == "signal":
            signal(world, run_id)
        else:
            world.service.cancel_run(run_id, by="a test")

    for _ in range(number):
        runs.append(world.launch(path))
        threads.append(threading.Thread(target=tell, args=(runs[-1], moments.uniform(0, 0.1))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    wanted = RunStatus.SUCCEEDED if what == "signal" else RunStatus.CANCELLED
    assert {world.wait(run_id).status for run_id in runs} == {wanted}
    assert world.service.engine.counts() == (0, 0)


def test_a_run_that_has_ended_is_told_nothing(world: World) -> None:
    run = world.run(f"steps:\n{NEXT}")
    assert signal(world, run.run_id) is None
    assert world.events(run.run_id, Event.SIGNALLED) == []
    until(lambda: run.run_id not in world.service.engine._roster.unheard, "nothing is kept for it")


def test_signals_are_taken_one_by_one_however_fast_they_come(world: World) -> None:
    """Each wait takes the next one; between two the run may be parked, on its way, or in a worker's hands."""
    waits = "".join(WAIT.replace("ask", f"ask{number}") for number in range(5))
    run_id = world.launch(f"steps:\n{waits}")
    for number in range(5):
        signal(world, run_id, data=number)
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    taken = [row.data["signal"] for row in world.events(run_id, Event.SUCCEEDED)]
    assert taken == [row.seq for row in world.events(run_id, Event.SIGNALLED)]


# What comes while no worker is to be had.


def test_what_comes_while_a_woken_run_waits_for_a_worker_is_heard(
    make_world: Callable[..., World], server: CountingServer
) -> None:
    """It reads its journal when it is handed out, so a second signal and a cancel count too."""
    world = make_world(max_workers=1)
    path = world.write(
        "a.yml", f"concurrency: {{on_conflict: parallel}}\nsteps:\n{WAIT}{WAIT.replace('ask', 'b')}"
    )
    signalled, cancelled = world.launch(path), world.launch(path)
    until_parked(world, signalled, cancelled)
    busy = begin_to_park(world, server)
    for run_id in (signalled, signalled, cancelled):
        signal(world, run_id)
    until(lambda: world.service.engine.counts() == (1, 2), "both wait for the only worker")
    world.service.cancel_run(cancelled, by="a test")
    server.open_gate.set()
    assert world.wait(signalled).status is RunStatus.SUCCEEDED
    assert world.wait(cancelled).status is RunStatus.CANCELLED
    signal(world, busy)
    assert world.wait(busy).status is RunStatus.SUCCEEDED


def test_a_signal_between_two_workers_is_heard(world: World, server: CountingServer) -> None:
    """Its worker is dead, and the next one is not chosen before the store has heard of that."""
    run_id = begin_to_park(world, server)
    worker = world.worker_pid(run_id)
    with busy_store(world):
        world.kill_worker(run_id)
        until(lambda: not Path(f"/proc/{worker}").exists(), "the worker is gone")
        told = world.service.engine.signal(run_id, name="go", data=1, by="a test")
        server.open_gate.set()
    assert told.result(60)
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    assert len(world.events(run_id, Event.DISPATCHED)) == 2, "it never had to be parked"


def test_a_parked_run_keeps_its_flows_lock_and_the_next_one_its_turn(world: World) -> None:
    path = world.write("one.yml", f"concurrency: {{on_conflict: queue}}\nsteps:\n{WAIT}")
    first = world.launch(path)
    until_parked(world, first)
    second = world.launch(path)
    assert [lock.run_id for lock in world.service.locks()] == [first]
    assert world.service.run(second).status is RunStatus.QUEUED
    signal(world, second)
    signal(world, first)
    assert [world.wait(run_id).status for run_id in (first, second)] == [RunStatus.SUCCEEDED] * 2


def test_parking_does_not_wait_for_a_stop_and_the_next_start_knows(make_world: Callable[..., World]) -> None:
    world = make_world()
    run_id = world.launch(f"steps:\n{WAIT}{NEXT}")
    until_parked(world, run_id)
    world.stop(30)
    assert not world.service.engine.counts()[0]
    world = make_world()
    assert is_waiting(world, run_id)
    signal(world, run_id)
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    assert world.events(run_id, Event.DAEMON_STOPPED) == [], "nothing of it was under way"


def test_many_due_at_once_all_go_on(make_world: Callable[..., World]) -> None:
    """More than there are workers: each has its turn, in the order of their moments."""
    world = make_world(max_workers=2)
    until_then = datetime.now(UTC) + timedelta(seconds=3)
    sleep = f"  - {{name: ask, type: wait, wait: {{until: '{until_then.isoformat()}'}}}}\n"
    path = world.write("many.yml", f"concurrency: {{on_conflict: parallel}}\nsteps:\n{sleep}{NEXT}")
    runs = [world.wait(run_id) for run_id in [world.launch(path) for _ in range(20)]]
    assert {run.status for run in runs} == {RunStatus.SUCCEEDED}
    ends = [run.ended_at for run in runs if run.ended_at]
    assert min(ends) >= until_then


# The clock on the wall.


class Hands:
    """A clock whose wall time a test sets; all else is the machine's."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall, UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)


@pytest.fixture
def parked() -> Iterator[tuple[ParkedRuns, Hands, list[str]]]:
    """Parked runs, the clock that they go by, and those that were handed out."""
    roster, hands, out = Roster(), Hands(), []
    parked = ParkedRuns(roster, clock=hands, hand_out=out.append)
    parked.start()
    yield parked, hands, out
    roster.is_stopping = True
    parked.stop()


def test_a_clock_that_jumps_is_noticed_within_a_second(parked: tuple[ParkedRuns, Hands, list[str]]) -> None:
    """A suspended machine wakes up, or somebody sets the clock: runs are not late by the time that was jumped."""
    runs, hands, out = parked
    runs.add("tomorrow", hands.wall + 86_400)
    runs.add("never", None)
    runs.add("next year", hands.wall + 365 * 86_400)
    hands.wall += 86_401
    until(lambda: out == ["tomorrow"], "it is handed out")
    hands.wall -= 1_000_000
    runs.wake("never")
    until(lambda: out == ["tomorrow", "never"], "only what was woken goes on")
    assert "next year" in runs
    assert len(runs) == 1


def test_each_is_handed_out_once_in_the_order_of_their_moments(
    parked: tuple[ParkedRuns, Hands, list[str]],
) -> None:
    runs, hands, out = parked
    moments = [*range(2000)]
    random.Random(3).shuffle(moments)
    for moment in moments:
        runs.add(f"run {moment}", hands.wall + 5 + moment)
        runs.add(f"run {moment}", hands.wall + 10 + moment)
    assert out == []
    hands.wall += 10 + 1000.5
    until(lambda: len(out) >= 1001, "those whose moment has come")
    assert out == [f"run {moment}" for moment in range(1001)]
    assert len(runs) == 999


def test_ten_thousand_cost_no_noticeable_processor_time(parked: tuple[ParkedRuns, Hands, list[str]]) -> None:
    runs, hands, out = parked
    for number in range(10_000):
        runs.add(f"run {number}", hands.wall + 1000 + number)
    before = time.process_time()
    assert not threading.Event().wait(2.0)
    assert time.process_time() - before < 0.1
    assert out == []
