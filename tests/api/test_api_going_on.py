"""Calls that let a run go on: signals and answers, resume, retry; and a long run read in pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engine.world import until

ASK = """steps:
  - name: go_ahead
    type: wait
    wait: {approval: {prompt: Go?, form: {n: {type: int, required: true}}}}
"""
FAILS = """concurrency: {on_conflict: parallel}
steps:
  - {name: ok, type: set_fact, set_fact: {value: 1}}
  - {name: bad, type: jq, jq: {expression: 'if .__input__ then 2 else error("no") end'}}
"""


@pytest.fixture(scope="module", autouse=True)
def flows(service: Any) -> None:
    """Flows of these tests."""
    folder: Path = service.settings.flows_path
    (folder / "ask.yml").write_text(ASK)
    (folder / "tried.yml").write_text(FAILS)
    items = "  - {name: items, type: flow_loop, flow_loop: {path: sub/echo.yml, data_key: __input__}}\n"
    (folder / "many.yml").write_text(f"steps:\n{items}")


def test_an_approval_is_answered(api: Any) -> None:
    run_id = api.launch(path="ask").json["run_id"]
    url = f"/api/runs/{run_id}"
    until(lambda: api.get(url).json["waiting"], "it asks")
    found = api.get(url).json
    assert (found["waiting"][0]["path"], found["waiting"][0]["prompt"]) == ("go_ahead", "Go?")
    wrong = api.post(
        f"{url}/signal", json={"name": "go_ahead", "data": {"answer": "what", "form": {"n": "x"}}}
    )
    assert wrong.status_code == 400
    assert [problem["key"] for problem in wrong.json["problems"]] == ["answer", "n"]
    right = {"name": "go_ahead", "data": {"answer": "approve", "form": {"n": 1}}, "by": "ann"}
    taken = api.post(f"{url}/signal", json=right)
    assert (taken.status_code, taken.json["run_id"]) == (202, run_id)
    again = api.post(f"{url}/signal", json=right)
    assert (again.status_code, again.json["code"]) in ((409, "already_answered"), (409, "run_has_ended"))
    ended = api.get(f"{url}?wait=30").json
    assert (ended["status"], ended["data"]["go_ahead"]["by"]) == ("succeeded", "ann")
    assert api.post(f"{url}/signal", json=right).json["code"] == "run_has_ended"


def test_a_failed_run_is_tried_again(api: Any) -> None:
    """The body may be left out."""
    failed = api.launch(path="tried", wait=30).json["run_id"]
    again = api.post(f"/api/runs/{failed}/retry")
    assert again.status_code == 202
    assert again.headers["Location"] == f"/api/runs/{again.json['run_id']}"
    assert (again.json["retry_of"], again.json["attempt"]) == (failed, 2)
    assert api.get(f"/api/runs/{again.json['run_id']}?wait=30").json["status"] == "failed"
    other = api.post(f"/api/runs/{failed}/retry", json={"from": "ok", "data": True, "by": "ann"}).json
    ended = api.get(f"/api/runs/{other['run_id']}?wait=30").json
    assert (ended["status"], ended["data"]["bad"]) == ("succeeded", 2)
    assert api.get(f"/api/runs/{failed}").json["retried_by"] == [again.json["run_id"], other["run_id"]]


@pytest.mark.parametrize(
    ("verb", "body", "status", "code"),
    [
        ("retry", None, 409, "nothing_failed"),
        ("retry", {"from": "nothing"}, 400, "invalid_request"),
        ("retry", {"form": "out"}, 400, "invalid_request"),
        ("retry", [], 400, "invalid_request"),
        ("retry", {"mode": "value"}, 400, "invalid_request"),
        ("retry", {"mode": "skip"}, 400, "invalid_request"),
        ("retry", {"mode": "later"}, 400, "invalid_request"),
        ("retry", {"step": "out"}, 400, "invalid_request"),
        ("resume", None, 409, "run_not_interrupted"),
        ("resume", {"mode": "again"}, 400, "invalid_request"),
        ("resume", {"mode": "value"}, 400, "invalid_request"),
        ("resume", {"mode": "skip", "value": None}, 400, "invalid_request"),
        ("signal", {"name": "x"}, 409, "run_has_ended"),
        ("signal", {}, 400, "invalid_request"),
        ("signal", None, 400, "invalid_json"),
    ],
)
def test_what_cannot_be_done_is_refused(api: Any, verb: str, body: Any, status: int, code: str) -> None:
    done = api.launch(path="echo", wait=30).json["run_id"]
    options = {} if body is None else {"json": body}
    refused = api.post(f"/api/runs/{done}/{verb}", **options)
    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert (
        api.post(f"/api/runs/none/{verb}", json={"name": "x"} if verb == "signal" else {}).status_code == 404
    )


def test_a_wrong_key_is_answered_with_the_right_ones(api: Any) -> None:
    refused = api.post("/api/runs/any/retry", json={"form": "a"})
    assert "did you mean 'from'" in refused.json["error"]


def test_a_long_run_is_read_in_pages(api: Any) -> None:
    run_id = api.launch(path="many", data=list(range(30)), wait=30).json["run_id"]
    whole = api.get(f"/api/runs/{run_id}").json["steps"]
    pages = [
        api.get(f"/api/runs/{run_id}?max_steps=7&steps_after={n}").json["steps"] for n in range(0, 42, 7)
    ]
    assert len(whole) == 31
    assert [step for page in pages for step in page] == whole
    assert api.get(f"/api/runs/{run_id}?steps_after=-1").status_code == 400


def test_runs_of_a_flow_are_found_by_its_name_without_suffix(api: Any) -> None:
    run_id = api.launch(path="sub/echo", wait=30).json["run_id"]
    assert api.get("/api/runs?flow=sub/echo").json["runs"][0]["run_id"] == run_id
    assert api.get("/api/runs?flow=sub/echo.yml").json["runs"][0]["run_id"] == run_id
    assert api.get("/api/runs?flow=nobody").json["runs"] == []
