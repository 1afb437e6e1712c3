"""A run is told something from outside: signals, and answers to approvals, which are checked before they count."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flow_processor.errors import (
    AlreadyAnswered,
    InvalidRequest,
    NotWaiting,
    OctospoolError,
    RunHasEnded,
    RunNotFound,
)
from flow_processor.run import RunStatus
from flow_processor.service.views import RunDetail
from tests.engine.world import World, until

APPROVAL = """steps:
  - name: go_ahead
    type: wait
    wait:
      approval:
        prompt: Deploy {{ __input__ }}?
        answers: [yes, no]
        form:
          amount: {type: int, required: true}
          colour: {type: choice, options: [red, green], default: red}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One worker."""
    world = World(tmp_path / "data", max_workers=1).start()
    yield world
    world.leave()


def until_waiting(world: World, run_id: str, count: int = 1) -> RunDetail:
    """The run once it waits for so many things and has no worker."""

    def look() -> RunDetail | None:
        run = world.service.run(run_id)
        return run if run.status is RunStatus.WAITING and len(run.waiting) == count else None

    return until(look, f"{run_id} waits")


def tell(world: World, run_id: str, name: str, data: Any) -> None:
    world.service.signal_run(run_id, name, data=data, by="ann")


def test_an_open_approval_is_shown_with_all_that_an_answer_needs(world: World) -> None:
    run = until_waiting(world, world.launch(APPROVAL, data="v7"))
    wait = run.waiting[0]
    assert (wait.path, wait.kind, wait.prompt) == ("go_ahead", "approval", "Deploy v7?")
    assert wait.answers == ("yes", "no")
    assert wait.form["amount"]["type"] == "int"
    assert run.steps[0].status == "waiting"
    tell(world, run.run_id, "go_ahead", {"answer": "yes", "form": {"amount": "12"}})
    ended = world.wait(run.run_id)
    assert ended.status is RunStatus.SUCCEEDED
    assert ended.waiting == []
    assert ended.data is not None
    given = ended.data["go_ahead"]
    assert (given["answer"], given["form"], given["by"]) == ("yes", {"amount": 12, "colour": "red"}, "ann")


def test_everything_wrong_with_an_answer_is_told_at_once_and_nothing_is_recorded(world: World) -> None:
    run = until_waiting(world, world.launch(APPROVAL))
    wrong = {"answer": "maybe", "form": {"amount": True, "color": "red"}, "sure": 1}
    with pytest.raises(InvalidRequest) as refused:
        tell(world, run.run_id, "go_ahead", wrong)
    assert [one["key"] for one in refused.value.details["problems"]] == ["sure", "answer", "color", "amount"]
    for data in (None, "yes", ["yes"], {"answer": ["yes"]}, {"answer": "yes", "form": 1}):
        with pytest.raises(InvalidRequest):
            tell(world, run.run_id, "go_ahead", data)
    assert world.service.run(run.run_id).status is RunStatus.WAITING
    world.service.cancel_run(run.run_id, by="a test")
    world.wait(run.run_id)
    with pytest.raises(RunHasEnded):
        tell(world, run.run_id, "go_ahead", {"answer": "yes", "form": {"amount": 1}})


def test_of_many_answers_at_once_exactly_one_counts(world: World) -> None:
    flow = APPROVAL + "  - {name: after, type: wait, wait: {signal: end}}\n"
    run = until_waiting(world, world.launch(flow))

    def answer(number: int) -> str:
        try:
            data = {"answer": "yes", "form": {"amount": number}}
            world.service.signal_run(run.run_id, "go_ahead", data=data, by=f"person {number}")
        except OctospoolError as error:
            return error.code
        return str(number)

    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(answer, range(8)))
    winners = [one for one in said if one != AlreadyAnswered.code]
    assert len(winners) == 1
    with pytest.raises(AlreadyAnswered, match=f"by person {winners[0]}: yes"):
        tell(world, run.run_id, "go_ahead", "no")
    tell(world, run.run_id, "end", None)
    ended = world.wait(run.run_id)
    assert ended.data is not None
    assert ended.data["go_ahead"]["form"]["amount"] == int(winners[0])


def test_an_answer_to_what_is_not_asked_yet_is_refused(world: World) -> None:
    """Unlike a signal it cannot be checked yet; a signal that comes early is kept."""
    first = "steps:\n  - {name: paid, type: wait, wait: {signal: paid}}\n"
    run = until_waiting(world, world.launch(first + APPROVAL.removeprefix("steps:\n")))
    with pytest.raises(
        NotWaiting, match="does not wait for an answer to 'go_ahead'; it waits for no answer now"
    ):
        tell(world, run.run_id, "go_ahead", "yes")
    tell(world, run.run_id, "paid", 7)
    until(
        lambda: [wait.path for wait in world.service.run(run.run_id).waiting] == ["go_ahead"], "the next wait"
    )
    with pytest.raises(NotWaiting, match="'go_ahead'"):
        tell(world, run.run_id, "go_ahead#2", "yes")
    tell(world, run.run_id, "go_ahead", {"answer": "no", "form": {"amount": 0}})
    ended = world.wait(run.run_id)
    assert ended.data is not None
    assert ended.data["paid"]["data"] == 7


def test_of_several_approvals_of_one_name_the_path_says_which(world: World) -> None:
    world.write("ask.yml", APPROVAL)
    loop = "flow_loop: {path: ask.yml, data_key: __input__}"
    path = world.write("asks.yml", f"steps:\n  - {{name: loop, type: flow_loop, {loop}}}\n")
    run = until_waiting(world, world.launch(path, data=["a", "b"]), 2)
    right = {"answer": "yes", "form": {"amount": 1}}
    with pytest.raises(InvalidRequest, match=r"name one: 'loop\[(1|2)\]/go_ahead', 'loop\[(1|2)\]/go_ahead'"):
        tell(world, run.run_id, "go_ahead", right)
    tell(world, run.run_id, "loop[2]/go_ahead", right)
    until(lambda: len(world.service.run(run.run_id).waiting) == 1, "one is left")
    tell(world, run.run_id, "go_ahead", right)
    assert world.wait(run.run_id).status is RunStatus.SUCCEEDED


def test_nobody_is_told_where_there_is_no_run(world: World) -> None:
    with pytest.raises(RunNotFound):
        tell(world, "20261121T074006123-aaaaaaaa", "paid", None)


def test_waits_answers_and_locks_outlive_a_restart(world: World) -> None:
    path = world.write("approve.yml", APPROVAL)
    run = until_waiting(world, world.launch(path, data="v7"))
    world.stop()
    world.start()
    again = world.service.run(run.run_id)
    assert again.waiting == run.waiting
    assert [lock.run_id for lock in world.service.locks()] == [run.run_id]
    tell(world, run.run_id, "go_ahead", {"answer": "yes", "form": {"amount": 1}})
    assert world.wait(run.run_id).status is RunStatus.SUCCEEDED
    assert world.service.locks() == []
