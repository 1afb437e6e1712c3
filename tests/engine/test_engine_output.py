"""Results of steps that are sent to queues, as folder queues have them then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from flow_processor.errors import InvalidRequest, ItemTooLarge, ResultsUnsent
from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retries import RetryWish
from flow_processor.service.retry_doubts import Answer
from flow_processor.store.tables import outbox
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, until


def waiting(world: World, queue: str) -> dict[str, Any]:
    """What waits in a queue: id -> value, in its order."""
    files = sorted((world.data / "spool" / queue / "new").glob("item-*.json"))
    return {file.stem.removeprefix("item-"): json.loads(file.read_bytes()) for file in files}


def until_sent(world: World) -> None:
    """Return once nothing is left to be sent."""
    until(lambda: not world.service.store.outbox.queues(), "all results are sent")


def sent(world: World, queue: str) -> list[Any]:
    """The values that wait in a queue, once all results are sent."""
    until_sent(world)
    return list(waiting(world, queue).values())


def gives(value: str, output: str, more: str = "", name: str = "s") -> str:
    """A step with that result and output."""
    return f"  - {{name: {name}, type: set_fact, set_fact: {{value: {value}}}, output: {output}{more}}}\n"


def posts(server: CountingServer, path: str, more: str = "", name: str = "post") -> str:
    """A step that must not silently run twice."""
    return f"  - {{name: {name}, type: rest, rest: {{uri: '{server.url}{path}', method: POST}}{more}}}\n"


MULTIPLE = "{queue: QUEUE, type: multiple}"


@pytest.mark.parametrize(
    ("queue", "value", "output", "items"),
    [
        ("mapping", "{a: 1}", "QUEUE", [{"a": 1}]),
        ("nothing", "null", "{queue: QUEUE}", [None]),
        ("whole", "[1, 2]", "{queue: QUEUE, type: single}", [[1, 2]]),
        ("each", "[1, [2], null]", MULTIPLE, [1, [2], None]),
        ("none", "[]", MULTIPLE, []),
        ("picked", "[3, 4]", MULTIPLE + ", jq_expression: '.[]|{n: .}'", [{"n": 3}, {"n": 4}]),
    ],
)
def test_what_goes_under_the_result_key_is_sent(
    world: World, queue: str, value: str, output: str, items: list[Any]
) -> None:
    world.succeed("steps:\n" + gives(value, output.replace("QUEUE", queue)))
    assert sent(world, queue) == items


@pytest.mark.parametrize("value", ["{a: 1}", "text", "null", "3", "true"])
def test_multiple_needs_a_list(world: World, value: str) -> None:
    run = world.run("steps:\n" + gives(value, "{queue: never, type: multiple}"))
    assert error_code(run) == "output_invalid"
    assert sent(world, "never") == []


def test_a_result_that_cannot_be_sent_fails_by_the_steps_policies(world: World) -> None:
    """It is never journaled as succeeded, so no result key has it either."""
    policies = ", ignore_errors: multiple, retry: {attempts: 1, delay_seconds: 0}"
    data = world.succeed("steps:\n" + gives("7", "{queue: never, type: multiple}", policies))
    assert "s" not in data
    (error,) = data["__errors__"]
    assert (error["code"], error["ignored"]) == ("output_invalid", "multiple")


def test_who_is_skipped_or_fails_sends_nothing(world: World) -> None:
    world.succeed(
        "steps:\n"
        + gives("1", "some", ", when: false", name="skipped")
        + "  - {name: wrong, type: raise, raise: {message: no}, ignore_errors: 'no', output: some}\n"
        + gives("2", "some", name="right")
    )
    assert sent(world, "some") == [2]


def test_steps_send_wherever_they_stand(world: World) -> None:
    """In graphs, blocks, cases, loops and sub-flows, in handlers, and what stands around them too."""
    world.write("child.yml", "steps:\n" + gives("'child {{ __input__ }}'", "all"))
    item = "{name: i, type: set_fact, set_fact: {value: 'item {{ item }}'}, output: all}"
    case = "{type: set_fact, set_fact: {value: case}, output: all}"
    run = world.run(
        "steps:\n"
        "  - {name: graph, needs: [], type: set_fact, set_fact: {value: [1, 2]}, output: all}\n"
        f"  - {{name: each, needs: [graph], type: foreach, foreach: {{items: [1, 2], steps: [{item}]}}}}\n"
        "  - {name: loop, needs: [graph], type: flow_loop, flow_loop: {path: child.yml, data_key: graph}, "
        "jq_expression: length, output: all}\n"
        "  - {name: case, needs: [], type: switch, switch: {data_key: __flow_path__, cases: "
        f"[{{when: '.*', step: {case}}}]}}}}\n"
        "  - {name: fails, needs: [loop, case, each], type: raise, raise: {message: no}}\n"
        "on_failure:\n" + gives("handler", "all", name="tell")
    )
    assert run.status is RunStatus.FAILED
    children = ["child 1", "child 2"]
    expected = [[1, 2], "case", *children, "handler", "item 1", "item 2", 2]
    assert sorted(sent(world, "all"), key=str) == sorted(expected, key=str)


def test_elements_that_are_runs_of_their_own_send_too(world: World) -> None:
    world.write("part.yml", "steps:\n" + gives("'{{ __input__ }}'", "parts"))
    world.succeed(
        "steps:\n"
        "  - {name: list, type: set_fact, set_fact: {value: [1, 2, 3]}}\n"
        "  - {name: loop, type: flow_loop, flow_loop: {path: part.yml, data_key: list, spread: true}}\n"
    )
    assert sorted(sent(world, "parts")) == [1, 2, 3]


def test_items_tell_where_they_come_from(world: World) -> None:
    """Their ids are made of the run, the journal row and the element, so they are the same whenever they are sent."""
    path = world.write("from.yml", "steps:\n" + gives("[a, b]", "{queue: ids, type: multiple, priority: 7}"))
    run = world.run(path)
    until_sent(world)
    (row,) = world.events(run.run_id, Event.SUCCEEDED)
    files = sorted(file.name for file in (world.data / "spool/ids/new").iterdir())
    assert files == [f"item-p7-{run.run_id}-{row.seq}-00000{number}.json" for number in (1, 2)]


def test_a_large_result_is_read_from_its_file(world: World) -> None:
    """More than the journal keeps in a row, and more than goes in one batch."""
    run = world.run(
        "steps:\n  - {name: s, type: jq, jq: {expression: '[range(600) | {n: ., text: (\"ä\" * 300)}]'}, "
        "output: {queue: large, type: multiple}}\n"
    )
    assert run.status is RunStatus.SUCCEEDED, run.error
    (row,) = world.events(run.run_id, Event.SUCCEEDED)
    assert "result_file" in row.data
    assert [item["n"] for item in sent(world, "large")] == list(range(600))


def test_a_retry_that_keeps_a_step_does_not_send_again(world: World, server: CountingServer) -> None:
    """One that runs it anew does, with items of other ids."""
    server.statuses["/after"] = [500]
    failed = world.run("steps:\n" + gives("1", "kept") + posts(server, "/after"))
    assert failed.status is RunStatus.FAILED
    assert sent(world, "kept") == [1]
    again = world.service.retry_run(failed.run_id, RetryWish(), by="ann")
    assert world.wait(again.run_id).status is RunStatus.SUCCEEDED
    assert sent(world, "kept") == [1]
    anew = world.service.retry_run(failed.run_id, RetryWish(from_step="s"), by="ann")
    assert world.wait(anew.run_id).status is RunStatus.SUCCEEDED
    assert sent(world, "kept") == [1, 1]


def test_a_result_that_a_person_gives_is_sent(world: World, server: CountingServer) -> None:
    """And one that could not be is refused while it still can be."""
    run_id = world.launch("steps:\n" + posts(server, "/held/a", ", output: {queue: given, type: multiple}"))
    server.wait_for_call("/held/a")
    world.kill_worker(run_id)
    assert world.wait(run_id).status is RunStatus.INTERRUPTED
    server.open_gate.set()
    with pytest.raises(InvalidRequest, match="'given' is multiple, which needs a list"):
        world.service.resume_run(run_id, mode=ResumeMode.VALUE, value={"id": 7}, by="ann")
    world.service.resume_run(run_id, mode=ResumeMode.VALUE, value=[7, 8], by="ann")
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    assert sent(world, "given") == [7, 8]


def test_a_result_that_a_person_gives_to_a_retry_is_sent_once(world: World, server: CountingServer) -> None:
    """The step failed, and nobody knows whether it took effect. A retry of the retry keeps the result."""
    callers = world.data / "callers"
    callers.mkdir(exist_ok=True)
    (callers / "unclear.py").write_text(
        "from flow_processor.errors import StepError\n"
        "from flow_processor.own_code import caller\n\n"
        "@caller\n"
        "def unclear():\n"
        "    raise StepError('broke', code='order_unclear', details={'outcome': 'unknown'})\n"
    )
    until(lambda: world.service.own_code.state().functions, "the caller is noticed")
    step = "  - {name: s, type: python, python: {call: unclear}, output: {queue: told, type: multiple}}\n"
    server.statuses["/later"] = [500]
    failed = world.run("steps:\n" + gives("0", "told", name="before") + step + posts(server, "/later"))
    assert error_code(failed) == "order_unclear"
    wish = RetryWish(answer=Answer(ResumeMode.VALUE, value="text"))
    with pytest.raises(InvalidRequest, match="needs a list"):
        world.service.retry_run(failed.run_id, wish, by="ann")
    wish = RetryWish(answer=Answer(ResumeMode.VALUE, value=[1, 2]))
    again = world.wait(world.service.retry_run(failed.run_id, wish, by="ann").run_id)
    assert again.status is RunStatus.FAILED
    world.service.store.outbox.has_more.set()  # else it looks again within some seconds
    assert sent(world, "told") == [0, 1, 2]
    last = world.wait(world.service.retry_run(again.run_id, RetryWish(), by="ann").run_id)
    assert last.status is RunStatus.SUCCEEDED, last.error
    world.service.store.outbox.has_more.set()
    assert sent(world, "told") == [0, 1, 2]


def test_what_cannot_be_sent_is_kept_and_holds_nothing_else_up(make_world: Callable[..., World]) -> None:
    """Told while it lasts; the run is not deleted meanwhile; the next start sends it."""
    world = make_world()
    in_the_way = world.data / "spool" / "stuck"
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("a file where the queue's folder should be", encoding="utf-8")
    run = world.run(
        "steps:\n" + gives("[1, 2]", "{queue: stuck, type: multiple}") + gives("3", "free", name="t")
    )
    assert run.status is RunStatus.SUCCEEDED, run.error
    until(lambda: waiting(world, "free"), "the other queue's item")
    until(world.service.publisher.problems, "the trouble is told")
    (check,) = [check for check in world.service.readiness().checks if check.name == "outbox"]
    assert not check.ok
    assert "results wait to be put on the queue 'stuck'" in check.message
    with pytest.raises(ResultsUnsent, match="stuck"):
        world.service.delete_run(run.run_id)
    assert world.service.delete_runs(older_than_days=None, status=[RunStatus.SUCCEEDED]) == 0
    world.stop()
    in_the_way.unlink()
    world.start()
    assert sent(world, "stuck") == [1, 2]
    assert len(waiting(world, "free")) == 1
    world.service.delete_run(run.run_id)


def test_what_was_put_before_a_crash_is_put_again_with_the_same_ids(make_world: Callable[..., World]) -> None:
    """The daemon died before it could note that the items are on their queue."""
    world = make_world()
    run = world.run("steps:\n" + gives("[1, 2]", "{queue: twice, type: multiple}"))
    until_sent(world)
    (row,) = world.events(run.run_id, Event.SUCCEEDED)
    note = {"run_id": run.run_id, "seq": row.seq, "queue": "twice", "at": row.at}
    world.service.store.writer.run(lambda connection: connection.execute(insert(outbox), note))
    before = waiting(world, "twice")
    world.stop()
    world.start()
    until_sent(world)
    assert waiting(world, "twice") == before


def test_a_queue_that_is_full_gets_the_rest_later(tmp_path: Path, make_world: Callable[..., World]) -> None:
    """As much as there is room for goes at once, the rest in its order once there is room again."""
    config = tmp_path / "data" / "config.yml"
    config.parent.mkdir()
    config.write_text("queues: {small: {max_items: 3}}\n")
    world = make_world()
    world.succeed("steps:\n" + gives("[1, 2, 3, 4, 5]", "{queue: small, type: multiple}"))
    (problem,) = until(world.service.publisher.problems, "the trouble is told")
    assert "3 items wait in the queue 'small', which takes 3" in problem
    assert list(waiting(world, "small").values()) == [1, 2, 3]
    for file in (world.data / "spool" / "small" / "new").iterdir():
        file.unlink()
    assert sent(world, "small") == [4, 5]
    assert world.service.publisher.problems() == []


def test_a_result_too_large_for_its_queue_fails_the_step(
    tmp_path: Path, make_world: Callable[..., World]
) -> None:
    """Before anything is sent: who wrote the flow is told, not who listens."""
    config = tmp_path / "data" / "config.yml"
    config.parent.mkdir()
    config.write_text("queues: {defaults: {max_item_bytes: 100}, wide: {max_item_bytes: 1 KiB}}\n")
    world = make_world()
    steps = 'steps:\n  - {name: s, type: jq, jq: {expression: \'["a", "b" * 150]\'}, output: OUTPUT}\n'
    run = world.run(steps.replace("OUTPUT", "{queue: narrow, type: multiple}"))
    assert error_code(run) == "output_invalid"
    assert run.error is not None
    assert "element 2 has 152 bytes, and the queue 'narrow' takes items of 100" in run.error.message
    assert error_code(world.run(steps.replace("OUTPUT", "narrow"))) == "output_invalid"
    world.succeed(steps.replace("OUTPUT", "{queue: wide, type: multiple}"))
    assert (sent(world, "narrow"), len(sent(world, "wide"))) == ([], 2)


def test_a_result_that_became_too_large_holds_up_none_behind_it(
    tmp_path: Path, make_world: Callable[..., World]
) -> None:
    """Whoever takes it in refuses it, where people see it."""
    world = make_world()
    in_the_way = world.data / "spool" / "narrow"
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("a file where the queue's folder should be", encoding="utf-8")
    world.succeed("steps:\n" + gives('["a", "' + 150 * "b" + '", "c"]', "{queue: narrow, type: multiple}"))
    until(world.service.publisher.problems, "the trouble is told")
    world.stop()
    (world.data / "config.yml").write_text("queues: {narrow: {max_item_bytes: 100}}\n", encoding="utf-8")
    in_the_way.unlink()
    later = make_world()
    assert sent(later, "narrow") == ["a", 150 * "b", "c"]
    with pytest.raises(ItemTooLarge):
        later.service.queues.put("narrow", [150 * "b"])


def test_a_run_shows_what_its_steps_have_sent_and_a_retry_what_it_sent_itself(world: World) -> None:
    steps = (
        "steps:\n"
        + gives("[1, 2, 3]", "{queue: shown, type: multiple}", name="each")
        + gives("[1, 2]", "shown", name="whole")
        + gives("[]", "{queue: shown, type: multiple}", name="none")
        + gives("1", "shown", ", when: false", name="skipped")
        + '  - {name: large, type: jq, jq: {expression: "[range(3)] | map(\\"x\\" * 200000)"}, '
        "output: {queue: shown, type: multiple}}\n"
        + "  - {name: fails, type: raise, raise: {message: no}, output: shown}\n"
    )
    run = world.run(steps)
    detail = world.service.run(run.run_id)
    found = {step.path: step.sent and (step.sent.queue, step.sent.items) for step in detail.steps}
    assert found == {
        "each": ("shown", 3),
        "whole": ("shown", 1),
        "none": None,
        "skipped": None,
        "large": ("shown", 3),
        "fails": None,
    }
    again = world.wait(world.service.retry_run(run.run_id, RetryWish(), by="ann").run_id)
    assert {step.path: step.sent for step in world.service.run(again.run_id).steps if step.sent} == {}
