"""`octospool serve`, and the commands that talk to it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import Result

from tests.cli.conftest import Process, end_process, start_command
from tests.engine.world import until

Octospool = Callable[..., Result]
Start = Callable[..., Process]
Serve = Callable[..., tuple[Process, list[str]]]
WriteFlow = Callable[[str, str], Path]

LONG = 120.0
TOKEN = {"Authorization": "Bearer default_token"}
GREET = "steps: [{name: greeting, type: set_fact, set_fact: {value: 'Hello, {{ __input__ }}'}}]"
SLOW = """
finally_step: bye
steps:
  - {name: begun, type: set_fact, set_fact: {value: true}}
  - {name: nap, type: sleep, sleep: {seconds: 60}}
  - {name: bye, type: set_fact, set_fact: {value: cleaned up}}
"""


ONE_WORKER = {"MAX_WORKERS": "1"}
SHARED_FLOWS = {
    "hello.yml": GREET,
    "slow.yml": SLOW,
    "bad.yml": "steps: 1",
    "said.yml": "every_seconds: 3600\n"
    "steps: [{name: say, type: debug}, {name: nap, type: sleep, sleep: {seconds: 0.3}}]",
}


def read_start(process: Process) -> list[str]:
    """What a daemon prints when it starts, up to the last line."""
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if "/api/flows/files" in line:
            return lines
    raise AssertionError(f"the daemon did not start: {process.communicate(timeout=LONG)}")


@pytest.fixture
def serve(start: Start) -> Serve:
    """Start a daemon on a free port, for this test."""

    def begin(*arguments: str) -> tuple[Process, list[str]]:
        process = start("serve", "--port", "0", *arguments, env=ONE_WORKER)
        return process, read_start(process)

    return begin


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    """The data folder of a daemon that no test stops, and what it has printed."""
    data = tmp_path_factory.mktemp("shared") / "data"
    (data / "flows").mkdir(parents=True)
    for name, text in SHARED_FLOWS.items():
        (data / "flows" / name).write_text(text, encoding="utf-8")
    (data / "config.yml").write_text("autostart: [said.yml]\n", encoding="utf-8")
    environment = {"DATA_PATH": str(data), "API_TOKEN": "default_token", "API_HOST": "127.0.0.1"}
    environment |= ONE_WORKER
    process = start_command("serve", "--port", "0", env=environment)
    yield data, read_start(process)
    end_process(process)


@pytest.fixture
def printed(shared: tuple[Path, list[str]], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the shared daemon has printed; its folder is the one in which this test's commands work."""
    monkeypatch.setenv("DATA_PATH", str(shared[0]))
    return shared[1]


def stop(process: Process, number: int = signal.SIGTERM) -> tuple[int, str]:
    """Exit code and stderr of the daemon after a signal."""
    process.send_signal(number)
    _, said = process.communicate(timeout=LONG)
    return process.returncode, said


def ended(process: Process) -> tuple[int, Any, str]:
    out, said = process.communicate(timeout=LONG)
    return process.returncode, json.loads(out) if out.strip() else None, said


def url_of(lines: list[str]) -> str:
    """Where the daemon says that it serves."""
    return next(word for word in lines[0].split() if word.startswith("http://127.0.0.1:"))


def wait_until_begun(url: str) -> None:
    """Return when the run's first step has ended."""
    deadline = time.monotonic() + LONG
    while not requests.get(url, params={"wait": 0.1}, headers=TOKEN, timeout=LONG).json()["steps"]:
        assert time.monotonic() < deadline


def test_the_printed_launch_line_works(printed: list[str]) -> None:
    words = next(shlex.split(line) for line in printed if "/api/flows/launch" in line)
    headers = dict(word.split(": ", 1) for word in words if ": " in word and not word.startswith("{"))
    answer = requests.post(words[1], headers=headers, data=words[-1], timeout=LONG)
    assert answer.status_code == 202
    run = requests.get(
        f"{url_of(printed)}/api/runs/{answer.json()['run_id']}",
        params={"wait": LONG},
        headers=TOKEN,
        timeout=LONG,
    )
    assert run.json()["status"] == "succeeded"
    assert run.json()["data"]["__api_url__"] == url_of(printed)
    assert words[1] == f"{url_of(printed)}/api/flows/launch"


def test_the_docs_page_is_where_it_says(printed: list[str]) -> None:
    url = next(line.split()[2] for line in printed if "API docs" in line)
    assert requests.get(url, auth=("me", "default_token"), timeout=LONG).status_code == 200


def assert_all_is_given_back(folder: Path, url: str, said: str) -> None:
    """What a daemon that was told to stop leaves, and what it says last."""
    assert said.endswith("stopped\n"), said
    assert not (folder / "daemon.json").exists()
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))):
        pass  # the port is free again
    assert " API on http" in (folder / "logs/spooler_service.log").read_text()


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to single processes")
def test_ctrl_c_stops_it_with_0(serve: Serve, flow: WriteFlow, folder: Path) -> None:
    flow("hello.yml", GREET)
    process, lines = serve()
    code, said = stop(process, signal.SIGINT)
    assert code == 0
    assert_all_is_given_back(folder, url_of(lines), said)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to single processes")
def test_a_second_signal_leaves_at_once_and_the_run_goes_on_later(
    serve: Serve, flow: WriteFlow, octospool: Octospool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        flow("slow.yml", asking(silent))
        process, lines = serve()
        run_id = launched(url_of(lines), "slow.yml")
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        next(line for line in process.stderr if "stopping" in line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 0
        shown = json.loads(octospool("runs", "show", run_id, "--json").stdout)
        assert shown["status"] in ("queued", "running")
    # Its worker, which still asked, had the daemon's stderr too.
    assert "left at once" in process.communicate(timeout=LONG)[1]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to single processes")
def test_while_it_stops_nothing_new_is_accepted_and_after_the_grace_it_leaves(
    serve: Serve, flow: WriteFlow, folder: Path, octospool: Octospool
) -> None:
    """What has not ended by then says so in its own log, and goes on at the next start."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        flow("slow.yml", asking(silent))
        flow("hello.yml", GREET)
        process, lines = serve("--grace", "3")
        url = url_of(lines)
        run_id = launched(url, "slow.yml")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert "get 3 s to end" in next(line for line in process.stderr if "stopping; runs" in line)
        # It says so before it closes.
        until(lambda: requests.get(f"{url}/readyz", headers=TOKEN, timeout=LONG).status_code == 503, "closed")
        for call in ("/api/flows/launch", f"/api/runs/{run_id}/retry", f"/api/runs/{run_id}/resume"):
            body = {"path": "hello.yml"} if "launch" in call else None
            refused = requests.post(f"{url}{call}", headers=TOKEN, json=body, timeout=LONG)
            assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
        ready = requests.get(f"{url}/readyz", headers=TOKEN, timeout=LONG)
        assert ready.status_code == 503, "a load balancer asks somebody else"
        assert [check["name"] for check in ready.json()["checks"] if not check["ok"]] == ["accepting"]
        assert process.wait(LONG) == 0
        assert time.monotonic() - began > 2.9
        log = octospool("runs", "logs", run_id)
        assert "the daemon stopped; the run goes on at the next start" in log.output
    assert_all_is_given_back(folder, url, process.communicate(timeout=LONG)[1])


def asking(silent: socket.socket) -> str:
    """A flow whose second step asks a server that never answers: unlike a wait it keeps its worker."""
    uri = f"http://127.0.0.1:{silent.getsockname()[1]}/"
    return (
        "steps:\n  - {name: begun, type: set_fact, set_fact: {value: true}}\n"
        f"  - {{name: ask, type: rest, rest: {{uri: '{uri}', retry: {{attempts: 0}}}}}}\n"
    )


def launched(url: str, path: str) -> str:
    """The id of a run that has begun."""
    answer = requests.post(f"{url}/api/flows/launch", headers=TOKEN, json={"path": path}, timeout=LONG)
    run_id = str(answer.json()["run_id"])
    wait_until_begun(f"{url}/api/runs/{run_id}")
    return run_id


def test_a_port_that_is_taken_is_2(start: Start, flow: WriteFlow) -> None:
    flow("hello.yml", GREET)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, said = ended(start("serve", "--port", str(taken.getsockname()[1])))
    assert code == 2
    assert "API_PORT" in said


def test_run_goes_through_the_daemon(printed: list[str], octospool: Octospool) -> None:
    done = octospool("run", "hello", "--data", '"Ada"')
    assert done.exit_code == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["greeting"] == "Hello, Ada"
    assert "succeeded  greeting" in done.stderr
    url = f"{url_of(printed)}/api/runs/{data['__run_id__']}"
    assert requests.get(url, headers=TOKEN, timeout=LONG).json()["trigger"] == "cli"


@pytest.fixture
def under_way(printed: list[str], start: Start) -> Process:
    """`octospool run slow`, whose run has begun in the shared daemon."""
    process = start("run", "slow")
    assert process.stderr is not None
    next(line for line in process.stderr if "begun" in line)
    return process


def test_a_running_flow_is_refused_with_4_and_can_be_cancelled(
    under_way: Process, octospool: Octospool
) -> None:
    refused = octospool("run", "slow")
    assert (refused.exit_code, "flow_running" in refused.stderr) == (4, True)
    run_id = json.loads(octospool("locks", "list", "--json").stdout)["locks"][0]["run_id"]
    assert octospool("runs", "cancel", run_id).exit_code == 0
    code, data, said = ended(under_way)
    assert (code, data["bye"]) == (5, "cleaned up")
    assert "cancelled by cli" in said


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no signals to single processes")
def test_locks_can_be_removed_and_ctrl_c_cancels_the_run_in_the_daemon(
    under_way: Process, octospool: Octospool
) -> None:
    assert "slow.yml" in octospool("locks").stdout
    removed = octospool("locks", "remove", "slow")
    assert removed.exit_code == 0
    assert "goes on" in removed.stderr
    assert octospool("locks", "remove", "--all").stderr == "no locks are held\n"
    under_way.send_signal(signal.SIGINT)
    code, data, _ = ended(under_way)
    assert (code, data["bye"]) == (5, "cleaned up")


def test_another_token_is_77_with_what_to_do(
    printed: list[str], octospool: Octospool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "a-secret-of-some-length")
    refused = octospool("run", "hello")
    assert refused.exit_code == 77
    assert "API_TOKEN" in refused.stderr
    assert "secret-of" not in refused.output


def test_flows_lists_files_and_schedules(printed: list[str], octospool: Octospool) -> None:
    listed = json.loads(octospool("flows", "--json").stdout)
    assert {file["path"]: file["valid"] for file in listed["files"]} == {
        "hello.yml": True,
        "slow.yml": True,
        "said.yml": True,
        "bad.yml": False,
    }
    assert [(one["path"], one["every_seconds"]) for one in listed["added"]] == [("said.yml", 3600)]
    text = octospool("flows").stdout
    assert "In the scheduler:" in text
    assert "every 3600 s" in text


def test_the_log_of_a_run_is_followed_to_its_end(printed: list[str], octospool: Octospool) -> None:
    url = f"{url_of(printed)}/api/flows/launch"
    run = requests.post(url, headers=TOKEN, json={"path": "said.yml"}, timeout=LONG).json()
    followed = octospool("runs", "logs", run["run_id"], "--follow")
    assert followed.exit_code == 0
    assert "say" in followed.stdout
    shown = json.loads(octospool("runs", "show", run["run_id"], "--json").stdout)
    assert shown["status"] == "succeeded"


def test_a_daemon_that_is_killed_and_started_again_costs_the_caller_nothing(
    serve: Serve, start: Start, flow: WriteFlow
) -> None:
    flow("naps.yml", SLOW.replace("seconds: 60", "seconds: 2"))
    daemon, _ = serve()
    process = start("run", "naps")
    assert process.stderr is not None
    next(line for line in process.stderr if "begun" in line)
    daemon.kill()
    next(line for line in process.stderr if "waiting for it" in line)
    serve()
    code, data, said = ended(process)
    assert code == 0, said
    assert data["bye"] == "cleaned up"
