"""The locks that are held, and letting go by hand."""

from typing import Any

import pytest


def held(api: Any) -> dict[str, Any]:
    return {lock["flow"]: lock for lock in api.get("/api/locks").json["locks"]}


def test_a_lock_tells_whose_it_is(api: Any) -> None:
    run_id = api.launch(path="long.yml").json["run_id"]
    lock = held(api)["long.yml"]
    assert (lock["filename"], lock["run_id"]) == ("long.lock", run_id)
    assert lock["timestamp"].endswith("Z")


def test_a_flow_that_has_ended_holds_none(api: Any) -> None:
    api.launch(path="echo.yml", wait=30)
    assert "echo.yml" not in held(api)


@pytest.mark.parametrize(
    ("flow", "name"),
    [
        ("long.yml", "long"),
        ("long.yml", "long.yml"),
        ("sub/long.yml", "sub/long.yml"),
        ("sub/long.yml", "sub%2Flong.yml"),
        ("sub/long.yml", "sub%2flong"),
    ],
)
def test_a_lock_is_removed_by_the_name_of_its_flow(api: Any, flow: str, name: str) -> None:
    """Its run goes on, and another may start beside it."""
    first = api.launch(path=flow).json["run_id"]
    answer = api.delete(f"/api/locks/{name}")
    assert (answer.status_code, answer.json["flow"], answer.json["run_id"]) == (200, flow, first)
    assert flow not in held(api)
    assert api.get(f"/api/runs/{first}").json["ended_at"] is None
    assert api.launch(path=flow).status_code == 202


@pytest.mark.parametrize("name", ["nothing", "long.yml", "..%2F..%2Fetc%2Fpasswd", "%00", "."])
def test_a_lock_that_is_not_held_is_404(api: Any, name: str) -> None:
    answer = api.delete(f"/api/locks/{name}")
    assert (answer.status_code, answer.json["code"]) == (404, "lock_not_found")


def test_all_locks_are_removed_at_once(api: Any) -> None:
    for flow in ("long.yml", "sub/long.yml"):
        api.launch(path=flow)
    removed = api.delete("/api/locks").json["locks"]
    assert {lock["flow"] for lock in removed} == {"long.yml", "sub/long.yml"}
    assert held(api) == {}
    assert api.delete("/api/locks").json == {"locks": []}
