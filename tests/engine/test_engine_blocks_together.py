"""Blocks with everything else: crashes in the middle of them, `needs`, handlers, sub-flows, exits, secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flow_processor.journal import Event
from flow_processor.run import RunStatus
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.views import RunDetail
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, names, until

EVERYTHING = """
steps:
  - name: all
    type: parallel
    parallel:
      loop:
        - name: items
          type: foreach
          foreach:
            items: "{{ range(1, 13) | list }}"
            max_parallel: 3
            on_item_error: continue
            collect: told
            steps:
              - {name: rest, type: sleep, sleep: {seconds: 0.05}}
              - {name: bad, type: raise, when: item == 7, raise: {message: seven, code: seven}}
              - {name: call, type: rest, on_interrupt: rerun, rest: {uri: "URL/item/{{ item }}", method: POST}}
              - {name: told, type: set_fact, set_fact: {value: "{{ call.path }}"}}
      rounds:
        - name: count
          type: until
          until:
            condition: n == 8
            max_rounds: 20
            delay_seconds: 0.05
            steps: [{name: n, type: set_fact, set_fact: {value: "{{ (n | default(0)) + 1 }}"}}]
      grid:
        - name: cells
          type: matrix
          matrix:
            axes: {a: [1, 2, 3], b: [1, 2]}
            max_parallel: 2
            collect: c
            steps:
              - {name: c, type: set_fact, set_fact: {value: "{{ matrix.a * matrix.b }}"}}
              - {name: rest, type: sleep, sleep: {seconds: 0.05}}
"""


def own_keys(run: RunDetail) -> dict[str, Any]:
    """The data without what every flow begins with."""
    return {key: value for key, value in (run.data or {}).items() if not key.startswith("__")}


def check_everything(run: RunDetail) -> None:
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert own_keys(run)["all"] == {
        "loop": {"items": [None if n == 7 else f"/item/{n}" for n in range(1, 13)]},
        "rounds": {"count": {"n": 8, "rounds": 8}},
        "grid": {"cells": [1, 2, 2, 4, 3, 6]},
    }
    assert [(error["code"], error["index"]) for error in (run.data or {})["__errors__"]] == [("seven", 7)]


def until_steps_ended(world: World, run_id: str, count: int) -> None:
    """Return once so many steps of the run have an outcome in the store, or the run has ended."""

    def have_ended() -> bool:
        return (
            len(world.events(run_id, Event.SUCCEEDED)) >= count
            or world.service.run(run_id, max_steps=0).status.is_terminal
        )

    until(have_ended, f"{count} steps have ended")


def test_workers_that_die_again_and_again_change_nothing(world: World, server: CountingServer) -> None:
    """kill -9 at three moments; what had ended is not run again, and the outcome is that of a quiet run."""
    run_id = world.launch(EVERYTHING.replace("URL", server.url))
    for count in (4, 18, 36):
        until_steps_ended(world, run_id, count)
        before = len(world.events(run_id, Event.DISPATCHED))
        if world.service.run(run_id, max_steps=0).status.is_terminal:
            break
        world.kill_worker(run_id)
        until(
            lambda before=before: (  # type: ignore[misc]
                len(world.events(run_id, Event.DISPATCHED)) > before
                or world.service.run(run_id, max_steps=0).status.is_terminal
            ),
            "another worker has it",
        )
    check_everything(world.wait(run_id))
    for path in {row.path for row in world.events(run_id, Event.SUCCEEDED)}:
        ended = [row for row in world.events(run_id, Event.SUCCEEDED) if row.path == path]
        assert len(ended) == 1, f"{path} was run again after it had ended"


def test_a_daemon_that_dies_changes_nothing(make_world: Callable[..., World], server: CountingServer) -> None:
    """Stopped without grace in the middle, and started again on the same folder."""
    world = make_world()
    run_id = world.launch(EVERYTHING.replace("URL", server.url))
    until_steps_ended(world, run_id, 12)
    world.stop()
    again = make_world()
    check_everything(again.wait(run_id, seconds=60))


def test_an_exit_ends_the_branches_beside_it(world: World) -> None:
    run = world.run(
        """
steps:
  - name: both
    type: parallel
    parallel:
      slow: [{name: rest, type: sleep, sleep: {seconds: 600}}]
      quick: [{name: enough, type: exit, exit: {message: enough}}]
  - {name: after, type: set_fact, set_fact: {value: 1}}
"""
    )
    assert (run.status, run.reason) == (RunStatus.EXITED, "enough")
    by_path = {step.path: step for step in run.steps}
    assert by_path["both[slow]/rest"].error is not None
    assert by_path["both[slow]/rest"].error.code == "sibling_exited"
    assert "after" not in by_path


def test_a_failure_inside_ends_only_its_own_siblings(world: World) -> None:
    """The branch in which a matrix failed goes on where that is ignored, and so does the other branch."""
    run = world.run(
        """
steps:
  - name: both
    type: parallel
    parallel:
      left:
        - name: grid
          type: matrix
          ignore_errors: two
          matrix:
            axes: {n: [1, 2]}
            steps:
              - {name: slow, type: sleep, when: matrix.n == 1, sleep: {seconds: 600}}
              - {name: bad, type: raise, when: matrix.n == 2, raise: {message: two}}
        - {name: on, type: set_fact, set_fact: {value: 1}}
      right:
        - {name: rest, type: sleep, sleep: {seconds: 0.3}}
        - {name: on, type: set_fact, set_fact: {value: 2}}
"""
    )
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert own_keys(run)["both"] == {"left": {"on": 1}, "right": {"rest": None, "on": 2}}
    assert [error["ignored"] for error in (run.data or {})["__errors__"]] == ["two"]


def test_blocks_in_a_graph_and_a_graph_in_a_block(world: World) -> None:
    run = world.run(
        """
steps:
  - {name: numbers, type: set_fact, set_fact: {value: [1, 2, 3]}}
  - name: squares
    needs: numbers
    type: foreach
    foreach:
      data_key: numbers
      max_parallel: 2
      collect: sum
      steps:
        - {name: sum, needs: [double, square], type: set_fact, set_fact: {value: "{{ double + square }}"}}
        - {name: double, needs: [], type: set_fact, set_fact: {value: "{{ item * 2 }}"}}
        - {name: square, type: set_fact, set_fact: {value: "{{ item * item }}"}}
  - {name: count, needs: numbers, type: set_fact, set_fact: {value: "{{ numbers | length }}"}}
  - {name: told, needs: [squares, count], type: set_fact, set_fact: {value: "{{ squares }} {{ count }}"}}
"""
    )
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert own_keys(run)["squares"] == [3, 8, 15]
    assert own_keys(run)["told"] == "[3, 8, 15] 3"


def test_a_block_in_a_handler_runs_after_a_cancel(world: World) -> None:
    run_id = world.launch(
        """
steps: [{name: slow, type: sleep, sleep: {seconds: 600}}]
on_cancel:
  - name: tell
    type: foreach
    foreach:
      items: [ann, bob]
      max_parallel: 2
      steps: [{name: told, type: set_fact, set_fact: {value: "{{ item }}: {{ __run__.status }}"}}]
"""
    )
    world.until_begun(run_id, "slow")
    world.service.cancel_run(run_id, by="a test")
    run = world.wait(run_id)
    assert run.status is RunStatus.CANCELLED
    told = world.service.run(run_id, path="on_cancel/tell[", results=True).steps
    assert [step.result for step in told] == ["ann: cancelled", "bob: cancelled"]


def test_sub_flows_inside_blocks_travel_with_the_run(world: World) -> None:
    world.write(
        "sub/double.yml", "steps: [{name: n, type: set_fact, set_fact: {value: '{{ __input__ * 2 }}'}}]\n"
    )
    run = world.run(
        """
steps:
  - name: both
    type: parallel
    parallel:
      one:
        - name: loop
          type: foreach
          foreach:
            items: [1, 2]
            collect: doubled
            steps: [{name: doubled, type: flow, flow: {path: sub/double.yml, data_key: item}, jq_expression: .n}]
"""
    )
    assert own_keys(run)["both"] == {"one": {"loop": [2, 4]}}
    assert "both[one]/loop[2]/doubled/n" in names(run)


def test_a_secret_that_comes_back_is_redacted_inside_blocks_too(
    make_world: Callable[..., World], server: CountingServer
) -> None:
    world = make_world()
    (world.data / "secrets.yml").write_text(
        "- {name: key, type: token, token: canary-inside}\n", encoding="utf-8"
    )
    until(lambda: "key" in world.service.secrets.names(), "the file is left alone long enough to count")
    run_id = world.launch(
        f"""
steps:
  - name: loop
    type: foreach
    foreach:
      items: [1, 2]
      steps:
        - {{name: call, type: rest, rest: {{uri: '{server.url}/x', authentication: {{type: token, secret: key}}}}}}
        - {{name: told, type: raise, when: item == 2, raise: {{message: "it is {{{{ call.authorization }}}}"}}}}
"""
    )
    run = world.wait(run_id)
    assert error_code(run) == "raised"
    assert "canary-inside" in str(server.authorizations)
    assert "canary-inside" not in run.model_dump_json()
    assert "canary-inside" not in str(world.journal(run_id))


@pytest.mark.parametrize("mode", ["rerun", "skip"])
def test_an_element_in_doubt_is_decided_by_a_person(world: World, server: CountingServer, mode: str) -> None:
    run_id = world.launch(
        f"""
steps:
  - name: loop
    type: foreach
    foreach:
      items: [1, 2]
      collect: call
      steps:
        - {{name: call, type: rest, rest: {{uri: '{server.url}/held/{{{{ item }}}}', method: POST}},
           jq_expression: .path}}
"""
    )
    server.wait_for_call("/held/1")
    world.kill_worker(run_id)
    interrupted = world.wait(run_id)
    assert interrupted.status is RunStatus.INTERRUPTED
    assert interrupted.error is not None
    assert interrupted.error.step == "loop[1]/call"
    server.open_gate.set()
    world.service.resume_run(run_id, mode=ResumeMode(mode), by="a test")
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    first = "/held/1" if mode == "rerun" else None
    assert own_keys(run) == {"loop": [first, "/held/2"]}
    assert server.calls["/held/1"] == (2 if mode == "rerun" else 1)
