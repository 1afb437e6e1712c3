"""flow_loop with spread: elements are runs of their own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow_processor.errors import RunInDoubt, RunIsLive
from flow_processor.journal import Event
from flow_processor.run import RunFilter, RunStatus
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retries import RetryWish
from flow_processor.service.views import RunDetail, RunSummary
from tests.engine.world import World, error_code, until
from tests.forked import start_python

CHILD = """params: {add: {type: int, default: 0}}
steps:
  - {name: sum, type: jq, jq: {expression: '.__input__ + .params.add'}}
  - {name: bad, type: raise, when: '__input__ == 3', raise: {message: no three, code: three}}
"""

WAITER = """concurrency: {on_conflict: reject}
steps:
  - {name: first, type: set_fact, set_fact: {value: '{{ __input__ }}'}}
  - {name: go, type: wait, wait: {signal: go}}
"""


@pytest.fixture
def flows(world: World) -> World:
    return write(world)


def write(world: World) -> World:
    world.write("child.yml", CHILD)
    world.write("waiter.yml", WAITER)
    return world


def loop(items: str, path: str, more: str = "", spread: str = "true") -> str:
    return f"""steps:
  - {{name: items, type: jq, jq: {{expression: '{items}'}}}}
  - {{name: each, type: flow_loop, flow_loop: {{path: {path}, data_key: items, spread: {spread}{more}}}}}
"""


def parts(world: World, run_id: str) -> list[RunSummary]:
    found = world.service.runs(RunFilter(parent=run_id), limit=500).runs
    return sorted(found, key=lambda run: run.parent_index or 0)


def waiting(world: World, run_id: str, count: int) -> list[RunSummary]:
    def found() -> list[RunSummary]:
        return [run for run in parts(world, run_id) if run.status is RunStatus.WAITING]

    return until(lambda: found() if len(found()) == count else None, f"{count} runs wait")


def parked(world: World, run_id: str) -> None:
    until(lambda: world.service.run(run_id).status is RunStatus.WAITING, "the parent waits")


def go(world: World, runs: list[RunSummary]) -> None:
    for run in runs:
        world.service.signal_run(run.run_id, "go", by="test")


def own(data: dict[str, Any] | None) -> Any:
    """The result and errors without what is each run's own."""
    assert data is not None
    ids = ("__run_id__", "__job_id__", "__timestamp__")
    result = [
        {key: value for key, value in one.items() if key not in ids and key != "__errors__"}
        for one in data["each"]
    ]
    errors = [
        {key: value for key, value in one.items() if key not in ("run_id", "step")}
        for one in data["__errors__"]
    ]
    return result, errors


def test_the_result_is_that_of_a_loop_without_spread(flows: World) -> None:
    more = ", params: {add: '{{ item * 10 }}'}, max_parallel: 2"
    spread = flows.run(loop("[5, 3, 4]", "child.yml", more))
    plain = flows.run(loop("[5, 3, 4]", "child.yml", more, spread="false"))
    assert spread.status is plain.status is RunStatus.SUCCEEDED
    assert own(spread.data) == own(plain.data)
    assert [one["sum"] for one in (spread.data or {})["each"]] == [55, 33, 44]
    children = parts(flows, spread.run_id)
    assert [(run.parent_index, run.parent_path, run.status.value) for run in children] == [
        (1, "each", "succeeded"),
        (2, "each", "failed"),
        (3, "each", "succeeded"),
    ]
    assert (spread.data or {})["__errors__"][0]["run_id"] == children[1].run_id
    assert flows.service.run(spread.run_id).children == {RunStatus.SUCCEEDED: 2, RunStatus.FAILED: 1}
    assert flows.service.run(children[0].run_id).parent == spread.run_id


def test_no_elements_and_wrong_params(flows: World) -> None:
    assert flows.succeed(loop("[]", "child.yml"))["each"] == []
    data = flows.succeed(loop('["much"]', "child.yml", ", params: {add: '{{ item }}'}"))
    assert [error["code"] for error in data["__errors__"]] == ["params_invalid"]


def test_the_parent_is_parked_and_children_need_no_lock(flows: World) -> None:
    """max_parallel of them at once, each in a flow that refuses a second run."""
    run_id = flows.launch(loop("[1, 2, 3]", "waiter.yml", ", max_parallel: 2"))
    both = waiting(flows, run_id, 2)
    parked(flows, run_id)
    assert [run.parent_index for run in both] == [1, 2]
    assert [run.status.value for run in parts(flows, run_id)] == ["waiting", "waiting", "queued"]
    assert flows.service.run(run_id).waiting[0].kind == "children"
    go(flows, both[1:])
    until(lambda: parts(flows, run_id)[2].status is RunStatus.WAITING, "the third has begun")
    with pytest.raises(RunIsLive, match="which has not ended and needs its result"):
        flows.service.delete_run(both[1].run_id)
    go(flows, waiting(flows, run_id, 2))
    run = flows.wait(run_id)
    assert [one["first"] for one in (run.data or {})["each"]] == [1, 2, 3]
    flows.service.delete_run(both[1].run_id)
    flows.service.delete_run(run_id)
    assert flows.service.run(both[0].run_id).parent == run_id


def test_fail_ends_the_others(flows: World) -> None:
    flows.write(
        "mixed.yml", CHILD.replace("steps:\n", "steps:\n  - {name: go, type: wait, wait: {signal: go}}\n")
    )
    text = loop("[1, 3, 5, 7]", "mixed.yml", ", on_item_error: fail, max_parallel: 2")
    run_id = flows.launch(text)
    go(flows, waiting(flows, run_id, 2)[1:])
    run = flows.wait(run_id)
    assert run.error is not None
    assert (run.error.code, run.error.details["index"]) == ("three", 2)
    assert [run.status.value for run in parts(flows, run_id)] == [
        "cancelled",
        "failed",
        "cancelled",
        "cancelled",
    ]


@pytest.mark.parametrize("limit", ["", ", timeout_seconds: 3"])
def test_children_end_with_their_step(flows: World, limit: str) -> None:
    run_id = flows.launch(
        loop("[1, 2]", "waiter.yml", ", max_parallel: 1").replace(
            "type: flow_loop", f"type: flow_loop{limit}"
        )
    )
    if not limit:
        waiting(flows, run_id, 1)
        parked(flows, run_id)
        flows.service.cancel_run(run_id, by="test")
    run = flows.wait(run_id)
    assert error_code(run) == ("step_timeout" if limit else "cancelled")
    children = parts(flows, run_id)
    until(lambda: {run.status.value for run in parts(flows, run_id)} == {"cancelled"}, "they are cancelled")
    assert len(children) == 2


def test_a_retry_takes_over_what_has_succeeded(flows: World) -> None:
    first = flows.run(loop("[1, 3]", "child.yml", ", on_item_error: fail, max_parallel: 1"))
    assert error_code(first) == "three"
    done = parts(flows, first.run_id)[0].run_id
    again = flows.wait(flows.service.retry_run(first.run_id, RetryWish(), by="test").run_id)
    assert error_code(again) == "three"
    children = parts(flows, again.run_id)
    assert [run.status.value for run in children] == ["succeeded", "failed"]
    assert children[0].run_id == done
    assert [run.parent_index for run in parts(flows, first.run_id)] == [2]


def test_a_retry_tries_failed_elements_of_a_loop_that_went_on(flows: World) -> None:
    first = flows.run(loop("[1, 3]", "child.yml"))
    assert first.status is RunStatus.SUCCEEDED
    again = flows.wait(flows.service.retry_run(first.run_id, RetryWish(), by="test").run_id)
    assert [run.status.value for run in parts(flows, again.run_id)] == ["succeeded", "failed"]


def test_a_retry_is_refused_while_an_element_is_in_doubt(flows: World) -> None:
    """It would be made again silently. Once a person has decided, its run is taken over."""
    flows.write("once.yml", "steps:\n  - {name: slow, type: shell, shell: {command: [sleep, '60']}}\n")
    first = flows.launch(loop("[1]", "once.yml", ", on_item_error: fail"))
    [child] = until(lambda: parts(flows, first), "the child is there")
    flows.until_begun(child.run_id, "slow")
    flows.kill_worker(child.run_id)
    assert flows.wait(first).status is RunStatus.FAILED
    with pytest.raises(RunInDoubt, match=child.run_id):
        flows.service.retry_run(first, RetryWish(), by="test")
    flows.service.resume_run(child.run_id, mode=ResumeMode.SKIP, by="test")
    assert flows.wait(child.run_id).status is RunStatus.SUCCEEDED
    again = flows.wait(flows.service.retry_run(first, RetryWish(), by="test").run_id)
    assert again.status is RunStatus.SUCCEEDED, again.error
    assert [run.run_id for run in parts(flows, again.run_id)] == [child.run_id]


def test_killed_workers_launch_nothing_twice(flows: World) -> None:
    """That of the parent while it waits in a worker, and that of a child."""
    text = (
        "steps:\n"
        "  - {name: items, type: jq, jq: {expression: '[1, 2]'}}\n"
        "  - {name: each, type: flow_loop, needs: [items],"
        " flow_loop: {path: sleeper.yml, data_key: items, spread: true}}\n"
        "  - {name: beside, type: shell, needs: [items], on_interrupt: rerun, shell: {command: [sleep, '4']}}\n"
    )
    flows.write(
        "sleeper.yml",
        WAITER.replace(
            "  - {name: go", "  - {name: sleep, type: sleep, sleep: {seconds: 1.5}}\n  - {name: go"
        ),
    )
    run_id = flows.launch(text)
    until(lambda: len(parts(flows, run_id)) == 2, "the children are there")
    children = parts(flows, run_id)
    flows.until_begun(children[0].run_id, "sleep")
    flows.kill_worker(run_id)
    flows.kill_worker(children[0].run_id)
    go(flows, waiting(flows, run_id, 2))
    run = flows.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert [run.run_id for run in parts(flows, run_id)] == [run.run_id for run in children]
    assert len(flows.events(run_id, Event.WORKER_LOST)) == 1


def test_a_resumed_parent_keeps_what_has_ended_and_launches_the_others_anew(flows: World) -> None:
    """It was interrupted for another step, and what was under way was cancelled with it."""
    text = (
        "steps:\n"
        "  - {name: items, type: jq, jq: {expression: '[1, 2]'}}\n"
        "  - {name: each, type: flow_loop, needs: [items],"
        " flow_loop: {path: waiter.yml, data_key: items, spread: true}}\n"
        "  - {name: beside, type: shell, needs: [items], shell: {command: [sleep, '3']}}\n"
    )
    run_id = flows.launch(text)
    first = waiting(flows, run_id, 2)
    flows.until_begun(run_id, "beside")
    go(flows, first[:1])
    until(lambda: parts(flows, run_id)[0].status is RunStatus.SUCCEEDED, "the first has ended")
    flows.kill_worker(run_id)
    assert flows.wait(run_id).status is RunStatus.INTERRUPTED
    until(
        lambda: {run.status.value for run in parts(flows, run_id)} == {"succeeded", "cancelled"}, "ended too"
    )
    flows.service.resume_run(run_id, mode=ResumeMode.SKIP, by="test")
    go(flows, waiting(flows, run_id, 1))
    run = flows.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert [one["first"] for one in (run.data or {})["each"]] == [1, 2]
    after = [(run.parent_index, run.status.value) for run in parts(flows, run_id)]
    assert after == [(None, "cancelled"), (1, "succeeded"), (2, "succeeded")]


def test_a_restart_goes_on(make_world: Callable[..., World]) -> None:
    """Also with one that ends while no daemon is there to tell the parent."""
    world = write(make_world())
    run_id = world.launch(loop("[1, 2, 3]", "waiter.yml", ", max_parallel: 2"))
    both = waiting(world, run_id, 2)
    parked(world, run_id)
    world.leave()
    world = make_world()
    go(world, both)
    go(world, until(lambda: [run for run in waiting(world, run_id, 1) if run.parent_index == 3], "the third"))
    run: RunDetail = world.wait(run_id)
    assert [one["first"] for one in (run.data or {})["each"]] == [1, 2, 3]
    assert len(parts(world, run_id)) == 3


DIES = """
import sys
from pathlib import Path
from flow_processor.run import RunFilter
from flow_processor.service import Service
from flow_processor.settings import Settings
import time

service = Service(Settings.load({"DATA_PATH": sys.argv[1], "PATH": sys.argv[2], "SPARE_WORKERS": "0"}))
service.start(schedule=False)
run_id = service.launch("parent.yml").run_id
order = ["queued", "running", "waiting"]
wanted = order[order.index(sys.argv[3]):]
while not any(run.status in wanted for run in service.runs(RunFilter(parent=run_id)).runs):
    time.sleep(0.005)
print(run_id, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("moment", ["queued", "running", "waiting"])
def test_a_killed_daemon_and_its_workers_launch_nothing_twice(
    tmp_path: Path, make_world: Callable[..., World], moment: str
) -> None:
    flows = tmp_path / "data" / "flows"
    flows.mkdir(parents=True)
    (flows / "waiter.yml").write_text(WAITER, encoding="utf-8")
    (flows / "parent.yml").write_text(loop("[1, 2, 3]", "waiter.yml", ", max_parallel: 2"), encoding="utf-8")
    child = start_python(DIES, str(tmp_path / "data"), os.environ["PATH"], moment)
    assert child.stdout is not None
    run_id = child.stdout.readline().strip()
    workers = (tmp_path / "data" / "workers").glob("*.lock")
    pids = [
        json.loads(text)["pid"] for lock in workers if '"pid"' in (text := lock.read_text().rstrip("\0\n "))
    ]
    for pid in (child.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    child.communicate()
    world = make_world()
    before = [run.run_id for run in parts(world, run_id)]
    go(world, waiting(world, run_id, 2))
    go(world, until(lambda: [run for run in waiting(world, run_id, 1) if run.parent_index == 3], "the third"))
    run = world.wait(run_id)
    assert [one["first"] for one in (run.data or {})["each"]] == [1, 2, 3]
    after = [run.run_id for run in parts(world, run_id)]
    assert after[: len(before)] == before
    assert len(after) == 3
