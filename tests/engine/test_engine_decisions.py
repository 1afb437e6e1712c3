"""A step that is in doubt becomes what a person says: it is run again, skipped, or has the result that was given."""

from __future__ import annotations

from typing import Any

import pytest

from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.service.resumes import ResumeMode
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, outline

NEXT = "  - {name: next, type: set_fact, set_fact: {value: '{{ call | default(\"none\") }}'}}\n"


@pytest.fixture
def doubtful(world: World, server: CountingServer) -> str:
    """A run whose worker died over a POST."""
    options = f"{{uri: '{server.url}/held/post', method: POST}}"
    flow = f"steps:\n  - {{name: call, type: rest, jq_expression: .path, rest: {options}}}\n"
    run_id = world.launch(flow + NEXT)
    server.wait_for_call("/held/post")
    world.kill_worker(run_id)
    assert world.wait(run_id).status is RunStatus.INTERRUPTED
    server.open_gate.set()
    return run_id


def resumed(world: World, run_id: str, **decision: Any) -> dict[str, Any]:
    world.service.resume_run(run_id, **decision, by="ann")
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert run.data is not None
    return run.data


def test_the_error_says_how_to_go_on(world: World, doubtful: str) -> None:
    error = world.service.run(doubtful).error
    assert error is not None
    assert (error.code, error.step) == ("interrupted", "call")
    assert f"octospool runs resume {doubtful} --mode rerun|skip|value" in error.message


def test_it_is_run_again(world: World, server: CountingServer, doubtful: str) -> None:
    assert resumed(world, doubtful, mode=ResumeMode.RERUN)["next"] == "/held/post"
    assert server.calls["/held/post"] == 2


def test_it_is_skipped(world: World, server: CountingServer, doubtful: str) -> None:
    assert resumed(world, doubtful, mode=ResumeMode.SKIP)["next"] == "none"
    assert server.calls["/held/post"] == 1
    assert outline(world.service.run(doubtful)) == [("call", 1, "skipped"), ("next", 1, "succeeded")]


@pytest.mark.parametrize("value", ["by hand", None, {"a": [1, 2]}])
def test_it_has_the_result_that_was_given(
    world: World, server: CountingServer, doubtful: str, value: Any
) -> None:
    """As it is: its jq_expression is for what the step itself gives."""
    assert resumed(world, doubtful, mode=ResumeMode.VALUE, value=value, has_value=True)["call"] == value
    assert server.calls["/held/post"] == 1
    assert outline(world.service.run(doubtful)) == [("call", 1, "succeeded"), ("next", 1, "succeeded")]
    assert [row.path for row in world.events(doubtful, Event.SUCCEEDED)] == ["call", "next"]
