"""Who may call what: each route names its permission, each role has some, a token may be limited to flows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flow_processor.api.app import NOUNS
from flow_processor.api.auth import needs_of
from flow_processor.errors import SettingsError
from flow_processor.service import Service
from flow_processor.store.listeners import write_listeners
from tests.api.conftest import settings_in, started_service
from tests.api.support import BEARER, FLOWS, Api, every_route

NEEDS = {
    ("GET", "/healthz"): None,
    ("POST", "/hooks/<name>"): None,
    ("GET", "/readyz"): "read",
    ("GET", "/api/docs"): "read",
    ("GET", "/api/docs/<name>"): "read",
    ("GET", "/api/openapi.json"): "read",
    ("GET", "/api/code"): "read",
    ("GET", "/api/flows"): "read",
    ("POST", "/api/flows/launch"): "run",
    ("POST", "/api/flows/add"): "schedule",
    ("DELETE", "/api/flows/<flow_id>"): "schedule",
    ("GET", "/api/flows/files"): "read",
    ("GET", "/api/flows/files/<path:path>"): "read",
    ("PUT", "/api/flows/files/<path:path>"): "edit",
    ("DELETE", "/api/flows/files/<path:path>"): "edit",
    ("GET", "/api/flows/files/<path:path>/graph"): "read",
    ("GET", "/api/flows/files/<path:path>/stats"): "read",
    ("POST", "/api/flows/files/<path:path>/launch"): "run",
    ("GET", "/api/flows/files/<path:path>/versions"): "read",
    ("GET", "/api/flows/files/<path:path>/versions/<int:version>"): "read",
    ("POST", "/api/flows/files/<path:path>/versions/<int:version>/restore"): "edit",
    ("GET", "/api/locks"): "read",
    ("DELETE", "/api/locks"): "operate",
    ("DELETE", "/api/locks/<path:flow_name>"): "operate",
    ("GET", "/api/queues"): "read",
    ("GET", "/api/queues/<name>"): "read",
    ("POST", "/api/queues/<name>"): "run",
    ("GET", "/api/queues/<name>/failed"): "read",
    ("GET", "/api/queues/<name>/failed/<item_id>"): "read",
    ("POST", "/api/queues/<name>/failed/<item_id>/retry"): "run",
    ("DELETE", "/api/queues/<name>/failed/<item_id>"): "run",
    ("DELETE", "/api/queues/<name>/items"): "operate",
    ("POST", "/api/queues/<name>/pause"): "run",
    ("POST", "/api/queues/<name>/resume"): "run",
    ("GET", "/api/runs"): "read",
    ("DELETE", "/api/runs"): "operate",
    ("GET", "/api/runs/<run_id>"): "read",
    ("DELETE", "/api/runs/<run_id>"): "operate",
    ("GET", "/api/runs/<run_id>/logs"): "read",
    ("POST", "/api/runs/<run_id>/cancel"): "run",
    ("POST", "/api/runs/<run_id>/signal"): "run",
    ("POST", "/api/runs/<run_id>/resume"): "run",
    ("POST", "/api/runs/<run_id>/retry"): "run",
    ("GET", "/api/schedules"): "read",
    ("POST", "/api/schedules"): "schedule",
    ("POST", "/api/schedules/preview"): "read",
    ("GET", "/api/schedules/<schedule_id>"): "read",
    ("PATCH", "/api/schedules/<schedule_id>"): "schedule",
    ("DELETE", "/api/schedules/<schedule_id>"): "schedule",
    ("POST", "/api/schedules/<schedule_id>/activate"): "schedule",
    ("POST", "/api/schedules/<schedule_id>/deactivate"): "schedule",
}
"""What each route needs. A new route is entered here, on purpose, by hand."""

GRANTED = {
    "viewer": {"read"},
    "runner": {"read", "run"},
    "author": {"read", "run", "schedule", "edit"},
    "operator": {"read", "run", "schedule", "operate"},
}
TOKENS = {role: f"the-token-of-the-{role}" for role in ("viewer", "runner", "author", "limited", "gone")}


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[name]}"} if name in TOKENS else BEARER


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


CONFIG = f"""
api:
  tokens:
    - {{name: viewer, role: viewer, sha256: {sha256(TOKENS["viewer"])}}}
    - {{name: runner, role: runner, token: "${{RUNNER_TOKEN}}", expires: 2999-12-31}}
    - {{name: author, role: author, sha256: {sha256(TOKENS["author"])}}}
    - {{name: limited, role: author, sha256: {sha256(TOKENS["limited"])}, flows: ["sub/*", echo]}}
    - {{name: gone, role: author, sha256: {sha256(TOKENS["gone"])}, expires: 2026-01-31}}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A started service with a token for each role."""
    data = tmp_path_factory.mktemp("octospool") / "data"
    flows = {**FLOWS, "listens.yml": f"on: {{queue: orders}}\n{FLOWS['echo.yml']}"}
    with started_service(data, flows, CONFIG, RUNNER_TOKEN=TOKENS["runner"]) as service:
        yield service


def test_every_route_says_what_it_needs(api: Any) -> None:
    """A route that this table does not know is an error: who adds one decides who may call it."""
    routes = {
        (method, rule.rule)
        for rule in api.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert routes == NEEDS.keys()
    assert needs_of(NOUNS) == NEEDS


@pytest.mark.parametrize("role", GRANTED)
def test_each_role_may_call_what_it_is_granted_and_nothing_else(api: Any, role: str) -> None:
    """Route by route. What is allowed may still be wrong (`x` is no run); what is not is a 403 that names the role."""
    for (method, route), (_, path) in zip(_in_order(api), every_route(api.app), strict=True):
        needed = NEEDS[method, route]
        if (method, route) == ("DELETE", "/api/locks"):
            continue  # nobody's lock is to go for a test of an operator
        with api.call(method, path, token=False, headers=bearer(role)) as answer:
            is_refused = answer.status_code == 403
            assert is_refused == (needed is not None and needed not in GRANTED[role]), (role, method, route)
            if is_refused:
                assert answer.json["code"] == "forbidden"
                least = next(name for name, granted in GRANTED.items() if needed in granted)
                assert (answer.json["needs"], answer.json["role"]) == (least, role)


def _in_order(api: Any) -> Iterator[tuple[str, str]]:
    for rule in api.app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD"}):
            yield method, rule.rule


@pytest.mark.parametrize("name", ["viewer", "runner"])
def test_a_refused_call_changes_nothing_and_an_unknown_address_stays_404(api: Any, name: str) -> None:
    before = api.get("/api/flows").json
    assert (
        api.post("/api/flows/add", json={"path": "daily"}, token=False, headers=bearer(name)).status_code
        == 403
    )
    assert api.get("/api/flows").json == before
    assert api.get("/api/nothing", token=False, headers=bearer(name)).status_code == 404
    assert api.call("PUT", "/api/runs", token=False, headers=bearer(name)).status_code == 405


def test_an_expired_token_says_so_to_its_holder(api: Any) -> None:
    answer = api.get("/api/runs", token=False, headers=bearer("gone"))
    assert (answer.status_code, answer.json["code"]) == (401, "token_expired")
    assert "2026-02-01T00:00:00+00:00" in answer.json["error"]


def test_a_token_limited_to_flows_acts_on_no_other(api: Any) -> None:
    """It reads all; it launches, cancels, tells and schedules its own: also by other spellings of a path."""

    def call(method: str, path: str, **options: Any) -> Any:
        return api.call(method, path, token=False, headers=bearer("limited"), **options)

    other = api.launch(path="long.yml").json["run_id"]
    own = api.launch(path="sub/long.yml").json["run_id"]
    assert call("GET", f"/api/runs/{other}").status_code == 200
    for verb in ("cancel", "signal", "resume", "retry"):
        body = {"json": {"name": "x"}} if verb == "signal" else {}
        refused = call("POST", f"/api/runs/{other}/{verb}", **body)
        assert (refused.status_code, refused.json["code"]) == (403, "forbidden"), verb
        assert refused.json["flow"] == "long.yml"
        assert call("POST", f"/api/runs/{own}/{verb}", **body).status_code in (202, 409)
    assert call("POST", "/api/runs/x/cancel").status_code == 404
    for path in ("long", "./long.yml", "sub\\..\\long.yml", "talks"):
        assert call("POST", "/api/flows/launch", json={"path": path}).status_code in (400, 403), path
    for path in ("sub/echo", "echo", "./echo.yml", "sub//echo.yml"):
        done = call("POST", "/api/flows/launch", json={"path": path, "wait": 30})
        assert (done.status_code, done.json["status"]) == (200, "succeeded"), path
    assert call("POST", "/api/flows/add", json={"path": "daily"}).status_code == 403
    added = api.post("/api/flows/add", json={"path": "daily"}).json["flow_id"]
    assert call("DELETE", f"/api/flows/{added}").status_code == 403
    assert api.delete(f"/api/flows/{added}").status_code == 200


def test_every_call_that_acts_looks_at_the_flow(api: Any) -> None:
    """From the table of routes: with a token that is limited to other flows each of them is refused."""
    run = api.launch(path="long.yml").json["run_id"]
    added = api.post("/api/flows/add", json={"path": "daily"}).json["flow_id"]
    rule = {"cron": "0 6 1 1 *"}
    given = api.post("/api/schedules", json={"flow": "daily", **rule}).json["schedule_id"]
    bodies: dict[str, Any] = {
        "/api/flows/launch": {"path": "long"},
        "/api/flows/add": {"path": "daily"},
        "/api/runs/<run_id>/signal": {"name": "go"},
        "/api/queues/<name>": {"item": 1},
        "/api/schedules": {"flow": "daily", **rule},
        "/api/schedules/<schedule_id>": {"name": "x"},
    }
    places = {
        "<run_id>": run,
        "<flow_id>": added,
        "<schedule_id>": given,
        "<name>": "orders",
        "<item_id>": "x",
        "<path:path>": "long",
        "<int:version>": "1",
    }
    for (method, route), needed in NEEDS.items():
        if needed not in ("run", "schedule", "edit"):
            continue
        path = route
        for name, value in places.items():
            path = path.replace(name, value)
        body = {"json": bodies[route]} if route in bodies and method in ("POST", "PATCH") else {}
        if method == "PUT":
            body = {"data": "steps: []", "content_type": "text/yaml"}
        answer = api.call(method, path, token=False, headers=bearer("limited"), **body)
        assert (answer.status_code, answer.json["code"]) == (403, "forbidden"), (method, route, answer.json)
        assert answer.json["flow"] in ("long.yml", "daily.yml", "listens.yml"), (method, route)
    api.delete(f"/api/schedules/{given}")
    api.delete(f"/api/flows/{added}")


def test_a_listener_whose_file_is_broken_counts(tmp_path: Path) -> None:
    """It gets what is put meanwhile, once it is mended."""
    data = tmp_path / "data"
    (data / "flows" / "sub").mkdir(parents=True)
    (data / "flows" / "sub" / "takes.yml").write_text(f"on: {{queue: shared}}\n{FLOWS['echo.yml']}")
    (data / "flows" / "broken.yml").write_text("on: {queue: shared}\nsteps: []\n")
    service = Service(settings_in(data, CONFIG, RUNNER_TOKEN=TOKENS["runner"]))
    write_listeners(service.store, {"shared": ["broken.yml", "sub/takes.yml"]})
    answer = Api(service).post("/api/queues/shared", json={"item": 1}, token=False, headers=bearer("limited"))
    assert (answer.status_code, answer.json["flow"]) == (403, "broken.yml")
    service.stop(0)


def test_the_history_says_whose_token_it_was(api: Any) -> None:
    """The token's name, and whom it says it acts for; only API_TOKEN is believed as it is."""
    run = api.post("/api/flows/launch", json={"path": "long"}, token=False, headers=bearer("runner")).json[
        "run_id"
    ]
    api.post(
        f"/api/runs/{run}/signal", json={"name": "go", "by": "Ada"}, token=False, headers=bearer("author")
    )
    api.post(f"/api/runs/{run}/signal", json={"name": "on", "by": "Ada"})
    found = api.get(f"/api/runs/{run}").json
    assert found["by"] == "runner"
    assert [event["by"] for event in found["events"] if event["event"] == "signalled"] == [
        "Ada (author)",
        "Ada",
    ]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{name: a, role: viewer}", "give either 'token' or 'sha256'"),
        (
            f'{{name: a, role: viewer, token: "${{T}}", sha256: {"a" * 64}}}',
            "give either 'token' or 'sha256'",
        ),
        ("{name: a, role: viewer, token: plain-secret-text}", "must name a variable of the environment"),
        ('{name: a, role: viewer, token: "${NOT_SET}"}', "the variable ${NOT_SET} is not set"),
        ('{name: a, role: viewer, token: "${SHORT}"}', "shorter than 16 characters"),
        ("{name: a, role: viewer, sha256: 12}", "sha256"),
        (f"{{name: a, role: admin, sha256: {'a' * 64}}}", "must be one of viewer, runner, author"),
        (f"{{name: 'a b', role: viewer, sha256: {'a' * 64}}}", "name"),
        (f"{{name: a, role: viewer, sha256: {'a' * 64}, expires: soon}}", "must be a day like"),
        (f"{{name: a, role: viewer, sha256: {sha256(BEARER['Authorization'][7:])}}}", "is API_TOKEN itself"),
        (f"{{name: api, role: viewer, sha256: {'a' * 64}}}", "stands for somebody else in the history"),
        (f"{{name: CLI, role: viewer, sha256: {'a' * 64}}}", "take another name"),
        (f"{{name: b, role: viewer, sha256: {'b' * 64}}}", "the name 'b' stands twice"),
        (f"{{name: a, role: viewer, sha256: {'c' * 64}}}", "the same token as another one"),
    ],
)
def test_wrong_tokens_stop_the_start_and_are_not_shown(tmp_path: Any, entry: str, said: str) -> None:
    config = f"api:\n  tokens:\n    - {entry}\n    - {{name: b, role: viewer, sha256: {'c' * 64}}}\n"
    with pytest.raises(SettingsError) as error:
        settings_in(tmp_path / "data", config, T="x" * 16, SHORT="x" * 15)
    assert said in error.value.message
    assert "config.yml:3" in error.value.message
    assert "plain-secret-text" not in error.value.message


def test_without_tokens_in_config_only_api_token_counts(api_with: Callable[..., Api]) -> None:
    api = api_with()
    assert api.get("/api/runs").status_code == 200
    assert api.get("/api/runs", token=False, headers=bearer("author")).status_code == 401
