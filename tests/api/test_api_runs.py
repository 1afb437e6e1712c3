"""The history of runs, and the runs under way."""

import threading
import time
from typing import Any
from urllib.parse import quote

import pytest


def run_of(api: Any, path: str = "echo.yml") -> str:
    run_id: str = api.launch(path=path, wait=30).json["run_id"]
    return run_id


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200
    return [run["run_id"] for run in answer.json["runs"]]


def test_runs_are_listed_newest_first_page_by_page(api: Any) -> None:
    made = [run_of(api) for _ in range(5)]
    found, cursor = [], ""
    while True:
        page = api.get(f"/api/runs?flow=echo.yml&limit=2{cursor}").json
        found += [run["run_id"] for run in page["runs"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found[:5] == made[::-1]
    assert len(set(found)) == len(found)


def test_runs_are_filtered_by_flow_status_and_trigger(api: Any) -> None:
    good, bad = run_of(api), run_of(api, "fails.yml")
    assert ids(api.get("/api/runs?flow=fails.yml"))[0] == bad
    assert good not in ids(api.get("/api/runs?status=failed,exited"))
    assert {good, bad} <= set(ids(api.get("/api/runs?status=failed&status=succeeded")))
    assert {good, bad} <= set(ids(api.get("/api/runs?trigger=api,cli")))
    assert ids(api.get("/api/runs?trigger=schedule")) == []


def test_runs_are_filtered_by_time(api: Any) -> None:
    first, second = run_of(api), run_of(api)
    at = api.get(f"/api/runs/{second}").json["created_at"]
    assert second in ids(api.get(f"/api/runs?since={at}"))
    assert first not in ids(api.get(f"/api/runs?since={at}"))
    assert second not in ids(api.get(f"/api/runs?until={at}"))
    assert first in ids(api.get(f"/api/runs?until={at}"))
    elsewhere = quote(at.replace("Z", "+00:00"))
    assert ids(api.get(f"/api/runs?since={elsewhere}")) == ids(api.get(f"/api/runs?since={at}"))
    assert ids(api.get("/api/runs?since=2999-01-01")) == []


def test_a_cursor_that_is_none_is_400(api: Any) -> None:
    answer = api.get("/api/runs?cursor=x")
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")


def test_one_run_is_shown_with_steps_and_data(api: Any) -> None:
    run = api.get(f"/api/runs/{run_of(api)}").json
    assert (run["status"], run["steps_total"], run["steps"][0]["status"]) == ("succeeded", 1, "succeeded")
    assert run["duration_seconds"] >= 0
    assert "out" in run["data"]


def test_fewer_steps_are_shown_if_asked(api: Any) -> None:
    run = api.get(f"/api/runs/{run_of(api)}?max_steps=0").json
    assert (run["steps"], run["steps_total"]) == ([], 1)


@pytest.mark.parametrize(
    ("method", "suffix"),
    [("GET", ""), ("GET", "?wait=1"), ("DELETE", ""), ("GET", "/logs"), ("POST", "/cancel")],
)
def test_an_unknown_run_is_404(api: Any, method: str, suffix: str) -> None:
    answer = api.call(method, f"/api/runs/20200101T000000000-aaaaaaaa{suffix}")
    assert (answer.status_code, answer.json["code"]) == (404, "run_not_found")


def test_a_run_under_way_is_cancelled(api: Any) -> None:
    run_id = api.launch(path="long.yml").json["run_id"]
    answer = api.post(f"/api/runs/{run_id}/cancel")
    assert (answer.status_code, answer.json["run_id"]) == (202, run_id)
    assert api.get(f"/api/runs/{run_id}?wait=30").json["status"] == "cancelled"
    again = api.post(f"/api/runs/{run_id}/cancel")
    assert (again.status_code, again.json["code"]) == (409, "run_has_ended")


@pytest.mark.parametrize(("query", "by"), [("", "api"), ("?by=cli", "cli")])
def test_history_knows_who_cancelled(api: Any, query: str, by: str) -> None:
    run_id = api.launch(path="long.yml").json["run_id"]
    assert api.post(f"/api/runs/{run_id}/cancel{query}").status_code == 202
    assert f"cancelled by {by}" in api.get(f"/api/runs/{run_id}?wait=30").json["reason"]


def test_nobody_else_can_be_said_to_have_cancelled(api: Any) -> None:
    run_id = api.launch(path="long.yml").json["run_id"]
    assert api.post(f"/api/runs/{run_id}/cancel?by=somebody").status_code == 400
    api.post(f"/api/runs/{run_id}/cancel")


def test_an_ended_run_is_deleted_and_a_live_one_is_not(api: Any) -> None:
    live = api.launch(path="long.yml").json["run_id"]
    refused = api.delete(f"/api/runs/{live}")
    assert (refused.status_code, refused.json["code"]) == (409, "run_is_live")
    ended = run_of(api)
    assert api.delete(f"/api/runs/{ended}").json == {"deleted": 1}
    assert api.get(f"/api/runs/{ended}").status_code == 404


def test_old_runs_are_deleted_by_age_and_status(api: Any) -> None:
    good, bad = run_of(api), run_of(api, "fails.yml")
    live = api.launch(path="long.yml").json["run_id"]
    assert api.delete("/api/runs?older_than_days=1").json == {"deleted": 0}
    assert api.delete("/api/runs?older_than_days=0&status=failed").json["deleted"] >= 1
    assert api.get(f"/api/runs/{bad}").status_code == 404
    assert api.get(f"/api/runs/{good}").status_code == 200
    assert api.get(f"/api/runs/{live}").status_code == 200


@pytest.mark.parametrize("query", ["", "?status=running", "?older_than_days=-1", "?older_than_days=x"])
def test_deleting_needs_to_know_which(api: Any, query: str) -> None:
    answer = api.delete(f"/api/runs{query}")
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")


def test_the_log_is_read_to_its_end_by_cursor(api: Any) -> None:
    run_id = run_of(api, "talks.yml")
    lines, after = [], 0
    while True:
        page = api.get(f"/api/runs/{run_id}/logs?after={after}&limit=1").json
        lines += page["lines"]
        after = page["next_cursor"]
        if page["complete"]:
            break
    assert [line["cursor"] for line in lines] == sorted({line["cursor"] for line in lines})
    assert {"say0", "say1", "say2"} <= {line["step"] for line in lines}


def test_the_log_of_a_run_under_way_is_waited_for(api: Any) -> None:
    """The answer comes as soon as there is something, long before the time is over."""
    run_id = api.launch(path="long.yml").json["run_id"]
    pages: list[Any] = []

    def follow() -> None:
        after = 0
        while not pages or not pages[-1]["complete"]:
            pages.append(api.get(f"/api/runs/{run_id}/logs?after={after}&wait=30").json)
            after = pages[-1]["next_cursor"]

    began = time.monotonic()
    follower = threading.Thread(target=follow)
    follower.start()
    api.post(f"/api/runs/{run_id}/cancel")
    follower.join(25)
    assert pages[-1]["complete"]
    assert time.monotonic() - began < 25


def test_a_run_is_waited_for(api: Any) -> None:
    run_id = api.launch(path="long.yml").json["run_id"]
    assert api.get(f"/api/runs/{run_id}?wait=0.05").json["status"] in ("queued", "running", "waiting")
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.append(api.get(f"/api/runs/{run_id}?wait=60").json))
    waiter.start()
    api.post(f"/api/runs/{run_id}/cancel")
    waiter.join(30)
    assert found[0]["status"] == "cancelled"
