"""What a call may say, and how it is told what is wrong with it: everything at once."""

from collections.abc import Callable
from typing import Any

import pytest


def problems(answer: Any) -> list[tuple[str, str, str]]:
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
    for problem in answer.json["problems"]:
        assert problem["message"] in answer.json["error"]
    return [(problem["file"], problem["key"], problem["code"]) for problem in answer.json["problems"]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("path=flow1.yml", "line 1 column 1"),
        ('{"path": "flow1.yml",\n "data": }', "line 2 column 10"),
        ('{"path": "flow1.yml"', "line 1 column 20"),
        ('{"path": "flow1.yml"} x', "line 1 column 23"),
        ('{"path": "a", "data": NaN}', "line 1 column 23"),
        ('{"path": "a", "data": "\\ud800"}', "line 1"),
        (b'{"path": "\xff"}', "line 1 column"),
        ("[" * 500 + "]" * 500, "recursion limit"),
    ],
)
def test_what_is_not_json_is_told_by_its_place(api: Any, text: str | bytes, said: str) -> None:
    answer = api.post("/api/flows/launch", data=text)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_json")
    assert said in answer.json["error"]


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""]
)
def test_a_body_is_json_whatever_it_is_called(api: Any, content_type: str) -> None:
    """`curl -d` calls it a form."""
    answer = api.post("/api/flows/launch", data='{"path": "nothing"}', content_type=content_type)
    assert answer.json["code"] == "flow_not_found"


def test_a_launch_without_path_is_400(api: Any) -> None:
    assert problems(api.launch(data=1)) == [("body", "path", "missing_key")]


def test_all_problems_are_told_at_once(api: Any) -> None:
    answer = api.post(
        "/api/flows/launch?wait=5", json={"pth": "flow1.yml", "params": [], "wait": "5", "x": 1}
    )
    assert problems(answer) == [
        ("body", "path", "missing_key"),
        ("body", "params", "invalid_value"),
        ("body", "wait", "invalid_value"),
        ("body", "pth", "unknown_key"),
        ("body", "x", "unknown_key"),
        ("query", "wait", "unknown_key"),
    ]
    assert "did you mean 'path'?" in answer.json["error"]


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"path": 1}, "path"),
        ({"path": ""}, "path"),
        ({"path": "x" * 501}, "path"),
        ({"path": None}, "path"),
        ({"path": ["flow1.yml"]}, "path"),
        ({"path": "flow1.yml", "params": "a=b"}, "params"),
        ({"path": "flow1.yml", "wait": 0}, "wait"),
        ({"path": "flow1.yml", "wait": -1}, "wait"),
        ({"path": "flow1.yml", "wait": 301}, "wait"),
        ({"path": "flow1.yml", "wait": True}, "wait"),
        ([], ""),
        ("flow1.yml", ""),
    ],
)
def test_a_wrong_value_is_named(api: Any, body: Any, key: str) -> None:
    assert problems(api.post("/api/flows/launch", json=body)) == [("body", key, "invalid_value")]


def test_null_is_json_but_no_object(api: Any) -> None:
    assert problems(api.post("/api/flows/launch", data="null")) == [("body", "", "invalid_value")]


def test_what_was_sent_is_shown_bounded(api: Any) -> None:
    message = api.launch(path=["x" * 5000]).json["error"]
    assert len(message) < 300


@pytest.mark.parametrize(
    ("query", "key", "code"),
    [
        ("statuss=queued", "statuss", "unknown_key"),
        ("status=runing", "status[0]", "invalid_value"),
        ("status=queued,runing", "status[1]", "invalid_value"),
        ("trigger=me", "trigger[0]", "invalid_value"),
        ("limit=0", "limit", "invalid_value"),
        ("limit=501", "limit", "invalid_value"),
        ("limit=x", "limit", "invalid_value"),
        ("limit=1&limit=2", "limit", "invalid_value"),
        ("since=yesterday", "since", "invalid_value"),
        ("since=1700000000", "since", "invalid_value"),
        ("since=2h", "since", "invalid_value"),
        ("until=2026-13-01", "until", "invalid_value"),
    ],
)
def test_a_wrong_filter_is_named(api: Any, query: str, key: str, code: str) -> None:
    assert problems(api.get(f"/api/runs?{query}")) == [("query", key, code)]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=abc", 'limit: must be a whole number, found "abc"'),
        ("longer_than=2h", 'longer_than: must be a number, found "2h"'),
        ("total=perhaps", 'total: must be true or false, found "perhaps"'),
    ],
)
def test_what_a_filter_must_be_is_said_in_plain_words(api: Any, query: str, said: str) -> None:
    assert said in api.get(f"/api/runs?{query}").json["error"]


def test_a_plus_that_became_a_blank_is_explained(api: Any) -> None:
    answer = api.get("/api/runs?since=2026-11-21T07:40:06+01:00")
    assert "%2B" in answer.json["error"]


def test_a_body_at_the_limit_is_taken_and_one_above_is_not(api_with: Callable[..., Any]) -> None:
    api = api_with("api: {max_body: 1024}")
    at, above = ('{"x":"' + "x" * (1024 - len('{"x":""}') + more) + '"}' for more in (0, 1))
    assert api.post("/api/flows/launch", data=at).json["code"] == "invalid_request"
    answer = api.post("/api/flows/launch", data=above)
    assert (answer.status_code, answer.json["code"], answer.json["limit"]) == (413, "body_too_large", 1024)


def test_an_unknown_address_is_404_in_json(api: Any) -> None:
    answer = api.get("/api/nothing")
    assert (answer.status_code, answer.json["code"], answer.mimetype) == (
        404,
        "route_not_found",
        "application/json",
    )


def test_a_wrong_method_is_405_and_says_which_are_right(api: Any) -> None:
    answer = api.call("PUT", "/api/locks")
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "DELETE, GET"


def test_a_wrong_method_is_told_the_methods_of_exactly_this_address(api: Any) -> None:
    """/api/flows/launch also fits the pattern /api/flows/{id}."""
    answer = api.get("/api/flows/launch")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.json["error"] == "GET /api/flows/launch: use POST"


@pytest.mark.parametrize("path", ["/api/runs/", "/api//runs", "/API/runs"])
def test_another_spelling_is_another_address(api: Any, path: str) -> None:
    """Nothing is redirected or cleaned up behind the caller's back."""
    assert api.get(path).json["code"] in ("route_not_found", "run_not_found")
