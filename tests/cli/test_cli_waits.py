"""Runs that wait, were interrupted or failed, from the command line: what it shows is what it takes."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cli.conftest import Process
from tests.cli.test_cli_serve import serve
from tests.engine.world import until

__all__ = ["serve"]

Octospool = Callable[..., Result]
Serve = Callable[..., tuple[Process, list[str]]]
WriteFlow = Callable[[str, str], Path]

SECONDS = 30.0
SAVED = 1_700_000_000
"""Long ago: a file that was just modified counts only once it has settled."""

APPROVAL = """steps:
  - name: go_ahead
    type: wait
    wait:
      approval:
        prompt: Deploy {{ __input__ }}?
        form:
          ticket: {type: str, required: true, description: Of the change}
          count: {type: int, default: 3}
          note: {}
        expires_seconds: 3600
        default: reject
  - {name: paid, type: wait, wait: {signal: "paid {{ __input__ }}"}}
"""
FAILS = """steps:
  - {name: ok, type: set_fact, set_fact: {value: 1}}
  - {name: bad, type: jq, jq: {expression: 'error("no")'}}
"""


def shown(octospool: Octospool, run_id: str) -> dict[str, Any]:
    """The run as `runs show --json` has it."""
    found: dict[str, Any] = json.loads(octospool("runs", "show", run_id, "--json").stdout)
    return found


def until_waiting(octospool: Octospool, run_id: str, path: str) -> None:
    until(lambda: [wait["path"] for wait in shown(octospool, run_id)["waiting"]] == [path], f"{path} waits")


def launch(octospool: Octospool, start: Any, flow: str) -> tuple[str, Process]:
    """A run that `octospool run` has launched in the daemon, and that command, which follows it."""
    follower = start("run", flow, "--data", '"v7"')
    assert follower.stderr is not None
    return next(line.split()[1] for line in follower.stderr if line.startswith("run ")), follower


def test_what_show_says_about_an_approval_answers_it(
    serve: Serve, start: Any, flow: WriteFlow, octospool: Octospool
) -> None:
    flow("ask.yml", APPROVAL)
    serve()
    run_id, follower = launch(octospool, start, "ask")
    assert follower.stderr is not None
    assert "Deploy v7?" in next(line for line in follower.stderr if "waits for an answer" in line)
    until_waiting(octospool, run_id, "go_ahead")
    text = octospool("runs", "show", run_id).stdout
    assert "waits for an answer until" in text
    assert "(step go_ahead): Deploy v7?" in text
    assert "field ticket (str): Of the change" in text
    assert "field count (int, default 3)" in text
    assert "field note (str, may be left out)" in text
    assert "if nobody answers: reject" in text
    command = text.partition("answer it: octospool ")[2].splitlines()[0]
    missing = octospool("runs", "answer", run_id, "maybe")
    assert missing.exit_code == 2
    assert "approve, reject" in missing.output
    assert "ticket" in missing.output
    stray = octospool("runs", "answer", run_id, "approve", "--step", "paid")
    assert stray.exit_code == 1
    assert "not_waiting" in stray.output
    assert "'go_ahead'" in stray.output, "it names the question that is open"
    words = shlex.split(command.replace("approve|reject", "approve").replace("=…", "=C-1"))
    answered = octospool(*words, "--field", "count:=2", "--by", "ann")
    assert answered.exit_code == 0, answered.output
    until_waiting(octospool, run_id, "paid")
    late = octospool("runs", "answer", run_id, "reject", "--step", "go_ahead")
    assert late.exit_code == 1
    assert "not_waiting" in late.output
    text = octospool("runs", "show", run_id).stdout
    command = text.partition("send it: octospool ")[2].splitlines()[0]
    assert octospool(*shlex.split(command), "--data", '{"euro": 7}').exit_code == 0
    assert follower.stdout is not None
    out, said = follower.stdout.read(), follower.stderr.read()
    assert follower.wait(SECONDS) == 0, said
    data = json.loads(out)
    given = data["go_ahead"]
    assert (given["answer"], given["form"], given["by"]) == (
        "approve",
        {"ticket": "C-1", "count": 2, "note": None},
        "ann",
    )
    assert data["paid"]["data"] == {"euro": 7}
    again = octospool("runs", "answer", run_id, "approve")
    assert again.exit_code == 1
    assert "run_has_ended" in again.output


def test_without_a_daemon_the_hint_says_first_how_there_is_one(
    start: Any, serve: Serve, flow: WriteFlow, octospool: Octospool
) -> None:
    """And what it says is true: the run stays as it is, and the daemon takes the answer."""
    flow("ask.yml", APPROVAL)
    run_id, alone = launch(octospool, start, "ask")
    assert alone.stderr is not None
    hint = next(line for line in alone.stderr if "answer it:" in line)
    way = f"kill -9 {alone.pid}; its run stays as it is), start a daemon (octospool serve), then answer it: "
    assert way in hint
    assert way in octospool("runs", "show", run_id).stdout
    refused = octospool("runs", "answer", run_id, "approve")
    assert refused.exit_code == 1
    assert way.partition(", then")[0] in refused.output
    alone.kill()
    alone.wait(SECONDS)
    assert "  start a daemon (octospool serve), then answer it: " in octospool("runs", "show", run_id).stdout
    serve()
    command = hint.partition("answer it: octospool ")[2]
    words = shlex.split(command.replace("approve|reject", "approve").replace("=…", "=C-1"))
    answered = octospool(*words)
    assert answered.exit_code == 0, answered.output
    until_waiting(octospool, run_id, "paid")


def test_a_failed_run_is_tried_again_with_the_corrected_flow(
    serve: Serve, flow: WriteFlow, octospool: Octospool
) -> None:
    flow("f.yml", FAILS)
    serve()
    assert octospool("run", "f").exit_code == 1
    first = json.loads(octospool("runs", "--json").stdout)["runs"][0]["run_id"]
    os.utime(flow("f.yml", FAILS.replace('error("no")', ".ok + 1")), (SAVED, SAVED))
    retried = octospool("runs", "retry", first, "--current-flow", "--json")
    assert retried.exit_code == 0, retried.output
    second = json.loads(retried.stdout)
    assert (second["retry_of"], second["attempt"]) == (first, 2)
    until(lambda: shown(octospool, second["run_id"])["ended_at"], "the second attempt ends")
    run = shown(octospool, second["run_id"])
    assert run["status"] == "succeeded", run["error"]
    assert run["data"]["bad"] == 2
    assert f"2; tries {first} again" in octospool("runs", "show", second["run_id"]).stdout
    assert second["run_id"] in octospool("runs", "show", first).stdout
    refused = octospool("runs", "retry", second["run_id"])
    assert refused.exit_code == 1
    assert "nothing_failed" in refused.output
    for options, said in (
        (("--mode", "skip"), "no step is in doubt, so there is none to skip"),
        (("--mode", "value", "--value", "7"), "no step is in doubt, so there is none to value"),
        (("--mode", "value"), "mode value and 'value' belong together"),
        (("--step", "bad"), "'step' needs 'mode'"),
    ):
        refused = octospool("runs", "retry", first, *options)
        assert (refused.exit_code != 0, said in refused.output) == (True, True), refused.output


def test_only_an_interrupted_run_can_be_resumed(serve: Serve, flow: WriteFlow, octospool: Octospool) -> None:
    flow("f.yml", FAILS)
    serve()
    octospool("run", "f")
    run_id = json.loads(octospool("runs", "--json").stdout)["runs"][0]["run_id"]
    refused = octospool("runs", "resume", run_id, "--mode", "rerun")
    assert refused.exit_code == 1
    assert "octospool runs retry" in refused.output


@pytest.mark.parametrize("verb", [["signal", "x"], ["answer", "yes", "--step", "s"], ["resume"], ["retry"]])
def test_without_a_daemon_it_says_what_to_do(verb: list[str], flow: WriteFlow, octospool: Octospool) -> None:
    flow("f.yml", FAILS)
    octospool("run", "f")
    run_id = json.loads(octospool("runs", "--json").stdout)["runs"][0]["run_id"]
    refused = octospool("runs", verb[0], run_id, *verb[1:])
    assert refused.exit_code == 1
    assert "octospool serve" in refused.output
    assert "no_daemon" in refused.output


@pytest.mark.parametrize(
    "words",
    [
        ["resume", "x", "--value", "1"],
        ["resume", "x", "--mode", "value"],
        ["signal", "x", "n", "--data", "{"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(words: list[str], folder: Path, octospool: Octospool) -> None:
    assert octospool("runs", *words).exit_code == 2
