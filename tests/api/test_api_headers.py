"""What a browser is told with every answer, and which origins it may serve (CORS)."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.support import BEARER

ORIGIN = "https://board.example"
CORS = f"api:\n  cors_origins: ['{ORIGIN}']\n"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


@pytest.mark.parametrize("path", ["/healthz", "/api/runs", "/api/nothing", "/api/docs", "/api/openapi.json"])
@pytest.mark.parametrize("token", [True, False])
def test_every_answer_is_kept_out_of_frames_and_sniffing(api: Any, path: str, token: bool) -> None:
    headers = api.get(path, token=token).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_page_loads_scripts_from_the_daemon_only(api: Any) -> None:
    policy = api.get("/api/docs").headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "http" not in policy
    assert "unsafe-eval" not in policy


def test_answers_are_not_kept_by_caches(api: Any) -> None:
    assert api.get("/api/runs").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("origin", [ORIGIN, "null", "https://evil.example"])
def test_without_a_list_no_origin_gets_a_cors_header(api: Any, origin: str) -> None:
    asked = api.call("OPTIONS", "/api/flows/launch", headers={"Origin": origin, **PREFLIGHT}, token=False)
    assert asked.status_code == 401
    for answer in (asked, api.get("/api/runs", headers={"Origin": origin})):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_a_listed_origin_may_ask_and_call(api_with: Callable[..., Any]) -> None:
    """The preflight has no token; the call itself needs it."""
    api = api_with(CORS)
    asked = api.call("OPTIONS", "/api/flows/launch", headers={"Origin": ORIGIN, **PREFLIGHT}, token=False)
    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Origin"] == ORIGIN
    allowed = set(asked.headers["Access-Control-Allow-Methods"].split(", "))
    assert allowed == {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert {"If-Match", "If-None-Match"} <= set(asked.headers["Access-Control-Allow-Headers"].split(", "))
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    called = api.get("/api/runs", headers={"Origin": ORIGIN})
    assert (called.status_code, called.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
    assert called.headers["Vary"] == "Origin"
    refused = api.get("/api/runs", headers={"Origin": ORIGIN}, token=False)
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)
    assert "Access-Control-Allow-Credentials" not in called.headers


@pytest.mark.parametrize("origin", ["null", "https://evil.example", f"{ORIGIN}.evil.example", ORIGIN.upper()])
def test_an_unlisted_origin_gets_nothing(api_with: Callable[..., Any], origin: str) -> None:
    api = api_with(CORS)
    headers = {"Origin": origin, **PREFLIGHT}
    assert api.call("OPTIONS", "/api/flows/launch", headers=headers, token=False).status_code == 401
    assert "Access-Control-Allow-Origin" not in api.get("/api/runs", headers={"Origin": origin}).headers


def test_options_that_is_no_preflight_is_no_method_of_ours(api: Any) -> None:
    answer = api.call("OPTIONS", "/api/runs", headers=BEARER)
    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
