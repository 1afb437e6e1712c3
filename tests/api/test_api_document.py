"""The OpenAPI document is made from the code, so it cannot say anything else than the routes do."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flow_processor.api.docs import FILES
from tests.api.support import basic

UNDOCUMENTED = {"/api/openapi.json", "/api/docs", "/api/docs/{name}"}
"""The documentation itself."""


@pytest.fixture
def document(api: Any) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/api/openapi.json").json
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_routes_and_document_say_the_same(api: Any, document: dict[str, Any]) -> None:
    """Both ways: no route without its description, no description without its route."""
    routes = {
        (method, re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule))
        for rule in api.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD"}
    }
    documented = {(method, path) for method, path, _ in operations(document)}
    assert {route for route in routes if route[1] not in UNDOCUMENTED} == documented
    assert {path for _, path in routes if path not in {p for _, p in documented}} == UNDOCUMENTED


def test_the_calls_of_the_specification_are_there(document: dict[str, Any]) -> None:
    """BEHAVIOUR.md section 1 and what a user of the API was promised."""
    assert {(method, path) for method, path, _ in operations(document)} == {
        ("POST", "/api/flows/launch"),
        ("POST", "/api/flows/add"),
        ("GET", "/api/flows"),
        ("DELETE", "/api/flows/{flow_id}"),
        ("GET", "/api/flows/files"),
        ("GET", "/api/flows/files/{path}"),
        ("PUT", "/api/flows/files/{path}"),
        ("DELETE", "/api/flows/files/{path}"),
        ("POST", "/api/flows/files/{path}/launch"),
        ("GET", "/api/flows/files/{path}/versions"),
        ("GET", "/api/flows/files/{path}/versions/{version}"),
        ("POST", "/api/flows/files/{path}/versions/{version}/restore"),
        ("GET", "/api/flows/files/{path}/graph"),
        ("GET", "/api/flows/files/{path}/stats"),
        ("GET", "/api/code"),
        ("GET", "/api/locks"),
        ("DELETE", "/api/locks"),
        ("DELETE", "/api/locks/{flow_name}"),
        ("GET", "/api/queues"),
        ("GET", "/api/queues/{name}"),
        ("POST", "/api/queues/{name}"),
        ("GET", "/api/queues/{name}/failed"),
        ("GET", "/api/queues/{name}/failed/{item_id}"),
        ("POST", "/api/queues/{name}/failed/{item_id}/retry"),
        ("DELETE", "/api/queues/{name}/failed/{item_id}"),
        ("DELETE", "/api/queues/{name}/items"),
        ("POST", "/api/queues/{name}/pause"),
        ("POST", "/api/queues/{name}/resume"),
        ("GET", "/api/runs"),
        ("DELETE", "/api/runs"),
        ("GET", "/api/runs/{run_id}"),
        ("DELETE", "/api/runs/{run_id}"),
        ("GET", "/api/runs/{run_id}/logs"),
        ("POST", "/api/runs/{run_id}/cancel"),
        ("POST", "/api/runs/{run_id}/signal"),
        ("POST", "/api/runs/{run_id}/resume"),
        ("POST", "/api/runs/{run_id}/retry"),
        ("GET", "/api/schedules"),
        ("POST", "/api/schedules"),
        ("POST", "/api/schedules/preview"),
        ("GET", "/api/schedules/{schedule_id}"),
        ("PATCH", "/api/schedules/{schedule_id}"),
        ("DELETE", "/api/schedules/{schedule_id}"),
        ("POST", "/api/schedules/{schedule_id}/activate"),
        ("POST", "/api/schedules/{schedule_id}/deactivate"),
        ("POST", "/hooks/{name}"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
    }


def test_every_call_but_healthz_and_webhooks_asks_for_the_token(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    for _, path, operation in operations(document):
        assert operation.get("security", []) == (
            [] if path in ("/healthz", "/hooks/{name}") else [{"token": []}]
        )


def test_every_call_tells_what_it_does_and_its_errors(document: dict[str, Any]) -> None:
    names = set()
    for method, path, operation in operations(document):
        assert operation["summary"], path
        assert {"400", "401", "403", "500"} <= set(operation["responses"]), path
        assert any(status.startswith("2") for status in operation["responses"]), path
        for status, answer in operation["responses"].items():
            if path.endswith("/graph") and status == "200":
                assert set(answer["content"]) == {"image/svg+xml", "text/plain"}
                continue
            schema = answer["content"]["application/json"]["schema"]["$ref"]
            if int(status) >= 400 and path != "/readyz":
                assert schema == "#/components/schemas/ErrorAnswer", (method, path, status)
                assert re.match(r"`[a-z_]+`: ", answer["description"])
        names.add(operation["operationId"])
    assert len(names) == len(list(operations(document)))


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r"'\$ref': '#/components/schemas/([^']+)'", str(document)))
    assert references
    assert references <= set(document["components"]["schemas"])


def test_path_parameters_are_described(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))
        assert all(parameter["description"] for parameter in operation.get("parameters", []))


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/flows/launch"), ("POST", "/api/flows/add")])
def test_bodies_are_described(document: dict[str, Any], method: str, path: str) -> None:
    operation = document["paths"][path][method.lower()]
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
    assert schema["required"] == ["path"]
    assert schema["additionalProperties"] is False


def test_what_a_handler_reads_itself_is_described(document: dict[str, Any]) -> None:
    """A flow file is sent as it is, and headers say over which version it may be written."""
    operation = document["paths"]["/api/flows/files/{path}"]["put"]
    assert set(operation["requestBody"]["content"]) == {"application/yaml", "application/json"}
    headers = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
    assert headers == {"If-Match", "If-None-Match"}
    assert set(operation["responses"]["201"]["headers"]) == {"ETag", "Location"}
    assert {one["name"] for one in operation["parameters"] if one["in"] != "header"} == {"path", "dry"}
    shown = document["paths"]["/api/flows/files/{path}"]["get"]["responses"]["200"]
    assert set(shown["content"]) == {"application/json", "application/yaml", "text/yaml"}
    assert set(shown["headers"]) == {"ETag"}


def test_the_servers_are_those_of_api_protocol(
    api_with: Callable[..., Any], certificate: dict[str, str]
) -> None:
    api = api_with(API_PROTOCOL="http,https", **certificate)
    servers = api.get("/api/openapi.json", headers={"Host": "127.0.0.1:5000"}).json["servers"]
    assert servers == [{"url": "http://127.0.0.1:5000"}, {"url": "https://127.0.0.1:5000"}]


def test_the_page_and_all_it_loads_come_from_the_daemon(api: Any) -> None:
    """No CDN: every address in the page is relative, and each of them answers."""
    page = api.get("/api/docs", token=False, headers=basic("a-token-of-32-characters-for-test"))
    assert page.mimetype == "text/html"
    text = page.get_data(as_text=True)
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert sorted(loaded) == sorted([f"docs/{name}" for name in FILES] + ["openapi.json"])
    for address in loaded:
        with api.get(f"/api/{address}") as file:
            assert file.status_code == 200, address
    assert "<script>" not in text
    assert "http://" not in text + (FILES["docs.js"].read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2Fdocs.html", "docs.html", "swagger-ui-standalone-preset.js"]
)
def test_the_page_serves_nothing_else_of_the_disk(api: Any, name: str) -> None:
    assert api.get(f"/api/docs/{name}").status_code == 404
