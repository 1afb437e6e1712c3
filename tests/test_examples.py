"""Every flow that is shipped in data/ does what it says: run by the real daemon, results looked at."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "data"
FLOWS = sorted(path.relative_to(SHIPPED / "flows").as_posix() for path in (SHIPPED / "flows").rglob("*.yml"))
WRITTEN_BY_DAEMONS = shutil.ignore_patterns(
    "octospool.db*", "daemon.*", "locks", "logs", "output", "results", "workers", "handover", "spool"
)
DEADLINE_SECONDS = 60


@dataclass
class Daemon:
    """A running daemon on a private copy of the shipped data folder, with the settings of a fresh clone."""

    folder: Path
    url: str
    token: str = "default_token"

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """One call with the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.request(method, self.url + path, headers=headers, timeout=DEADLINE_SECONDS, **options)

    def run(self, path: str, data: Any = None) -> dict[str, Any]:
        """Launch the flow and give back its outcome."""
        body = {"path": path, "data": data, "wait": DEADLINE_SECONDS}
        answer = self.call("POST", "/api/flows/launch", json=body)
        assert answer.status_code == 200, answer.text
        outcome: dict[str, Any] = answer.json()
        return outcome

    def succeed(self, path: str, data: Any = None) -> dict[str, Any]:
        """The data of a run that must succeed."""
        outcome = self.run(path, data)
        assert outcome["status"] == "succeeded", outcome["error"]
        found: dict[str, Any] = outcome["data"]
        return found

    def output(self, name: str) -> str:
        """A file that a flow wrote."""
        return (self.folder / "output" / name).read_text(encoding="utf-8")


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def environment_for(folder: Path, port: int) -> dict[str, str]:
    """The environment of a user who has set nothing but where to put things."""
    keep = {key: os.environ[key] for key in ("PATH", "HOME", "SYSTEMROOT") if key in os.environ}
    return keep | {"DATA_PATH": str(folder), "API_PORT": str(port), "PYTHONPATH": str(ROOT)}


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for the first answer of /healthz; a daemon that ends first fails the test with what it said."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url + "/healthz", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.02)
    pytest.fail("the daemon did not come up:\n" + log.read_text(encoding="utf-8", errors="replace")[-4000:])


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """`python main.py` on a copy of data/."""
    base = tmp_path_factory.mktemp("shipped")
    folder, port, log = base / "data", free_port(), base / "output.txt"
    shutil.copytree(SHIPPED, folder, ignore=WRITTEN_BY_DAEMONS)
    for flow in (folder / "flows").rglob(
        "*.yml"
    ):  # another port than the shipped one, as its owner would edit it
        text = flow.read_text(encoding="utf-8")
        flow.write_text(text.replace("http://127.0.0.1:5000", f"http://127.0.0.1:{port}"), encoding="utf-8")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "main.py"],
            cwd=ROOT,
            env=environment_for(folder, port),
            stdout=output,
            stderr=output,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_healthy(url, process, log)
            yield Daemon(folder, url)
        finally:
            process.terminate()
            process.wait(DEADLINE_SECONDS)


def octospool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a terminal, with the data folder to itself."""
    return subprocess.run(
        [sys.executable, "-m", "flow_processor", *arguments],
        cwd=ROOT,
        env=environment_for(folder, free_port()),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def test_all_shipped_files_are_valid(tmp_path: Path):
    """`octospool check` finds nothing wrong in the shipped data folder."""
    shutil.copytree(SHIPPED, tmp_path / "data", ignore=WRITTEN_BY_DAEMONS)
    checked = octospool(tmp_path / "data", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", FLOWS)
def test_each_flow_names_its_schema_and_explains_itself(path: str):
    """The first line tells editors where the schema is; a comment below says what the flow is for."""
    file = SHIPPED / "flows" / path
    first, second, third, *_ = file.read_text(encoding="utf-8").splitlines()
    schema = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert schema is not None
    assert (file.parent / schema[1]).resolve() == ROOT / "docs" / "flow.schema.json"
    assert second == "#"
    assert third.startswith("# ")


def test_autostarted_flows_are_in_the_scheduler(daemon: Daemon):
    """Both flows of config.yml are added at start, without a problem and with a next slot."""
    added = {flow["path"]: flow for flow in daemon.call("GET", "/api/flows").json()["flows"]}
    assert set(added) == {"ticket_report.yml", "daily_summary.yml"}
    for flow in added.values():
        assert flow["problem"] is None
        assert flow["next_run"] is not None


def test_ticket_report_tells_every_open_ticket_and_writes_the_report(daemon: Daemon):
    """The main job: 72 issues in, the open ones told to /healthz one by one, a YAML report out."""
    export = json.loads((SHIPPED / "input" / "jira_search.json").read_text(encoding="utf-8"))
    expected = [
        issue["key"]
        for issue in export["issues"]
        if issue["fields"]["status"]["statusCategory"]["key"] != "done"
    ]
    data = daemon.succeed("ticket_report.yml")
    report = yaml.safe_load(daemon.output("ticket_report.yml"))

    assert report["tickets"] == len(export["issues"]) >= 60
    assert report["open"] == report["notified"] == len(expected) > 0
    assert report["failed"] == []
    assert sorted(ticket["key"] for ticket in report["open_tickets"]) == sorted(expected)
    assert sum(report["by_priority"].values()) == sum(report["by_assignee"].values()) == len(expected)
    assert report["by_assignee"]["nobody"] > 0
    assert report["run"] == data["__run_id__"]
    assert data["__errors__"] == []


def test_ticket_report_reads_custom_fields_by_their_names(daemon: Daemon):
    """Story points and customer impact come from customfield_10016 and customfield_10050."""
    export = json.loads((SHIPPED / "input" / "jira_search.json").read_text(encoding="utf-8"))
    fields = {issue["key"]: issue["fields"] for issue in export["issues"]}
    for ticket in daemon.succeed("ticket_report.yml")["open_tickets"]:
        source = fields[ticket["key"]]
        assert ticket["story_points"] == source["customfield_10016"]
        assert ticket["impact"] == (source["customfield_10050"] or {}).get("value")


def test_messages_of_the_ticket_report_are_rendered_in_input_order(daemon: Daemon):
    """The loop's results have the order of the tickets, each with its own message and answer."""
    data = daemon.succeed("ticket_report.yml")
    assert [child["__loop_index__"] for child in data["notified"]] == list(
        range(1, len(data["open_tickets"]) + 1)
    )
    for ticket, child in zip(data["open_tickets"], data["notified"], strict=True):
        assert child["message"].startswith(f"**{ticket['key']}** {ticket['summary']}\n")
        assert child["answer"] == 200


def test_daily_summary_asks_the_daemon_itself_and_writes_a_page(daemon: Daemon):
    """With the secret that secrets.yml grants the flow lists the day's runs; the token shows up nowhere."""
    daemon.succeed("examples/hello.yml")
    daemon.succeed("examples/hello.yml")
    data = daemon.succeed("daily_summary.yml")
    page = daemon.output(f"summary-{data['day']}.md")

    assert data["summary"]["runs"] >= 3
    assert data["summary"]["by_status"]["succeeded"] >= 2
    assert page.startswith(f"# {data['day']}: {data['summary']['runs']} runs\n")
    assert re.search(r"^\| examples/hello\.yml \| \d+ \| \d+ \| \d+\.\d{3} s \|$", page, re.MULTILINE)
    assert daemon.token not in page
    assert daemon.token not in json.dumps(data)


def test_hello_greets_who_it_is_told(daemon: Daemon):
    """The payload is the flow's `__input__`; without one the template's default holds."""
    assert daemon.succeed("examples/hello.yml", {"who": "Ada"})["greeting"] == "Hello Ada!"
    assert daemon.succeed("examples/hello.yml")["greeting"] == "Hello world!"


def test_files_writes_a_table_and_appends_a_line_a_run(daemon: Daemon):
    """The CSV is written anew, the JSON lines grow."""
    path = daemon.folder / "output" / "counts.jsonl"
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    data = daemon.succeed("examples/files.yml")
    rows = list(csv.DictReader(daemon.output("priorities.csv").splitlines()))
    assert sum(int(row["tickets"]) for row in rows) == 72
    assert [int(row["tickets"]) for row in rows] == sorted(
        (int(row["tickets"]) for row in rows), reverse=True
    )
    added = daemon.output("counts.jsonl").splitlines()[len(before) :]
    assert [json.loads(line) for line in added] == [{"run": data["__run_id__"], "tickets": 72}]


@pytest.mark.parametrize(
    ("priority", "route"),
    [("Highest", "call somebody"), ("High", "call somebody"), ("Lowest", "next week"), ("Medium", "today")],
)
def test_switch_routes_by_priority(daemon: Daemon, priority: str, route: str):
    """The first case that matches the whole value decides; else the default."""
    assert daemon.succeed("examples/switch.yml", {"priority": priority})["route"] == route


def test_switch_example_can_exit(daemon: Daemon):
    """An exit step ends the run as `exited`, and what comes after it does not run."""
    outcome = daemon.run("examples/switch.yml", {"priority": "None"})
    assert outcome["status"] == "exited"
    assert "shown" not in outcome["data"]


def test_goto_counts_to_three(daemon: Daemon):
    """Each visit of a step is an attempt of its own in the history."""
    outcome = daemon.run("examples/goto.yml")
    assert outcome["data"]["count"] == 3
    visits = [step["path"] for step in outcome["steps"] if step["path"].startswith("one_more")]
    assert visits == ["one_more", "one_more#2", "one_more#3"]


def test_errors_are_retried_ignored_and_routed(daemon: Daemon):
    """Three tries and an ignored error, plan b after the second, and the cleaning up."""
    outcome = daemon.run("examples/errors.yml")
    assert outcome["status"] == "succeeded", outcome["error"]
    assert outcome["data"]["plan_b"] == "took the file from yesterday"
    tries = [step["attempt"] for step in outcome["steps"] if step["path"] == "optional"]
    assert tries == [1, 2, 3]
    ignored = [error for error in outcome["data"]["__errors__"] if error["step"] == "optional"]
    assert [error["ignored"] for error in ignored] == [".*"]
    assert "not_reached" not in outcome["data"]
    assert any(step["path"] == "cleaned_up" for step in outcome["steps"])


def test_sub_flows_hand_values_down_and_results_up(daemon: Daemon):
    """A flow as one step, and a flow for each element of a list."""
    data = daemon.succeed("examples/sub_flows.yml")
    assert data["greeted"] == "Hello Grace!"
    assert data["all_greeted"] == ["Hello Alan!", "Hello Edsger!", "Hello Barbara!"]


def test_a_ticket_can_be_told_by_itself(daemon: Daemon):
    """The sub-flow of the report is a flow like any other."""
    ticket = {"key": "OPS-1", "summary": "Try it", "type": "Task", "status": "To Do", "priority": "Low"}
    rest = {"assignee": None, "impact": None, "due": None, "sprint": None}
    payload = {**ticket, **rest, "notify_url": daemon.url + "/healthz"}
    data = daemon.succeed("sub/ticket.yml", payload)
    assert data["message"] == "**OPS-1** Try it\nTask, To Do, priority Low\nnobody has it"
    assert data["answer"] == 200


def test_the_api_page_lists_every_call(daemon: Daemon):
    """docs/api.md and the daemon's own OpenAPI document name the same calls."""
    document = daemon.call("GET", "/api/openapi.json").json()
    served = {
        f"{method.upper()} {re.sub(r'{.*?}', '{}', path)}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    table = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").partition("| --- |")[2]
    written = {re.sub(r"{.*?}", "{}", call) for call in re.findall(r"`((?:GET|POST|DELETE) [^ `?]+)", table)}
    assert written == served


def test_every_shipped_flow_is_run_here():
    """A new example needs a test of its own."""
    source = Path(__file__).read_text(encoding="utf-8")
    assert [path for path in FLOWS if f'"{path}"' not in source] == []


def test_the_readme_shows_the_flow_as_it_is_shipped():
    """The YAML of the README is data/flows/examples/hello.yml without its comments."""
    shown = (ROOT / "README.md").read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    lines = (SHIPPED / "flows" / "examples" / "hello.yml").read_text(encoding="utf-8").splitlines(True)
    assert shown == "".join(line for line in lines if not line.startswith("#"))


def test_the_readme_shows_the_true_output(tmp_path: Path):
    """The command of the README prints what the README says, but for times and ids."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command, _, shown = readme.partition("```console\n$ ")[2].partition("```")[0].partition("\n")
    assert command == """.venv/bin/octospool run examples/hello.yml --data '{"who": "Ada"}'"""
    shutil.copytree(SHIPPED, tmp_path / "data", ignore=WRITTEN_BY_DAEMONS)
    ran = octospool(tmp_path / "data", "run", "examples/hello.yml", "--data", '{"who": "Ada"}')
    assert ran.returncode == 0, ran.stderr

    def settled(text: str) -> list[str]:
        """The lines with everything that differs from run to run blotted out."""
        text = re.sub(r"\d{8}T\d{9}-[a-z2-7]{8}", "RUN", text)
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d{14}\b|\b\d\d:\d\d:\d\d\b", "TIME", text)
        text = re.sub(r"\d+(\.\d+)? m?s\b", "DURATION", text)
        return [line.rstrip() for line in text.splitlines()]

    assert settled(shown) == settled(ran.stderr + ran.stdout)
