"""Large results lie in files, a long log is cut: both say so, and a run goes on with them as with any other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest

from flow_processor.engine.run_journal import MAX_RUN_LOG_BYTES
from flow_processor.journal import Event
from flow_processor.result_files import RESULT_FILE_BYTES
from flow_processor.run import RunStatus
from flow_processor.run_state import StepStatus
from tests.engine.counting_server import CountingServer
from tests.engine.world import World, error_code, until

LARGE = RESULT_FILE_BYTES + 1
BIG = f"  - {{name: big, type: jq, jq: {{expression: '\"x\" * {LARGE}'}}}}\n"
LENGTH = "  - {name: length, type: jq, jq: {expression: '.big | length'}}\n"


def call(server: CountingServer, path: str, method: str = "GET") -> str:
    return f"  - {{name: call, type: rest, rest: {{uri: '{server.url}{path}', method: {method}}}}}\n"


def test_a_large_result_is_a_file_and_the_row_names_it(world: World) -> None:
    run = world.run("steps:\n" + BIG + LENGTH)
    assert run.data is not None
    assert (len(run.data["big"]), run.data["length"]) == (LARGE, LARGE)
    big, length = world.events(run.run_id, Event.SUCCEEDED)
    assert "result" not in big.data
    file = world.settings.results_path / run.run_id / big.data["result_file"]
    assert json.loads(file.read_bytes()) == "x" * LARGE
    assert big.data["bytes"] == file.stat().st_size
    assert length.data["result"] == LARGE


def test_a_result_just_below_the_limit_stays_in_its_row(world: World) -> None:
    run = world.run("steps:\n" + BIG.replace(str(LARGE), str(RESULT_FILE_BYTES - 1000)))
    assert len(world.events(run.run_id, Event.SUCCEEDED)[0].data["result"]) == RESULT_FILE_BYTES - 1000
    assert not (world.settings.results_path / run.run_id).exists()


def test_the_next_worker_reads_it_again(world: World, server: CountingServer) -> None:
    run_id = world.launch("steps:\n" + BIG + call(server, "/held/get") + LENGTH)
    server.wait_for_call("/held/get")
    until(lambda: world.events(run_id, Event.SUCCEEDED), "the result is recorded")
    world.kill_worker(run_id)
    server.open_gate.set()
    run = world.wait(run_id)
    assert run.data is not None
    assert run.data["length"] == LARGE
    assert [row.path for row in world.events(run_id, Event.SUCCEEDED)] == ["big", "call", "length"]


def test_a_run_whose_result_is_lost_is_interrupted_until_a_person_has_brought_it_back(
    world: World, server: CountingServer
) -> None:
    """To go on without it, or with another one, would be wrong."""
    run_id = world.launch("steps:\n" + BIG + call(server, "/held/get") + LENGTH)
    server.wait_for_call("/held/get")
    until(lambda: world.events(run_id, Event.SUCCEEDED), "the result is recorded")
    folder = world.settings.results_path / run_id
    moved = folder.rename(world.data / "moved")
    world.kill_worker(run_id)
    server.open_gate.set()
    run = world.wait(run_id)
    assert (run.status, error_code(run)) == (RunStatus.INTERRUPTED, "result_lost")
    assert run.error is not None
    assert run.error.step == "big"
    shutil.copytree(moved, folder)
    world.service.resume_run(run_id, by="a test")
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED
    assert run.data is not None
    assert run.data["length"] == LARGE


def test_a_result_stays_in_its_row_where_no_file_can_be_written(make_world: Callable[..., World]) -> None:
    world = make_world()
    results = world.settings.results_path
    shutil.rmtree(results, ignore_errors=True)
    results.touch()
    run = world.run("steps:\n" + BIG + LENGTH)
    assert run.data is not None
    assert (len(run.data["big"]), run.data["length"]) == (LARGE, LARGE)
    assert len(world.events(run.run_id, Event.SUCCEEDED)[0].data["result"]) == LARGE


def test_a_result_beyond_all_limits_fails_its_step(world: World) -> None:
    run = world.run("steps:\n" + BIG.replace(f"* {LARGE}", "* 67108864"))
    assert (run.status, error_code(run)) == (RunStatus.FAILED, "result_too_large")


@pytest.mark.parametrize("value", ["'-' * 20000", "'ä' * 10000"])
def test_a_runs_log_is_cut_and_says_so_in_its_last_line(world: World, value: str) -> None:
    world.write(
        "sub/talks.yml", "steps:\n  - {name: say, type: debug, debug: {data_key: __input__, type: text}}\n"
    )
    flow = f"""steps:
  - {{name: items, type: set_fact, set_fact: {{value: "{{{{ [{value}] * 800 }}}}"}}}}
  - {{name: each, type: flow_loop, flow_loop: {{path: sub/talks.yml, data_key: items}}}}
"""
    run = world.run(flow)
    assert run.status is RunStatus.SUCCEEDED
    assert {step.status for step in run.steps} == {StepStatus.SUCCEEDED}
    lines = world.service.run_logs(run.run_id, limit=1000).lines
    assert sum(len(line.message.encode()) for line in lines) <= MAX_RUN_LOG_BYTES
    assert lines[-1].message == "the log ends here: a run's log is cut at 10 MiB"
    assert (lines[-1].level, lines[-1].step) == ("warning", "")
    assert sum("log ends here" in line.message for line in lines) == 1
