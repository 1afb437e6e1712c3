"""Launches that nobody waits for: what becomes of them, and of calls that meet a run on its way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from flow_processor.errors import FlowNotFound, RunHasEnded, StoreUnavailable
from flow_processor.run import RunStatus, Trigger
from flow_processor.service.acceptance import Acceptance, Acceptances
from flow_processor.service.cause import Cause
from flow_processor.store.runs import RunRow
from tests.engine.world import World, until
from tests.store.stored import a_run

WAIT_SECONDS = 60.0
FLOW = "steps:\n- {name: a, type: set_fact, set_fact: {value: 1}}\n"
PARALLEL = f"concurrency: {{on_conflict: parallel}}\n{FLOW}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service without spare workers."""
    made = World(tmp_path_factory.mktemp("data")).start()
    yield made
    made.leave()


def soon(world: World, flow: str, **cause: object) -> Future[RunRow | None]:
    """Launch a flow of that path."""
    because = Cause(Trigger.API, "test", **cause)  # type: ignore[arg-type]
    return world.service.launcher.launch_soon(flow, payload=None, params=None, cause=because)


def test_hundreds_are_all_accepted_and_run(world: World) -> None:
    flow = world.write("many.yml", PARALLEL)
    begun = [soon(world, flow) for _ in range(100)]
    accepted = [one.result(WAIT_SECONDS) for one in begun]
    for run in accepted:
        assert run is not None
        assert world.wait(run.id).status is RunStatus.SUCCEEDED
    assert len({run.id for run in accepted if run is not None}) == 100


def test_what_is_wrong_with_the_call_is_raised_at_once(world: World) -> None:
    with pytest.raises(FlowNotFound):
        soon(world, "nothing.yml")


def test_the_lock_is_given_back_where_nothing_was_committed(world: World) -> None:
    """Somebody else had it, or the store refuses."""
    flow = world.write("locked.yml", FLOW)

    def refuse(_connection: Connection, _run: RunRow) -> bool:
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    assert soon(world, flow, claim=lambda _connection, _run: False).result(WAIT_SECONDS) is None
    assert world.service.locks() == []
    with pytest.raises(StoreUnavailable):
        soon(world, flow, claim=refuse).result(WAIT_SECONDS)
    assert world.service.locks() == []
    assert world.service.live.flows() == set()
    run = soon(world, flow).result(WAIT_SECONDS)
    assert run is not None
    assert world.wait(run.id).status is RunStatus.SUCCEEDED


def test_what_comes_after_the_end_of_all_is_finished_by_who_brings_it() -> None:
    """Somebody asked just before everything was closed: nobody must wait for ever."""
    acceptances = Acceptances()
    acceptances.start()
    acceptances.stop()
    recorded: Future[bool] = Future()
    recorded.set_result(False)
    assert acceptances.add(Acceptance(a_run(), recorded, lambda: None)).result(WAIT_SECONDS) is None


@pytest.mark.parametrize("call", ["cancel", "wait"])
def test_a_call_that_meets_a_run_on_its_way(world: World, call: str, tmp_path: Path) -> None:
    """Its row can be seen, but the engine does not have it yet."""
    flow = world.write(f"on_its_way_{call}.yml", PARALLEL)
    entered, leave = threading.Event(), threading.Event()

    def hold_up(_done: Future[RunRow | None]) -> None:
        entered.set()
        assert leave.wait(WAIT_SECONDS)

    is_told = threading.Event()
    first = soon(world, flow, claim=lambda _connection, _run: is_told.wait(WAIT_SECONDS))
    first.add_done_callback(hold_up)
    is_told.set()
    assert entered.wait(WAIT_SECONDS)
    seen: list[RunRow] = []

    def claim(_connection: Connection, run: RunRow) -> bool:
        seen.append(run)
        return True

    behind = soon(world, flow, claim=claim)
    run_id = until(lambda: seen and world.service.store.runs.get(seen[0].id), "it is committed").id
    answers: list[object] = []

    def ask() -> None:
        if call == "cancel":
            try:
                answers.append(world.service.cancel_run(run_id, by="test"))
            except RunHasEnded as ended:  # this thread has begun late, on a busy machine
                answers.append(ended)
        else:
            answers.append(world.service.wait_for_run(run_id, WAIT_SECONDS).status)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(0.2)
    assert not answers
    leave.set()
    asking.join(WAIT_SECONDS)
    assert behind.result(WAIT_SECONDS) is not None
    wanted = {RunStatus.SUCCEEDED} if call == "wait" else {RunStatus.CANCELLED, RunStatus.SUCCEEDED}
    assert len(answers) == 1
    assert world.wait(run_id).status in wanted
