"""Waits: a run that only waits holds no worker, and goes on as it was when what it waits for comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flow_processor.engine.lines import PARK_SECONDS
from flow_processor.journal import Event, dispatch_of
from flow_processor.run import RunStatus
from flow_processor.service.views import RunDetail
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, names, outline, until

NEXT = "  - {name: next, type: set_fact, set_fact: {value: done}}\n"
SIGNAL = "  - {name: paid, type: wait, wait: {signal: paid}}\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One worker: a run that kept it would keep everybody else from working."""
    world = World(tmp_path_factory.mktemp("octospool") / "data", max_workers=1).start()
    yield world
    world.leave()


def sleep(seconds: float, more: str = "") -> str:
    return f"  - {{name: nap, type: sleep, sleep: {{seconds: {seconds}}}{more}}}\n"


def call(server: CountingServer, path: str, more: str = "") -> str:
    return f"  - {{name: call, type: rest, rest: {{uri: '{server.url}{path}', method: POST}}{more}}}\n"


def until_parked(world: World, run_id: str, *, times: int = 1) -> None:
    """Return once the run has no worker (for the first, second, … time)."""

    def is_parked() -> bool:
        parked = world.events(run_id, Event.PARKED)
        return len(parked) >= times and world.service.run(run_id).status is RunStatus.WAITING

    until(is_parked, f"{run_id} is parked")


def tell(world: World, run_id: str, name: str, data: Any = None) -> None:
    world.service.signal_run(run_id, name, data=data, by="ann")


def seconds_of(run: RunDetail) -> float:
    assert run.started_at is not None
    assert run.ended_at is not None
    return (run.ended_at - run.started_at).total_seconds()


# Moments.


def test_a_run_that_sleeps_has_no_worker_and_goes_on_in_time(world: World) -> None:
    """The one worker executes another run meanwhile."""
    run_id = world.launch("steps:\n" + sleep(PARK_SECONDS + 1) + NEXT)
    until_parked(world, run_id)
    assert world.succeed("steps:\n" + NEXT)["next"] == "done"
    assert world.service.run(run_id).status is RunStatus.WAITING
    run = world.wait(run_id)
    assert outline(run) == [("nap", 1, "succeeded"), ("next", 1, "succeeded")]
    assert PARK_SECONDS + 1 <= seconds_of(run) < PARK_SECONDS + 5
    assert len(world.events(run_id, Event.WAITING)) == 1, "the sleep did not begin anew"


def test_a_short_sleep_keeps_its_worker(world: World) -> None:
    run = world.run("steps:\n" + sleep(0.2))
    assert world.events(run.run_id, Event.PARKED) == []
    assert world.events(run.run_id, Event.WAITING) == []


def test_a_sleep_goes_on_over_a_restart(world: World) -> None:
    """Its end was written down when it began."""
    run_id = world.launch("steps:\n" + sleep(PARK_SECONDS + 2) + NEXT)
    until_parked(world, run_id)
    world.stop()
    world.start()
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    (waiting,) = world.events(run_id, Event.WAITING)
    nap, _next = world.events(run_id, Event.SUCCEEDED)
    assert nap.data["started_at"] == pytest.approx(waiting.at, abs=0.1)
    assert nap.at >= waiting.data["until"]


def test_a_moment_that_has_passed_is_no_wait(world: World) -> None:
    run = world.run("steps:\n  - {name: then, type: wait, wait: {until: '2020-01-01T08:00'}}\n" + NEXT)
    assert run.status is RunStatus.SUCCEEDED
    assert world.events(run.run_id, Event.WAITING) == []


def test_the_pause_before_a_retry_needs_no_worker(world: World, server: CountingServer) -> None:
    more = f", retry: {{attempts: 1, delay_seconds: {PARK_SECONDS + 1}}}"
    server.statuses["/post"] = [500, 500]
    run_id = world.launch("steps:\n" + call(server, "/post", more))
    until_parked(world, run_id)
    assert server.calls["/post"] == 1
    run = world.wait(run_id)
    assert outline(run) == [("call", 1, "failed"), ("call", 2, "failed")]
    assert server.calls["/post"] == 2


# Signals.


def test_a_signal_wakes_a_parked_run(world: World) -> None:
    run_id = world.launch("steps:\n" + SIGNAL + NEXT)
    until_parked(world, run_id)
    tell(world, run_id, "another")
    tell(world, run_id, "paid", {"amount": 3})
    run = world.wait(run_id)
    assert run.data is not None
    paid = run.data["paid"]
    assert (paid["name"], paid["data"], paid["by"], paid["expired"]) == ("paid", {"amount": 3}, "ann", False)
    (outcome,) = [row for row in world.events(run_id, Event.SUCCEEDED) if row.path == "paid"]
    (_another, signalled) = world.events(run_id, Event.SIGNALLED)
    assert outcome.data["signal"] == signalled.seq


def test_a_signal_that_comes_before_its_wait_is_kept_for_it(world: World, server: CountingServer) -> None:
    run_id = world.launch("steps:\n" + call(server, "/held/post") + SIGNAL)
    server.wait_for_call("/held/post")
    tell(world, run_id, "paid", 1)
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.data is not None
    assert run.data["paid"]["data"] == 1
    assert len(world.events(run_id, Event.SIGNALLED)) == 1


def test_a_signal_that_comes_before_the_run_has_a_worker_is_kept(
    world: World, server: CountingServer
) -> None:
    first = world.launch("steps:\n" + call(server, "/held/post"))
    server.wait_for_call("/held/post")
    run_id = world.launch("steps:\n" + SIGNAL)
    tell(world, run_id, "paid", 1)
    server.open_gate.set()
    world.wait(first)
    run = world.wait(run_id)
    assert run.data is not None
    assert run.data["paid"]["data"] == 1


def test_each_signal_is_taken_once_and_in_order(world: World) -> None:
    again = "  - {name: again, type: goto, goto: {step_name: paid}, when: 'paid.data < 3'}\n"
    run_id = world.launch("steps:\n" + SIGNAL + again)
    until_parked(world, run_id)
    for number in (1, 2, 3, 4):
        tell(world, run_id, "paid", number)
    run = world.wait(run_id)
    assert [name for name in names(run) if "paid" in name] == ["paid", "paid#2", "paid#3"]
    assert run.data is not None
    assert run.data["paid"]["data"] == 3


def test_a_signal_reaches_one_line_while_another_is_busy(world: World, server: CountingServer) -> None:
    """An element of a loop waits, its neighbour makes a call: the worker stays, and hears of the signal."""
    world.write(
        "sub/either.yml",
        "steps:\n"
        + call(server, "/held/post", ", when: '__input__ == 1'")
        + SIGNAL.replace("}}", "}, when: '__input__ == 2'}"),
    )
    flow = "steps:\n" + LOOP.format(flow="sub/either.yml", items="[1, 2]")
    run_id = world.launch(flow)
    server.wait_for_call("/held/post")
    until(lambda: world.events(run_id, Event.WAITING), "the second element waits")
    tell(world, run_id, "paid")
    until(lambda: any(row.path == "each[2]/paid" for row in world.events(run_id, Event.SUCCEEDED)), "taken")
    server.open_gate.set()
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    assert world.events(run_id, Event.PARKED) == []
    assert server.calls["/held/post"] == 1


def test_a_signal_that_has_not_come_in_time_is_its_default(world: World) -> None:
    signal = f"{{name: paid, expires_seconds: {PARK_SECONDS + 0.5}, default: 0}}"
    data = world.succeed(f"steps:\n  - {{name: paid, type: wait, wait: {{signal: {signal}}}}}\n")
    assert (data["paid"]["data"], data["paid"]["expired"]) == (0, True)


def test_an_approval_that_nobody_answers_is_an_error_which_the_step_may_ignore(world: World) -> None:
    approval = "{prompt: 'Sure?', expires_seconds: 0.2}"
    flow = f"steps:\n  - {{name: ask, type: wait, ignore_errors: nobody, wait: {{approval: {approval}}}}}\n"
    data = world.succeed(flow + NEXT)
    assert [error["code"] for error in data["__errors__"]] == ["approval_expired"]
    assert data["next"] == "done"


def test_a_persons_answer_is_a_signal_by_the_steps_path(world: World) -> None:
    flow = "steps:\n  - {name: ask, type: wait, wait: {approval: {prompt: 'Sure?'}}}\n"
    run_id = world.launch(flow)
    until_parked(world, run_id)
    tell(world, run_id, "ask", "approve")
    run = world.wait(run_id)
    assert run.data is not None
    assert (run.data["ask"]["answer"], run.data["ask"]["by"]) == ("approve", "ann")


# What stands around a wait.

LOOP = """  - {{name: items, type: set_fact, set_fact: {{value: {items}}}}}
  - {{name: each, type: flow_loop, flow_loop: {{path: {flow}, data_key: items}}}}
"""


def test_the_elements_of_a_loop_wait_each_for_its_own(world: World, server: CountingServer) -> None:
    """What an element did before and after its wait is done once, whatever the order of the signals."""
    world.write(
        "sub/item.yml",
        "steps:\n"
        + call(server, "/post?before={{ __input__ }}")
        + "  - {name: wait, type: wait, wait: {signal: 'item-{{ __input__ }}'}}\n"
        + call(server, "/post?after={{ __input__ }}").replace("name: call", "name: after"),
    )
    run_id = world.launch("steps:\n" + LOOP.format(flow="sub/item.yml", items="[1, 2, 3]") + NEXT)
    for times, number in enumerate((3, 1, 2), 1):
        until_parked(world, run_id, times=times)
        tell(world, run_id, f"item-{number}", number * 10)
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    assert [item["wait"]["data"] for item in run.data["each"]] == [10, 20, 30]
    assert [item["__input__"] for item in run.data["each"]] == [1, 2, 3]
    assert sorted(server.calls.values()) == [1] * 6
    assert dispatch_of(world.events(run_id, Event.DISPATCHED)[-1].seq) == 4


def test_a_cancel_of_a_parked_run_runs_the_finally_steps_of_all_that_waited(world: World) -> None:
    """Also those of the sub-flows, as if their worker had never left."""
    world.write(
        "sub/waits.yml",
        "finally_step: clean\nsteps:\n"
        + SIGNAL
        + NEXT
        + "  - {name: clean, type: set_fact, set_fact: {value: 1}}\n",
    )
    flow = "finally_step: clean\nsteps:\n" + LOOP.format(flow="sub/waits.yml", items="[1, 2]")
    run_id = world.launch(flow + "  - {name: clean, type: set_fact, set_fact: {value: 1}}\n")
    until_parked(world, run_id)
    world.service.cancel_run(run_id, by="ann")
    run = world.wait(run_id)
    assert run.status is RunStatus.CANCELLED
    done = {step.path: step.status.value for step in run.steps}
    assert done.pop("items") == "succeeded"
    assert done == {
        "each": "cancelled",
        "each[1]/paid": "cancelled",
        "each[1]/clean": "succeeded",
        "each[2]/paid": "cancelled",
        "each[2]/clean": "succeeded",
        "clean": "succeeded",
    }


def test_a_steps_time_limit_goes_on_while_the_run_is_parked(world: World) -> None:
    limit = PARK_SECONDS + 0.5
    flow = f"steps:\n  - {{name: paid, type: wait, timeout_seconds: {limit}, wait: {{signal: paid}}}}\n"
    run = world.run(flow)
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "step_timeout")
    assert limit <= seconds_of(run) < limit + 4
    assert len(world.events(run.run_id, Event.PARKED)) == 1


def test_the_time_limit_of_a_step_around_a_wait_goes_on_too(world: World) -> None:
    limit = PARK_SECONDS + 1
    world.write("sub/waits.yml", "steps:\n" + SIGNAL.replace("paid", "first") + SIGNAL)
    flow = (
        f"steps:\n  - {{name: outer, type: flow, timeout_seconds: {limit}, flow: {{path: sub/waits.yml}}}}\n"
    )
    run_id = world.launch(flow)
    until_parked(world, run_id)
    tell(world, run_id, "first")
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "step_timeout")
    assert limit - 0.1 <= seconds_of(run) < limit + 4


def test_time_without_a_worker_does_not_count_for_the_runs_limit(world: World) -> None:
    run = world.run("timeout_seconds: 2\nsteps:\n" + sleep(PARK_SECONDS + 1.5) + NEXT)
    assert run.status is RunStatus.SUCCEEDED, run.error


def test_a_wait_goes_on_as_it_was_when_its_worker_dies(world: World, server: CountingServer) -> None:
    """A neighbour was busy, so it was waited for in the worker; its moment had been written down."""
    world.write(
        "sub/either.yml",
        "steps:\n"
        + call(server, "/held/get", ", when: '__input__ == 1'").replace("POST", "GET")
        + sleep(3, ", when: '__input__ == 2'"),
    )
    run_id = world.launch("steps:\n" + LOOP.format(flow="sub/either.yml", items="[1, 2]"))
    server.wait_for_call("/held/get")
    until(lambda: world.events(run_id, Event.WAITING), "the second element waits")
    world.kill_worker(run_id)
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    (waiting,) = world.events(run_id, Event.WAITING)
    (outcome,) = [row for row in world.events(run_id, Event.SUCCEEDED) if row.path == waiting.path]
    assert (outcome.path, outcome.data["started_at"]) == ("each[2]/nap", pytest.approx(waiting.at, abs=0.1))
    assert outcome.at >= waiting.data["until"]


def test_a_finally_step_may_wait_too(world: World) -> None:
    flow = "finally_step: paid\nsteps:\n" + NEXT + SIGNAL
    flow = flow.replace(
        "name: next, type: set_fact, set_fact: {value: done}", "name: no, type: jq, jq: {expression: error}"
    )
    run_id = world.launch(flow)
    until_parked(world, run_id)
    tell(world, run_id, "paid")
    run = world.wait(run_id)
    assert run.status is RunStatus.FAILED
    assert outline(run) == [("no", 1, "failed"), ("paid", 1, "succeeded")]


@pytest.mark.parametrize("number", [40, pytest.param(400, marks=pytest.mark.soak)])
def test_any_number_of_parked_runs_takes_no_worker(make_world: Callable[..., World], number: int) -> None:
    world = make_world(max_workers=2)
    path = world.write("many.yml", "concurrency: {on_conflict: parallel}\nsteps:\n" + SIGNAL)
    runs = [world.launch(path) for _ in range(number)]
    for run_id in runs:
        until_parked(world, run_id)
    assert len(world.living_workers()) <= 2
    for run_id in runs:
        tell(world, run_id, "paid", run_id)
    for run_id in runs:
        run = world.wait(run_id)
        assert run.data is not None
        assert run.data["paid"]["data"] == run_id
