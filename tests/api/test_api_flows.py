"""Launching flows, and putting them into the scheduler."""

from typing import Any

import pytest


def test_a_launch_is_accepted_with_the_run(api: Any) -> None:
    """202, once it is safely recorded; the answer says where to look."""
    answer = api.launch(path="echo.yml", data={"a": [1, None]})
    assert answer.status_code == 202
    assert answer.json["status"] in ("queued", "running", "succeeded")
    assert (answer.json["flow"], answer.json["trigger"]) == ("echo.yml", "api")
    assert answer.headers["Location"] == f"/api/runs/{answer.json['run_id']}"
    run = api.get(answer.headers["Location"] + "?wait=30").json
    assert (run["status"], run["data"]["out"]) == ("succeeded", {"a": [1, None]})


def test_with_wait_the_outcome_is_the_answer(api: Any) -> None:
    answer = api.launch(path="echo.yml", data=7, wait=30)
    assert answer.status_code == 200
    assert (answer.json["status"], answer.json["data"]["out"]) == ("succeeded", 7)
    assert [step["path"] for step in answer.json["steps"]] == ["out"]


def test_a_failed_run_is_an_outcome_too(api: Any) -> None:
    """The call succeeded; what failed is the run, and it says why."""
    answer = api.launch(path="fails.yml", wait=30)
    assert (answer.status_code, answer.json["status"]) == (200, "failed")
    assert answer.json["error"]["step"] == "bad"


def test_with_too_short_a_wait_it_is_202_again(api: Any) -> None:
    answer = api.launch(path="long.yml", wait=0.05)
    assert (answer.status_code, answer.json["flow"]) == (202, "long.yml")
    assert "data" not in answer.json


@pytest.mark.parametrize("data", [None, 0, False, "", "text", [], {}, 12345678901234567890, 1.5, "ü🐙\u2028"])
def test_any_json_is_data(api: Any, data: Any) -> None:
    assert api.launch(path="echo.yml", data=data, wait=30).json["data"]["__input__"] == data


def test_a_flow_that_is_running_is_409_and_names_its_run(api: Any) -> None:
    first = api.launch(path="long.yml").json["run_id"]
    answer = api.launch(path="long.yml")
    assert (answer.status_code, answer.json["code"], answer.json["run_id"]) == (409, "flow_running", first)


def test_an_unknown_flow_is_404(api: Any) -> None:
    answer = api.launch(path="ecko.yml")
    assert (answer.status_code, answer.json["code"]) == (404, "flow_not_found")
    assert "echo" in answer.json["error"]


def test_an_invalid_flow_is_422_with_all_problems_and_places(api: Any) -> None:
    answer = api.launch(path="broken.yml")
    assert (answer.status_code, answer.json["code"]) == (422, "flow_invalid")
    assert {"valeu", "stepz"} <= {problem["key"].rsplit(".", 1)[-1] for problem in answer.json["problems"]}
    assert all(problem["line"] for problem in answer.json["problems"])


@pytest.mark.parametrize("path", ["../secrets.yml", "/etc/passwd", "a\0b", "sub/../../x.yml", "C:\\x.yml"])
def test_a_path_that_leads_out_is_refused(api: Any, path: str) -> None:
    answer = api.launch(path=path)
    assert (answer.status_code, answer.json["code"]) == (400, "path_refused")


def test_a_flow_is_added_listed_and_removed(api: Any) -> None:
    added = api.post("/api/flows/add", json={"path": "daily.yml"})
    assert (added.status_code, added.json["status"], added.json["cron"]) == (201, "added", "0 6 * * *")
    flow_id = added.json["flow_id"]
    listed = {flow["flow_id"]: flow for flow in api.get("/api/flows").json["flows"]}
    assert listed[flow_id]["next_run"].endswith("T06:00:00.000Z")
    again = api.post("/api/flows/add", json={"path": "daily.yml"})
    assert (again.status_code, again.json["code"]) == (409, "flow_already_added")
    removed = api.delete(f"/api/flows/{flow_id}")
    assert (removed.status_code, removed.json) == (200, {"status": "removed", "flow_id": flow_id})
    assert flow_id not in {flow["flow_id"] for flow in api.get("/api/flows").json["flows"]}
    gone = api.delete(f"/api/flows/{flow_id}")
    assert (gone.status_code, gone.json["code"]) == (404, "schedule_not_found")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nothing.yml", 404, "flow_not_found"),
        ("echo.yml", 400, "no_schedule"),
        ("broken.yml", 422, "flow_invalid"),
        ("../x.yml", 400, "path_refused"),
    ],
)
def test_what_cannot_be_added(api: Any, path: str, status: int, code: str) -> None:
    answer = api.post("/api/flows/add", json={"path": path})
    assert (answer.status_code, answer.json["code"]) == (status, code)


def test_every_flow_file_is_listed_with_its_problems(api: Any) -> None:
    files = {file["path"]: file for file in api.get("/api/flows/files").json["files"]}
    assert (files["echo.yml"]["valid"], files["echo.yml"]["name"]) == (True, "Echo")
    assert files["sub/echo.yml"]["valid"]
    assert not files["broken.yml"]["valid"]
    assert files["broken.yml"]["problems"][0]["line"] == 2


def test_a_flow_is_drawn(api: Any) -> None:
    picture = api.get("/api/flows/files/echo.yml/graph")
    assert (picture.status_code, picture.mimetype) == (200, "image/svg+xml")
    assert picture.text.startswith("<svg ")
    text = api.get("/api/flows/files/echo/graph?format=text&sub_flows=true")
    assert (text.mimetype, text.text.splitlines()[0]) == ("text/plain", "echo.yml: Echo")
    assert api.get("/api/flows/files/echo/graph?format=png").status_code == 400
    assert api.get("/api/flows/files/nothing/graph").status_code == 404
    assert api.get("/api/flows/files/broken/graph").status_code == 422


def test_a_run_can_be_told_to_end_after_a_step(api: Any) -> None:
    answer = api.launch(path="echo.yml", until="out", wait=30)
    assert (answer.json["status"], answer.json["error"]["code"]) == ("exited", "exited")
    assert answer.json["error"]["message"] == "ended after step 'out', as asked (until)"
    assert api.launch(path="echo.yml", until="uot").json["code"] == "unknown_step"
    again = api.post(f"/api/runs/{answer.json['run_id']}/retry", json={"until": "out", "from": "out"})
    assert again.status_code == 202
