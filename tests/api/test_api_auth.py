"""Who may call the API: the token by exact route, and the Host of a loopback daemon."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow_processor.api.app import create_app
from flow_processor.service import Service
from flow_processor.settings import Settings
from tests.api.support import TOKEN, basic, every_route

REFUSED = {"error": "Unauthorized", "code": "unauthorized"}


def test_every_route_needs_the_token_but_healthz(api: Any) -> None:
    """Route by route and method by method, from the app's own list."""
    for method, path in every_route(api.app):
        answer = api.call(method, path, token=False)
        if (method, path) == ("GET", "/healthz"):
            assert answer.status_code == 200
        else:
            assert (answer.status_code, answer.json) == (401, REFUSED), (method, path)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN} {TOKEN}",
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        f"Token {TOKEN}",
        TOKEN,
        "Bearer ü",
        "Basic " + base64.b64encode(f"x:{TOKEN}".encode()).decode(),
    ],
)
def test_anything_but_the_token_is_refused(api: Any, header: str) -> None:
    """Nearly right is wrong; the Basic form is for the documentation only."""
    answer = api.get("/api/runs", token=False, headers={"Authorization": header})
    assert (answer.status_code, answer.json) == (401, REFUSED)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


def test_the_scheme_is_read_in_any_case(api: Any) -> None:
    """RFC 9110, 11.1: schemes are case-insensitive."""
    answer = api.get("/api/runs", token=False, headers={"Authorization": f"bearer {TOKEN}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/healthz/",
        "/HEALTHZ",
        "/healthz/../api/runs",
        "/api/runs/healthz",
        "/api/runs/x/docs",
        "/api/docs/",
        "/api//docs",
        "/api/runs%2F",
        "//api/runs",
        "/x/healthz",
        "/healthz%00",
        "/",
    ],
)
def test_an_unknown_address_without_token_is_401_too(api: Any, path: str) -> None:
    """Nobody can find out which addresses exist, and no spelling of the open one opens another."""
    assert api.get(path, token=False).status_code == 401


def test_a_probe_may_ask_healthz_by_head(api: Any) -> None:
    answer = api.call("HEAD", "/healthz", token=False)
    assert (answer.status_code, answer.data) == (200, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_healthz_is_open_for_nothing_but_looking(api: Any, method: str) -> None:
    assert api.call(method, "/healthz", token=False).status_code == 405


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/docs.js", "/api/openapi.json"])
def test_a_browser_may_open_the_documentation_with_the_token_as_password(api: Any, path: str) -> None:
    """It is asked for it by the challenge, and only there."""
    asked = api.get(path, token=False)
    assert asked.status_code == 401
    assert asked.headers["WWW-Authenticate"].startswith("Basic ")
    with api.get(path, token=False, headers=basic(TOKEN)) as opened:
        assert opened.status_code == 200
    assert api.get(path, token=False, headers=basic("wrong")).status_code == 401
    assert api.get(path, token=False, headers={"Authorization": "Basic ???"}).status_code == 401
    with api.get(path) as opened:
        assert opened.status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "localhost", "LOCALHOST:5000", "127.8.9.1", "[::1]:5000"])
def test_a_loopback_daemon_is_called_by_a_loopback_name(api: Any, host: str) -> None:
    assert api.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:5000", "10.0.0.1", "[::2]", ""]
)
def test_dns_rebinding_is_refused(api: Any, host: str) -> None:
    """A page whose name was pointed at 127.0.0.1 still calls by its own name."""
    for path, token in (("/healthz", False), ("/api/runs", True)):
        answer = api.get(path, token=token, headers={"Host": host})
        assert (answer.status_code, answer.json["code"]) == (403, "host_refused")


def test_a_daemon_for_others_is_called_by_any_name(api_with: Callable[..., Any]) -> None:
    api = api_with(API_HOST="0.0.0.0")  # noqa: S104
    assert api.get("/api/runs", headers={"Host": "octo.example"}).status_code == 200


def test_a_reverse_proxys_host_name_can_be_allowed(tmp_path: Path) -> None:
    """api.allowed_hosts in config.yml names it; any other strange name stays refused."""
    (tmp_path / "config.yml").write_text("api: {allowed_hosts: [spool.example.org]}\n")
    service = Service(Settings.load({"DATA_PATH": str(tmp_path)}))
    client = create_app(service).test_client()
    assert client.get("/healthz", headers={"Host": "spool.example.org"}).status_code == 200
    assert client.get("/healthz", headers={"Host": "evil.example.org"}).status_code == 403
