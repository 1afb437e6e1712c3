"""Schedules over the API: added, listed, looked ahead, changed, switched off and on, removed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from flow_processor.api.app import create_app
from flow_processor.service import Service
from tests.api.conftest import settings_in, started_service
from tests.api.support import FLOWS, Api
from tests.engine.world import until

FLOW = "params:\n  day: {type: str, required: true}\nsteps:\n  - {name: out, type: debug, debug: {data_key: .}}\n"
NO_JQ = "steps:\n  - {name: out, type: jq, jq: {expression: 'nothing(1)'}}\n"
YEARLY = "cron: 0 6 1 1 *\nsteps:\n  - {name: out, type: set_fact, set_fact: {value: 1}}\n"
CONFIG = """autostart:
  - daily.yml
  - {path: sub/echo, every_seconds: 86400}
api:
  edit_flows: true
  tokens:
    - {name: looks, token: '${LOOKS}', role: viewer}
    - {name: writes, token: '${WRITES}', role: author, flows: [echo]}
"""
TOKENS = {"LOOKS": "a-token-of-somebody-who-looks", "WRITES": "a-token-of-somebody-who-writes"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Started, with a scheduler that fires."""
    data = tmp_path_factory.mktemp("octospool") / "data"
    flows = {**FLOWS, "day.yml": FLOW, "no_jq.yml": NO_JQ, "yearly.yml": YEARLY}
    with started_service(data, flows, CONFIG, **TOKENS) as service:
        yield service


@pytest.fixture
def api(service: Service) -> Iterator[Api]:
    """The app; schedules that a test added are removed."""
    api = Api(service)
    yield api
    for one in api.get("/api/schedules?limit=500").json["schedules"]:
        if one["origin"] == "api":
            api.delete(f"/api/schedules/{one['schedule_id']}")


def add(api: Api, **body: Any) -> Any:
    """The new schedule of echo.yml."""
    answer = api.post("/api/schedules", json={"flow": "echo", **body})
    assert answer.status_code == 201, answer.json
    return answer.json


def soon(seconds: float) -> str:
    """A moment from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def test_a_schedule_is_added_shown_and_removed(api: Api) -> None:
    answer = api.post(
        "/api/schedules",
        json={
            "flow": "echo",
            "cron": "30 6 * * MON",
            "timezone": "Europe/Berlin",
            "name": "weekly",
            "data": [1],
        },
    )
    made = answer.json
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/api/schedules/{made['schedule_id']}"
    assert (made["flow"], made["origin"], made["state"], made["name"]) == (
        "echo.yml",
        "api",
        "active",
        "weekly",
    )
    assert (made["cron"], made["timezone"], made["data"], made["added_by"]) == (
        "30 6 * * MON",
        "Europe/Berlin",
        [1],
        "api",
    )
    assert made["next_run"] == made["next"][0]
    shown = api.get(f"/api/schedules/{made['schedule_id']}?next=3").json
    assert {**shown, "next": None} == {**made, "next": None}
    assert len(shown["next"]) == 3
    assert all(datetime.fromisoformat(slot).weekday() == 0 for slot in shown["next"])
    assert made["schedule_id"] in {flow["flow_id"] for flow in api.get("/api/flows").json["flows"]}
    removed = api.delete(f"/api/schedules/{made['schedule_id']}")
    assert (removed.status_code, removed.json["status"]) == (200, "removed")
    for method in ("GET", "DELETE", "PATCH"):
        gone = api.call(
            method, f"/api/schedules/{made['schedule_id']}", json={} if method == "PATCH" else None
        )
        assert (gone.status_code, gone.json["code"]) == (404, "schedule_not_found")


def test_it_starts_the_flow_with_its_data_and_is_finished(api: Api) -> None:
    made = add(api, at=soon(0.4), data={"a": [None, "ü"]}, name="once")
    run_id = None
    for _ in range(200):
        shown = api.get(f"/api/schedules/{made['schedule_id']}").json
        if run_id := shown["last_run_id"]:
            break
        threading.Event().wait(0.1)
    run = api.get(f"/api/runs/{run_id}?wait=30").json
    assert (run["status"], run["data"]["out"]) == ("succeeded", {"a": [None, "ü"]})
    assert (run["trigger"], run["schedule_id"], run["slot"]) == (
        "schedule",
        made["schedule_id"],
        made["next_run"],
    )
    assert (shown["state"], shown["next_run"], shown["next"]) == ("finished", None, [])
    again = api.post(f"/api/schedules/{made['schedule_id']}/activate")
    assert (again.status_code, again.json["code"]) == (409, "schedule_finished")


def test_the_list_shows_every_origin_in_pages(api: Api) -> None:
    """Those of files are marked, and `flow` filters."""
    ids = [add(api, every_seconds=3600 + number)["schedule_id"] for number in range(3)]
    added = api.post("/api/flows/add", json={"path": "daily.yml"})
    assert added.status_code == 409  # autostart has it
    found: list[Any] = []
    cursor = ""
    while cursor is not None:
        page = api.get(f"/api/schedules?limit=2{cursor}").json
        assert len(page["schedules"]) <= 2
        found += page["schedules"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    origins = {one["flow"]: one["origin"] for one in found}
    assert origins == {"daily.yml": "autostart", "sub/echo.yml": "autostart", "echo.yml": "api"}
    assert [one["schedule_id"] for one in found if one["origin"] == "api"] == ids
    of_flow = api.get("/api/schedules?flow=echo").json["schedules"]
    assert [one["schedule_id"] for one in of_flow] == ids
    assert api.get("/api/schedules?flow=long").json["schedules"] == []
    typo = api.get("/api/schedules?flow=ecko")
    assert (typo.status_code, typo.json["code"]) == (404, "flow_not_found")
    assert "echo" in typo.json["error"]
    bad = api.get("/api/schedules?cursor=x")
    assert (bad.status_code, bad.json["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        ({"flow": "ecko", "cron": "* * * * *"}, 404, "flow_not_found", "echo"),
        ({"flow": "broken", "cron": "* * * * *"}, 422, "flow_invalid", "valeu"),
        ({"flow": "no_jq", "cron": "* * * * *"}, 422, "flow_invalid", "does not compile"),
        ({"flow": "../x", "cron": "* * * * *"}, 400, "path_refused", "x"),
        ({"cron": "* * * * *"}, 400, "invalid_request", "flow: is missing"),
        ({"flow": "echo"}, 400, "invalid_schedule", "give 'cron'"),
        ({"flow": "echo", "cron": "99 * * * *"}, 400, "invalid_schedule", "minute field '99'"),
        ({"flow": "echo", "cron": "0 0 30 2 *"}, 400, "invalid_schedule", "never comes"),
        ({"flow": "echo", "cron": "* * * * *", "every_seconds": 5}, 400, "invalid_schedule", "only one of"),
        (
            {"flow": "echo", "every_seconds": 0},
            400,
            "invalid_request",
            "every_seconds: must be at least 1, found 0",
        ),
        ({"flow": "echo", "every_seconds": "5"}, 400, "invalid_request", "every_seconds: must be a number"),
        ({"flow": "echo", "at": 1795276604}, 400, "invalid_request", "at: must be text"),
        ({"flow": "echo", "at": "tomorrow"}, 400, "invalid_request", "2026-12-24T18:00:00"),
        ({"flow": "echo", "at": "2020-01-01T00:00"}, 400, "schedule_in_past", "lies in the past"),
        (
            {"flow": "echo", "at": "2032-03-28T02:30", "timezone": "Europe/Berlin"},
            400,
            "invalid_schedule",
            "2032-03-28T03:30:00",
        ),
        ({"flow": "echo", "cron": "* * * * *", "timezone": "Mars"}, 400, "invalid_request", "Europe/Berlin"),
        ({"flow": "echo", "interval": 5}, 400, "invalid_schedule", "repeat_count"),
        ({"flow": "echo", "every_seconds": 5, "catchup": "some"}, 400, "invalid_request", "catchup"),
        ({"flow": "echo", "every_seconds": 5, "evry": 1}, 400, "invalid_request", "evry"),
        ({"flow": "echo", "every_seconds": 5, "params": {"a": 1}}, 400, "params_invalid", "a"),
        ({"flow": "day", "every_seconds": 5}, 400, "params_invalid", "day"),
        ({"flow": "echo", "every_seconds": 5, "data": "x" * 70_000}, 400, "data_too_large", "65,536"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_added(
    api: Api, body: Any, status: int, code: str, said: str
) -> None:
    answer = api.post("/api/schedules", json=body)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert said in answer.json["error"]
    assert all(one["origin"] == "autostart" for one in api.get("/api/schedules").json["schedules"])


def test_a_preview_saves_nothing(api: Api) -> None:
    rule = {"interval": 3600, "repeat_count": 5, "starts_at": "2031-01-01T00:00", "timezone": "Asia/Seoul"}
    answer = api.post("/api/schedules/preview?next=2", json={**rule, "flow": "echo"})
    assert answer.status_code == 200
    assert answer.json["next"] == ["2030-12-31T15:00:00.000Z", "2030-12-31T16:00:00.000Z"]
    assert len(api.post("/api/schedules/preview", json=rule).json["next"]) == 6
    past = api.post("/api/schedules/preview", json={"at": "2020-01-01T00:00"}).json
    assert (past["next"], past["problem"]) == ([], "'at' (2020-01-01T00:00) lies in the past")
    assert answer.json["problem"] is None
    wrong = api.post("/api/schedules/preview", json={"flow": "day", **rule})
    assert (wrong.status_code, wrong.json["code"]) == (400, "params_invalid")
    assert all(one["origin"] == "autostart" for one in api.get("/api/schedules").json["schedules"])


def test_a_change_touches_only_what_is_given(api: Api) -> None:
    made = add(api, cron="0 6 * * *", name="x", data=7, timezone="Europe/Berlin", catchup="all")
    place = f"/api/schedules/{made['schedule_id']}"

    def patch(**body: Any) -> Any:
        answer = api.call("PATCH", place, json=body)
        assert answer.status_code == 200, answer.json
        return answer.json

    changed = patch(name="y")
    assert changed == {**made, "name": "y"}
    changed = patch(every_seconds=7200)
    assert (changed["cron"], changed["every_seconds"]) == (None, 7200)
    assert (changed["timezone"], changed["catchup"], changed["data"]) == ("Europe/Berlin", "all", 7)
    changed = patch(interval=60, repeat_count=2, starts_at="2090-01-01T00:00", timezone=None, data=None)
    assert (changed["every_seconds"], changed["interval"], changed["timezone"]) == (None, 60, "UTC")
    assert (changed["data"], len(changed["next"])) == (None, 3)
    changed = patch(catchup=None, params=None, catchup_max=None, active=False)
    assert (changed["catchup"], changed["params"], changed["state"]) == ("latest", {}, "inactive")
    changed = patch(active=True)
    assert (changed["state"], len(changed["next"])) == ("active", 3)
    for body, code in (
        ({"repeat_count": None}, "invalid_schedule"),
        ({"active": False, "cron": "bad"}, "invalid_schedule"),
        ({"active": False, "name": "z", "at": "2020-01-01T00:00", "starts_at": None}, "schedule_in_past"),
        ({"at": "2020-01-01T00:00", "starts_at": None}, "schedule_in_past"),
        ({"params": {"a": 1}}, "params_invalid"),
        ({"flow": "day"}, "invalid_request"),
    ):
        refused = api.call("PATCH", place, json=body)
        assert (refused.status_code, refused.json["code"]) == (400, code)
    assert api.get(place).json == changed


def test_switched_off_it_has_no_next_run(api: Api) -> None:
    """Each verb may be said twice."""
    made = add(api, every_seconds=3600, active=False)
    place = f"/api/schedules/{made['schedule_id']}"
    assert (made["state"], made["next_run"], made["next"]) == ("inactive", None, [])
    for verb, state in (
        ("deactivate", "inactive"),
        ("activate", "active"),
        ("activate", "active"),
        ("deactivate", "inactive"),
    ):
        answer = api.post(f"{place}/{verb}")
        assert (answer.status_code, answer.json["state"]) == (200, state)
        assert (answer.json["next_run"] is None) == (state == "inactive")
    assert made["schedule_id"] not in {flow["flow_id"] for flow in api.get("/api/flows").json["flows"]}


def test_what_stands_in_a_file_is_edited_there(api: Api) -> None:
    found = {one["flow"]: one["schedule_id"] for one in api.get("/api/schedules").json["schedules"]}
    places = {
        "daily.yml": ("flows/daily.yml:1 and config.yml:2", "flows/daily.yml", 1),
        "sub/echo.yml": ("config.yml:3", "config.yml", 3),
    }
    for flow, (said, file, line) in places.items():
        place = f"/api/schedules/{found[flow]}"
        for call in (
            lambda place: api.call("PATCH", place, json={"every_seconds": 5}),
            lambda place: api.post(f"{place}/deactivate"),
            lambda place: api.post(f"{place}/activate"),
            api.delete,
        ):
            answer = call(place)
            assert (answer.status_code, answer.json["code"]) == (409, "schedule_from_file")
            assert f"stands in {said}:" in answer.json["error"]
            assert (answer.json["file"], answer.json["line"]) == (file, line)


def test_a_one_off_whose_flow_is_gone_tells_why_it_never_ran(api: Api) -> None:
    """Also when the flow is back; and it can be named, and switched off, without it."""
    place, text = "/api/flows/files/once.yml", FLOWS["echo.yml"]
    yaml = {"Content-Type": "text/yaml"}
    assert api.call("PUT", place, data=text, headers=yaml).status_code == 201
    made = api.post("/api/schedules", json={"flow": "once", "at": soon(3)}).json
    assert api.delete(place).status_code == 200
    one = f"/api/schedules/{made['schedule_id']}"
    shown = api.call("PATCH", one, json={"name": "mine"}).json
    assert (shown["name"], shown["state"], shown["next"]) == ("mine", "active", made["next"])
    assert "there is no flow" in shown["problem"]
    until(lambda: api.get(one).json["state"] == "finished", "its moment is past")
    assert api.call("PUT", place, data=text, headers=yaml).status_code == 201
    shown = api.get(one).json
    assert (shown["last_run"], shown["last_run_id"]) == (made["next_run"], None)
    assert shown["problem"].startswith("could not start: there is no flow")
    assert [(slot["slot"], slot["reason"]) for slot in shown["skipped"]] == [
        (made["next_run"], shown["problem"])
    ]
    assert api.delete(one).status_code == 200
    assert api.delete(place).status_code == 200


def test_what_is_asked_often_does_not_read_all_schedules(api: Api, service: Service) -> None:
    """A load balancer asks /readyz each second, beside 10,000 schedules."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        statements.append(statement)

    event.listen(service.store.engine, "before_cursor_execute", note)
    try:
        names = [check["name"] for check in api.get("/readyz").json["checks"]]
        asked = list(statements)
        added = api.post("/api/flows/add", json={"path": "yearly"})
    finally:
        event.remove(service.store.engine, "before_cursor_execute", note)
    assert "autostart" in names
    assert not [one for one in asked if "FROM schedules" in one]
    assert (added.status_code, added.json["cron"], added.json["running"]) == (201, "0 6 1 1 *", False)
    assert not [one for one in statements if "ORDER BY schedules.added_at" in one]
    api.delete(f"/api/flows/{added.json['flow_id']}")


def test_who_may_change_schedules(api: Api, service: Service) -> None:
    """An author, of the flows of the token; whoever reads may look ahead."""
    client = create_app(service).test_client()

    def call(method: str, path: str, who: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {TOKENS[who]}"}
        return client.open(path, method=method, headers=headers, json=body)

    rule = {"flow": "echo", "every_seconds": 3600}
    assert call("POST", "/api/schedules/preview", "LOOKS", rule).status_code == 200
    assert call("POST", "/api/schedules", "LOOKS", rule).status_code == 403
    made = call("POST", "/api/schedules", "WRITES", rule)
    assert (made.status_code, made.json["added_by"]) == (201, "writes")
    other = call("POST", "/api/schedules", "WRITES", {**rule, "flow": "daily"})
    assert (other.status_code, other.json["code"]) == (403, "forbidden")
    of_another = api.post("/api/schedules", json={**rule, "flow": "long"}).json["schedule_id"]
    for method, verb in (("PATCH", ""), ("DELETE", ""), ("POST", "/activate"), ("POST", "/deactivate")):
        body = {} if method == "PATCH" else None
        mine = f"/api/schedules/{made.json['schedule_id']}{verb}"
        assert call(method, mine, "LOOKS", body).status_code == 403
        assert call(method, f"/api/schedules/{of_another}{verb}", "WRITES", body).status_code == 403


def test_schedules_survive_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("octospool") / "data"
    (data / "flows").mkdir(parents=True)
    (data / "flows" / "echo.yml").write_text(FLOWS["echo.yml"], encoding="utf-8")
    before, after = {}, {}
    for found in (before, after):
        service = Service(settings_in(data))
        service.start()
        api = Api(service)
        if not before:
            add(api, every_seconds=3600, data=1)
            add(api, at=soon(3600), active=False)
            add(api, interval=60, repeat_count=3, starts_at=soon(3600))
        for one in api.get("/api/schedules").json["schedules"]:
            found[one["schedule_id"]] = api.get(f"/api/schedules/{one['schedule_id']}").json
        service.stop(0)
    assert before == after
    assert len(before) == 3
