"""`octospool run` by itself: output, exit codes, history; and as a user starts it: Ctrl-C, turns."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cli.conftest import Process

Octospool = Callable[..., Result]
Start = Callable[..., Process]
WriteFlow = Callable[[str, str], Path]

LONG = 120.0
GREET = """
steps:
  - name: greeting
    type: set_fact
    set_fact: {value: "Hello, {{ __input__.name if __input__ else 'world' }}"}
  - name: never
    when: "false"
    type: debug
"""
SLOW = """
finally_step: bye
steps:
  - {name: begun, type: set_fact, set_fact: {value: true}}
  - {name: nap, type: sleep, sleep: {seconds: 60}}
  - {name: bye, type: set_fact, set_fact: {value: cleaned up}}
"""
FAILS = """
steps:
  - {name: before, type: set_fact, set_fact: {value: 1}}
  - {name: broken, type: jq, jq: {expression: 'error("no way")'}}
"""
LOOP = """
steps:
  - {name: numbers, type: jq, jq: {expression: "[range(20)]"}}
  - {name: each, type: flow_loop, flow_loop: {path: item.yml, data_key: numbers}}
"""
ITEM = "steps: [{name: twice, type: jq, jq: {data_key: __input__, expression: '. * 2'}}]"


def ended(process: Process) -> tuple[int, Any, str]:
    """Exit code, stdout as JSON (None if empty), stderr."""
    out, said = process.communicate(timeout=LONG)
    return process.returncode, json.loads(out) if out.strip() else None, said


def told(result: Result) -> tuple[int, Any, str]:
    """The same of a command that ran in this process."""
    return result.exit_code, json.loads(result.stdout) if result.stdout.strip() else None, result.stderr


def wait_for_line(process: Process, text: str) -> str:
    """Read stderr up to the line that holds the text; everything read."""
    read = ""
    assert process.stderr is not None
    for line in process.stderr:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} did not come, but:\n{read}")


def test_a_run_prints_its_data_and_tells_its_steps(start: Start, flow: WriteFlow) -> None:
    flow("hello.yml", GREET)
    code, data, said = ended(start("run", "hello", "--data", '{"name": "Ada"}'))
    assert code == 0, said
    assert data["greeting"] == "Hello, Ada"
    assert data["__input__"] == {"name": "Ada"}
    assert "succeeded  greeting" in said
    assert "skipped    never" in said
    assert f"run {data['__run_id__']} of hello.yml" in said


def test_a_failed_run_is_1_with_the_error_and_the_data_so_far(octospool: Octospool, flow: WriteFlow) -> None:
    flow("fails.yml", FAILS)
    code, data, said = told(octospool("run", "fails.yml"))
    assert code == 1
    assert data["before"] == 1
    assert "failed     broken" in said
    assert "at step broken" in said
    assert "no way" in said


def test_items_are_put_on_their_queue_before_it_leaves(
    octospool: Octospool, flow: WriteFlow, folder: Path
) -> None:
    """No daemon is needed for that. What the queue does not take is told, and kept for the next start."""
    sends = "set_fact: {value: [1, 2]}, output: {queue: orders, type: multiple}"
    flow("send.yml", f"steps: [{{name: s, type: set_fact, {sends}}}]")
    queue = folder / "spool" / "orders"
    queue.parent.mkdir()
    queue.write_text("a file where a folder should be", encoding="utf-8")
    code, _data, said = told(octospool("run", "send"))
    assert code == 0
    assert "results wait to be put on the queue 'orders'" in said
    queue.unlink()
    code, _data, said = told(octospool("run", "send"))
    assert (code, "results wait" in said) == (0, False)
    assert sorted(file.read_text() for file in (queue / "new").iterdir()) == ["1", "1", "2", "2"]


def test_nothing_is_left_locked(octospool: Octospool, flow: WriteFlow, folder: Path) -> None:
    flow("fails.yml", FAILS)
    octospool("run", "fails")
    assert json.loads(octospool("locks", "list", "--json").stdout) == {"locks": []}
    assert not (folder / "daemon.json").exists()


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("exits.yml", "steps: [{name: a, type: exit, exit: {message: enough}}]", 0),
        ("invalid.yml", "steps: [{name: a, type: nonsense}]", 2),
    ],
)
def test_the_outcome_is_the_exit_code(
    octospool: Octospool, flow: WriteFlow, name: str, text: str, code: int
) -> None:
    flow(name, text)
    assert told(octospool("run", name))[0] == code


def test_a_flow_that_is_not_there_is_3(octospool: Octospool, flow: WriteFlow) -> None:
    flow("hello.yml", GREET)
    code, data, said = told(octospool("run", "helo"))
    assert (code, data) == (3, None)
    assert "did you mean 'hello.yml'?" in said


def test_items_of_a_loop_are_counted(octospool: Octospool, flow: WriteFlow) -> None:
    flow("loop.yml", LOOP)
    flow("item.yml", ITEM)
    code, data, said = told(octospool("run", "loop"))
    assert code == 0, said
    assert [child["twice"] for child in data["each"]] == [n * 2 for n in range(20)]
    assert "each: 20/20 items" in said
    assert "each[" not in said


def test_quiet_tells_only_the_outcome(octospool: Octospool, flow: WriteFlow) -> None:
    flow("hello.yml", GREET)
    _, _, said = told(octospool("run", "hello", "--quiet"))
    assert "greeting" not in said
    assert "succeeded in" in said


def test_history_keeps_the_run_and_it_can_be_read_without_a_daemon(
    octospool: Octospool, flow: WriteFlow
) -> None:
    flow("hello.yml", GREET)
    _, data, _ = told(octospool("run", "hello"))
    run_id = data["__run_id__"]
    listed = json.loads(octospool("runs", "list", "--since", "1h", "--json").stdout)["runs"]
    assert [(one["run_id"], one["status"], one["trigger"]) for one in listed] == [
        (run_id, "succeeded", "cli")
    ]
    shown = json.loads(octospool("runs", "show", run_id, "--json").stdout)
    assert [(step["path"], step["status"]) for step in shown["steps"]] == [
        ("greeting", "succeeded"),
        ("never", "skipped"),
    ]
    assert shown["data"] == data
    text = octospool("runs", "show", run_id).stdout
    assert "succeeded" in text
    assert "greeting" in text
    assert octospool("runs", "logs", run_id).exit_code == 0
    assert octospool("runs", "list", "--status", "failed").stdout == ""
    assert octospool("runs", "cancel", run_id).exit_code == 1


def test_the_failed_element_of_a_loop_is_found(start: Start, octospool: Octospool, flow: WriteFlow) -> None:
    flow(
        "orders.yml",
        """steps:
  - name: loop
    type: foreach
    foreach:
      items: [1, 2, 3]
      on_item_error: continue
      steps:
        - {name: check, type: raise, when: item == 2, raise: {message: not this one}}
        - {name: kept, type: set_fact, set_fact: {value: {number: "{{ item }}"}}}
""",
    )
    run_id = ended(start("run", "orders"))[1]["__run_id__"]
    failed = octospool("runs", "show", run_id, "--failed").stdout
    assert "loop[2]/check" in failed
    assert "loop[1]/" not in failed
    third = octospool("runs", "show", run_id, "--path", "loop[3]/", "--results").stdout
    assert 'loop[3]/kept: {"number": 3}' in third
    assert "loop[2]/check" not in third


def test_what_is_not_there_is_3(octospool: Octospool, flow: WriteFlow) -> None:
    flow("hello.yml", GREET)
    assert octospool("runs", "show", "20260101T000000000-aaaaaaaa").exit_code == 3
    assert octospool("locks", "remove", "hello").exit_code == 3


# With others at the folder, and signals: processes of their own.

unix_only = pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to single processes")


@pytest.fixture
def under_way(start: Start, flow: WriteFlow) -> Process:
    """A run of slow.yml that has begun, by `octospool run`."""
    flow("slow.yml", SLOW)
    flow("hello.yml", GREET)
    process = start("run", "slow")
    wait_for_line(process, "begun")
    return process


@unix_only
def test_ctrl_c_cancels_the_finally_step_still_runs_and_the_next_has_its_turn(
    under_way: Process, start: Start
) -> None:
    """SIGTERM does the same."""
    second = start("run", "slow")
    wait_for_line(second, "waiting for its turn")
    for process, number in ((under_way, signal.SIGINT), (second, signal.SIGTERM)):
        if process is second:
            wait_for_line(process, "begun")
        assert process.poll() is None
        process.send_signal(number)
        code, data, said = ended(process)
        assert code == 5, said
        assert data["bye"] == "cleaned up"
        assert "cancelling" in said


@unix_only
def test_a_second_ctrl_c_leaves_at_once(start: Start, flow: WriteFlow) -> None:
    stubborn = SLOW.replace(
        "type: set_fact, set_fact: {value: cleaned up}", "type: sleep, sleep: {seconds: 60}"
    )
    flow("slow.yml", stubborn)
    process = start("run", "slow")
    wait_for_line(process, "begun")
    process.send_signal(signal.SIGINT)
    wait_for_line(process, "cancelling")
    process.send_signal(signal.SIGINT)
    code, _, said = ended(process)
    assert code == 130
    assert "left; run" in said


@unix_only
def test_while_a_run_is_under_way_others_can_look_and_start_nothing(
    under_way: Process, start: Start, octospool: Octospool
) -> None:
    listed = json.loads(octospool("runs", "list", "--json").stdout)["runs"]
    assert [run["flow"] for run in listed] == ["slow.yml"]
    locks = json.loads(octospool("locks", "list", "--json").stdout)["locks"]
    assert [lock["flow"] for lock in locks] == ["slow.yml"]
    refused = octospool("runs", "cancel", listed[0]["run_id"])
    assert refused.exit_code == 1
    assert f"pid {under_way.pid}" in refused.stderr

    code, data, said = told(octospool("run", "slow", "--no-wait"))
    assert (code, data) == (75, None)
    assert f"pid {under_way.pid}" in said

    waiting = start("run", "hello")
    wait_for_line(waiting, "waiting for its turn")
    waiting.send_signal(signal.SIGINT)
    code, data, said = ended(waiting)
    assert (code, data) == (5, None)
    assert "before anything was started" in said
    assert octospool("runs", "list", "--flow", "hello.yml").stdout == ""
    assert under_way.poll() is None


def test_runs_are_found_by_the_flows_name_as_run_takes_it(octospool: Octospool, flow: WriteFlow) -> None:
    flow("sub/greet.yml", GREET)
    octospool("run", "sub/greet")
    for name in ("sub/greet", "sub/greet.yml", "data/flows/sub/greet.yml"):
        assert "sub/greet.yml" in octospool("runs", "list", "--flow", name).stdout
    assert octospool("runs", "list", "--flow", "gret").stderr == (
        "no runs of gret.yml; there is no flow gret.yml either\n"
    )


def test_a_run_without_a_log_says_where_to_look(octospool: Octospool, flow: WriteFlow) -> None:
    flow("greet.yml", GREET)
    run_id = json.loads(octospool("run", "greet").stdout)["__run_id__"]
    result = octospool("runs", "logs", run_id)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"octospool runs show {run_id}" in result.stderr


def test_what_a_debug_step_shows_keeps_its_lines(octospool: Octospool, flow: WriteFlow) -> None:
    flow(
        "look.yml",
        "steps:\n  - {name: a, type: set_fact, set_fact: {value: {b: 1}}}\n"
        "  - {name: look, type: debug, debug: {data_key: a}}\n",
    )
    run_id = json.loads(octospool("run", "look").stdout)["__run_id__"]
    first, *others = octospool("runs", "logs", run_id).stdout.splitlines()
    assert first.endswith("INFO    look: a: {")
    assert [line.strip() for line in others] == ['"b": 1', "}"]
    assert all(line.startswith(" " * 20) for line in others)
