"""Every flow that is shipped in data/ does what it says: run by the real daemon, results looked at."""

from __future__ import annotations

import csv
import hashlib
import hmac
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from click.testing import CliRunner
from shipped import (
    DOCKER_FLOWS,
    SHIPPED,
    WRITTEN_BY_DAEMONS,
    Daemon,
    daemon,
    switch_containers_on,
)

from flow_processor.cli.app import octospool
from tests.engine.world import until
from tests.querypie.fake import TOKEN, FakeQueryPie
from tests.querypie.pieces import person

__all__ = ["daemon"]

FLOWS = sorted(path.relative_to(SHIPPED / "flows").as_posix() for path in (SHIPPED / "flows").rglob("*.yml"))


def test_all_shipped_files_are_valid(tmp_path: Path):
    """`octospool check` finds nothing wrong in the shipped data folder; it notes that containers are switched off."""
    data = tmp_path / "data"
    shutil.copytree(SHIPPED, data, ignore=WRITTEN_BY_DAEMONS)
    checked = CliRunner(env={"DATA_PATH": str(data)}).invoke(octospool, ["check"])
    assert (checked.exit_code, checked.stdout) == (0, "")
    (note,) = [
        line for line in checked.stderr.splitlines() if line.startswith("note: steps of the type 'docker'")
    ]
    assert note.endswith(f": {', '.join(f'flows/{path}' for path in sorted(DOCKER_FLOWS))}")
    switch_containers_on(data)
    checked = CliRunner(env={"DATA_PATH": str(data)}).invoke(octospool, ["check"])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("path", FLOWS)
def test_each_flow_names_its_schema_and_explains_itself(path: str):
    """The first line tells editors where the schema is; a comment below says what the flow is for."""
    file = SHIPPED / "flows" / path
    first, second, third, *_ = file.read_text(encoding="utf-8").splitlines()
    schema = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert schema is not None
    assert (file.parent / schema[1]).resolve() == SHIPPED / "flow.schema.json"
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


def test_foreach_goes_on_after_a_wrong_order(daemon: Daemon):
    """What went well is the result, in order; what did not stands in __errors__."""
    data = daemon.succeed("examples/foreach.yml")
    assert data["lines"] == ["1. A-1: 120 + 25.2 VAT", None, "3. A-3: 80 + 16.8 VAT"]
    assert data["wrong"] == ["order A-2 has a negative amount"]
    assert [(error["code"], error["index"]) for error in data["__errors__"]] == [("negative_amount", 2)]


def test_matrix_builds_every_combination_but_one(daemon: Daemon):
    """In the order of the axes, what was included last."""
    data = daemon.succeed("examples/matrix.yml")
    assert data["archives"] == [
        *("linux-py3.11.tar.gz", "linux-py3.12.tar.gz", "windows-py3.12.zip", "macos-py3.12.tar.gz"),
    ]
    assert len(daemon.succeed("examples/matrix.yml", {"systems": ["linux"]})["builds"]) == 3


def test_until_asks_as_often_as_it_must(daemon: Daemon):
    """And ten times at most."""
    assert daemon.succeed("examples/until.yml")["told"] == "done after 3 rounds (100 %)"
    assert daemon.run("examples/until.yml", {"goal": 11})["error"]["code"] == "until_exhausted"


def test_parallel_branches_and_the_plan_that_follows(daemon: Daemon):
    """Each case of the switch: a block, a failure, the default."""
    assert daemon.succeed("examples/parallel.yml", {"tickets": 12})["plan"] == {
        "days": 3.0,
        "text": "Good morning, 3.0 days of work",
    }
    assert daemon.succeed("examples/parallel.yml")["plan"] == {"text": "Good morning, nothing to do"}
    assert daemon.run("examples/parallel.yml", {"tickets": 21})["error"]["code"] == "too_much"


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


def test_needs_runs_steps_by_what_they_need(daemon: Daemon):
    """All of them with few tickets; with many a check fails, and only what needs it is not started."""
    assert daemon.succeed("examples/needs.yml")["publish"] == "published: 3 tickets, 6 mails"
    outcome = daemon.run("examples/needs.yml", {"tickets": 12})
    assert outcome["error"]["step"] == "check"
    ends = {step["path"]: step["status"] for step in outcome["steps"]}
    assert (ends["report"], ends["check"], ends["publish"]) == ("succeeded", "failed", "not_started")


def test_handlers_follow_on_the_end(daemon: Daemon):
    """What is told depends on how the run ended."""
    assert daemon.run("examples/handlers.yml")["status"] == "succeeded"
    assert daemon.output("handlers.txt") == "done"
    outcome = daemon.run("examples/handlers.yml", {"fails": True})
    paths = [step["path"] for step in outcome["steps"]]
    assert paths == ["work", "on_failure/report", "on_failure/told", "finally/counted"]
    assert daemon.output("handlers.txt") == ("examples/handlers.yml failed at work: jq failed: no luck today")


def test_a_schedule_gives_the_flow_its_data_and_parameters(daemon: Daemon):
    """The flow's own schedule looks ahead; a call adds another one, which fires once."""
    assert daemon.succeed("examples/scheduled.yml")["report"] == "A short report for nobody"
    added = daemon.call("POST", "/api/flows/add", json={"path": "examples/scheduled"}).json()
    assert added["next_run"] == "2030-12-02T05:30:00.000Z"
    assert daemon.call("DELETE", f"/api/flows/{added['flow_id']}").ok
    body = {
        "flow": "examples/scheduled",
        "repeat_count": 0,
        "params": {"level": "long"},
        "data": {"to": "Ada"},
    }
    place = daemon.call("POST", "/api/schedules", json=body).headers["Location"]
    run_id = until(lambda: daemon.call("GET", place).json()["last_run_id"], "the schedule fires")
    run = daemon.call("GET", f"/api/runs/{run_id}?wait=60").json()
    assert (run["status"], run["data"]["report"]) == ("succeeded", "A long report for Ada")
    assert daemon.call("GET", place).json()["state"] == "finished"


def test_a_signed_call_starts_the_flow_of_its_webhook(daemon: Daemon):
    """Once the secret is set; a push is noted, another event ends the run, and the same delivery counts once."""
    key = "a-secret-of-the-tests-only"

    def call(event: str) -> requests.Response:
        body = json.dumps(
            {"ref": "main", "pusher": {"name": "Ada"}, "commits": [1, 2], "event": event}
        ).encode()
        signature = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Event": event}
        kind = {"Content-Type": "application/json"}
        return requests.post(
            f"{daemon.url}/hooks/example-push", data=body, headers={**headers, **kind}, timeout=60
        )

    assert call("push").status_code == 401
    secrets = daemon.folder / "secrets.yml"
    text = secrets.read_text(encoding="utf-8")
    secrets.write_text(text.replace("${WEBHOOK_SECRET}", key), encoding="utf-8")
    pushed = until(lambda: (answer := call("push")).ok and answer, "the secret counts").json()["run_id"]
    assert call("push").json() == {"run_id": pushed, "repeated": True}
    run = daemon.call("GET", f"/api/runs/{pushed}?wait=60").json()
    assert (run["status"], run["flow"]) == ("succeeded", "examples/webhook.yml"), run["error"]
    (noted,) = map(json.loads, daemon.output("pushes.jsonl").splitlines())
    assert noted == {"ref": "main", "by": "Ada", "commits": 2, "at": run["data"]["__input__"]["received_at"]}
    other = daemon.call("GET", f"/api/runs/{call('ping').json()['run_id']}?wait=60").json()
    assert (other["status"], other["reason"]) == ("exited", "no push, but ping")


def test_sub_flows_hand_values_down_and_results_up(daemon: Daemon):
    """A flow as one step, and a flow for each element of a list."""
    data = daemon.succeed("examples/sub_flows.yml")
    assert data["greeted"] == "Hello Grace!"
    assert data["all_greeted"] == ["Hello Alan!", "Hello Edsger!", "Hello Barbara!"]


def test_a_spread_loop_makes_each_element_a_run_of_its_own(daemon: Daemon):
    """The results in their order, and the runs listed under their parent."""
    data = daemon.succeed("examples/spread.yml")
    assert [one["greeting"] for one in data["greeted"]] == ["Hello Ada!", "Hello Grace!", "Hello Edsger!"]
    listed = daemon.call("GET", f"/api/runs?parent={data['__run_id__']}").json()["runs"]
    assert {run["run_id"] for run in listed} == {one["run"] for one in data["greeted"]}
    assert {(run["parent_path"], run["status"]) for run in listed} == {("greeted", "succeeded")}


def test_parameters_are_checked_and_handed_down(daemon: Daemon):
    """Defaults, given values, a sub-flow for each team; and a launch that is refused."""
    data = daemon.succeed("examples/params.yml")
    assert data["title"] == "short report of 2026-11-21"
    assert data["lines"] == ["line 1", "line 2", "line 3"]
    assert data["reports"] == ["red on 2026-11-21", "blue on 2026-11-21"]
    assert "noted" not in data

    body = {"path": "examples/params.yml", "params": {"limit": 11, "levle": "long", "day": "2025-12-31"}}
    refused = daemon.call("POST", "/api/flows/launch", json=body)
    assert (refused.status_code, refused.json()["code"]) == (400, "params_invalid")
    assert [one["key"] for one in refused.json()["problems"]] == ["levle", "day", "limit"]

    body = {"path": "sub/team_report.yml", "params": {"team": "Red", "day": "2026-11-21"}}
    refused = daemon.call("POST", "/api/flows/launch", json=body)
    assert [one["key"] for one in refused.json()["problems"]] == ["team"]


def test_database_stores_tickets_and_asks_for_them(daemon: Daemon):
    """All tickets go in, in one transaction, as often as the flow runs; the values of IN come from the payload."""
    for _ in range(2):
        data = daemon.succeed("examples/database.yml")
        assert data["stored"] == {"rows_affected": 72}
    urgent = sum(ticket["priority"] in ("Highest", "High") for ticket in data["export"])
    assert sum(row["tickets"] for row in data["urgent"]) == urgent > 0
    assert daemon.succeed("examples/database.yml", {"priorities": ["none"]})["urgent"] == []


def test_servers_calls_those_that_it_is_told(daemon: Daemon):
    """No server, no call; one that is away is the step's error. (tests/steps runs these steps on real servers.)"""
    assert "counted" not in daemon.succeed("examples/servers.yml")
    for payload, code in (
        ({"cache": "redis://127.0.0.1:9"}, "redis_connection"),
        ({"smtp": "-"}, "email_connection"),
    ):
        outcome = daemon.run("examples/servers.yml", payload)
        assert (outcome["status"], outcome["error"]["code"]) == ("failed", code)


def started_wait(daemon: Daemon) -> str:
    """A run of examples/wait.yml that waits for its answer."""
    body = {"path": "examples/wait.yml", "data": {"version": "1.2"}}
    run_id: str = daemon.call("POST", "/api/flows/launch", json=body).json()["run_id"]
    until(lambda: daemon.call("GET", f"/api/runs/{run_id}").json()["status"] == "waiting", "the run waits")
    return run_id


def test_a_letter_is_sent_once_somebody_has_agreed(daemon: Daemon):
    """The signal that comes before its wait is kept; what is asked for in the form reaches the flow."""
    run_id = started_wait(daemon)
    signals = [
        {"name": "delivered", "data": {"to": 3}, "by": "post"},
        {"name": "go_ahead", "data": {"answer": "approve", "form": {"ticket": "OPS-1"}}, "by": "ann"},
    ]
    for signal in signals:
        answer = daemon.call("POST", f"/api/runs/{run_id}/signal", json=signal)
        assert answer.status_code == 202, answer.text
    outcome = daemon.call("GET", f"/api/runs/{run_id}", params={"wait": 30}).json()
    assert outcome["status"] == "succeeded", outcome["error"]
    assert outcome["data"]["report"] == "OPS-1: ann let 1 go, 3 arrived"


def test_a_letter_is_not_sent_when_somebody_says_no(daemon: Daemon):
    """The flow decides what an answer means."""
    run_id = started_wait(daemon)
    no = {"name": "go_ahead", "data": {"answer": "reject", "form": {"ticket": "OPS-1"}}, "by": "ann"}
    assert daemon.call("POST", f"/api/runs/{run_id}/signal", json=no).status_code == 202
    outcome = daemon.call("GET", f"/api/runs/{run_id}", params={"wait": 30}).json()
    assert (outcome["status"], outcome["error"]["message"]) == ("exited", "not sent: ann said no")


def test_a_ticket_can_be_told_by_itself(daemon: Daemon):
    """The sub-flow of the report is a flow like any other."""
    ticket = {"key": "OPS-1", "summary": "Try it", "type": "Task", "status": "To Do", "priority": "Low"}
    rest = {"assignee": None, "impact": None, "due": None, "sprint": None}
    payload = {**ticket, **rest, "notify_url": daemon.url + "/healthz"}
    data = daemon.succeed("sub/ticket.yml", payload)
    assert data["message"] == "**OPS-1** Try it\nTask, To Do, priority Low\nnobody has it"
    assert data["answer"] == 200


def test_own_code_works_out_a_price_and_prints_a_receipt(daemon: Daemon):
    """A function, a step type and a filter of the data folder's own."""
    data = daemon.succeed("examples/python.yml", {"gross": 1190})
    assert data["price"] == {"net": 1000.0, "tax": 190.0, "day": "2026-11-21"}
    assert data["receipt"].splitlines()[1:3] == ["net 1,000.00 EUR", "tax 190.00 EUR"]
    code = daemon.call("GET", "/api/code").json()
    assert {one["name"] for one in code["functions"]} == {"net_price", "receipt", "money"}
    assert [one["problem"] for one in code["files"]] == [None, None, None]


def test_shell_counts_words_that_no_shell_reads(daemon: Daemon):
    """What looks like a command stays data."""
    data = daemon.succeed("examples/shell.yml", "one $(two) three; four")
    assert data["words"] == {"words": 4, "size": (SHIPPED / "input" / "jira_search.json").stat().st_size}


def test_a_change_request_goes_through_querypie(daemon: Daemon):
    """Submitted, approved by people, executed, written down; a refused one is written down too."""
    pie = FakeQueryPie()
    secrets = daemon.folder / "secrets.yml"
    text = secrets.read_text(encoding="utf-8")
    secrets.write_text(text.replace("${QUERYPIE_TOKEN}", TOKEN), encoding="utf-8")

    def change() -> str:
        params = {"server": pie.url, "login": "ada", "state": "cancelled"}
        body = {"path": "examples/querypie.yml", "params": params, "wait": 60}
        return str(daemon.call("POST", "/api/flows/launch", json=body).json()["status"])

    try:
        pie.by_itself = "approve"
        until(lambda: change() == "succeeded", "the secret counts")
        (number,) = pie.requests
        written = json.loads(daemon.output("change.json"))
        assert (written["request"], written["status"], written["error"]) == (number, "SUCCESS", None)
        assert "SET state = 'cancelled'" in pie.requests[number]["body"]["content"]
        pie.users = {"status": "NOT_FOUND", "users": []}
        assert change() == "failed"
        written = json.loads(daemon.output("change.json"))
        assert (written["request"], written["status"]) == (None, "failed")
        assert written["error"] == "QueryPie knows no user with login 'ada'"
        assert (pie.taken, pie.violations) == ({"submit": 1, "execute": 1}, [])
        pie.users, pie.by_itself = {"status": "FOUND", "users": [person("ada")]}, "reject"
        assert change() == "failed"
        written = json.loads(daemon.output("change.json"))
        assert (written["request"] in pie.requests, "REJECTED by elon" in written["error"]) == (True, True)
    finally:
        pie.close()


def test_a_file_that_comes_starts_the_flow_that_watches_it(daemon: Daemon):
    """Its rows are added up and it is moved away; one that is wrong goes to failed/, with the reason."""
    flow, folder = "examples/watched_files.yml", daemon.folder / "input"
    (folder / "orders-1.csv").write_text("item,amount\nink,3\npaper,5\n", encoding="utf-8")
    (folder / "orders-2.csv").write_text("item,amount\nink,three\n", encoding="utf-8")
    until((folder / "done" / "orders-1.csv").exists, "the right one is moved")
    until((folder / "failed" / "orders-2.csv").exists, "the wrong one is moved")
    (noted,) = map(json.loads, daemon.output("orders.jsonl").splitlines())
    assert noted == {"file": "orders-1.csv", "amount": 8}
    reason = json.loads((folder / "failed" / "orders-2.csv.reason.json").read_text(encoding="utf-8"))
    run = daemon.call("GET", f"/api/runs/{reason['reasons'][0]['run_id']}").json()
    assert (run["flow"], run["trigger"], run["by"]) == (flow, "file", "input/orders-2.csv")


def test_orders_are_handed_on_as_items_and_added_up(daemon: Daemon):
    """Two of three orders go to the queue; each starts the flow that listens to it, once."""
    sender, listener = daemon.run("examples/orders.yml"), "examples/order.yml"
    assert sender["status"] == "succeeded", sender["error"]

    def runs() -> list[dict[str, Any]]:
        found = daemon.call("GET", f"/api/runs?flow={listener}&status=succeeded").json()["runs"]
        return found if len(found) == 2 else []

    assert {(run["trigger"], run["by"]) for run in until(runs, "both items are done")} == {
        ("queue", "example-orders")
    }
    noted = [json.loads(line) for line in daemon.output("order_totals.jsonl").splitlines()]
    assert noted == [{"number": "A-17", "total": 33}, {"number": "A-19", "total": 240}]
    items = [daemon.call("GET", f"/api/runs/{run['run_id']}").json()["data"]["__item__"] for run in runs()]
    assert all(item["id"].startswith(sender["run_id"]) for item in items)


def test_every_shipped_flow_is_run_here():
    """A new example needs a test of its own: here, or on an engine where it runs containers."""
    files = [Path(__file__), Path(__file__).parent / "containers" / "test_docker_examples.py"]
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    assert [path for path in FLOWS if f'"{path}"' not in source] == []
