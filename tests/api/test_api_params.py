"""Parameters of flows, as whoever launches, schedules and tries again meets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flow_processor.service import Service
from tests.api.conftest import settings_in
from tests.api.support import Api

REPORT = """
name: Report
params:
  day: {type: date, required: true, description: Which day}
  limit: {type: int, default: 10, min: 1, max: 100}
  level: {type: choice, options: [short, long], default: short}
  tags: {type: list, items: str}
steps:
  - {name: out, type: set_fact, set_fact: {value: "{{ params.day }} {{ params.limit }} {{ params.level }}"}}
  - {name: counted, type: jq, jq: {expression: ".params.limit + 1"}}
  - {name: bad, type: jq, when: "params.level == 'long'", jq: {expression: 'error("long")'}}
"""
CALLS = """
params: {first: date}
steps:
  - {name: one, type: flow, flow: {path: report, params: {day: "{{ params.first }}", limit: 3}}}
  - {name: days, type: set_fact, set_fact: {value: ["2026-01-01", "soon"]}}
  - name: all
    type: flow_loop
    flow_loop: {path: report.yml, data_key: days, params: {day: "{{ item }}", limit: "{{ __loop_index__ }}"}}
"""
NIGHTLY = """
schedule: {cron: "0 2 * * *", params: {limit: 5}}
params: {limit: {type: int, max: 9, required: true}, who: str}
steps:
  - {name: out, type: set_fact, set_fact: {value: "{{ params.limit }} {{ params.who }}"}}
"""
HOURLY = """
params: {who: {required: true}}
steps: [{name: out, type: set_fact, set_fact: {value: 1}}]
"""
CONFIG = """
autostart:
  - {path: hourly.yml, every_seconds: 3600, params: {who: me}}
  - {path: hourly2.yml, every_seconds: 3600}
"""


@pytest.fixture(scope="module")
def params_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service with the flows of above."""
    data = tmp_path_factory.mktemp("params") / "data"
    flows = data / "flows"
    flows.mkdir(parents=True)
    written = {"report": REPORT, "calls": CALLS, "nightly": NIGHTLY, "hourly": HOURLY, "hourly2": HOURLY}
    for name, text in written.items():
        (flows / f"{name}.yml").write_text(text, encoding="utf-8")
    (flows / "plain.yml").write_text("steps: [{name: out, type: exit}]\n", encoding="utf-8")
    service = Service(settings_in(data, CONFIG))
    service.start()
    yield Api(service)
    service.stop(0)


def keys(answer: Any) -> list[tuple[str, str]]:
    """(code, key) of the problems of a refusal."""
    assert (answer.status_code, answer.json["code"]) == (400, "params_invalid"), answer.json
    return [(problem["code"], problem["key"]) for problem in answer.json["problems"]]


def test_values_and_defaults_reach_templates_jq_and_the_run_s_detail(params_api: Api) -> None:
    run = params_api.launch(path="report", params={"day": "2026-11-21", "limit": "12"}, wait=30).json
    assert run["data"]["out"] == "2026-11-21 12 short"
    assert run["data"]["counted"] == 13
    expected = {"day": "2026-11-21", "limit": 12, "level": "short", "tags": None}
    assert run["params"] == run["data"]["params"] == expected


def test_everything_wrong_is_named_at_once(params_api: Api) -> None:
    answer = params_api.launch(path="report", params={"limit": 500, "levle": "long", "tags": [1]})
    assert keys(answer) == [
        ("unknown_key", "levle"),
        ("missing_key", "day"),
        ("invalid_value", "limit"),
        ("invalid_value", "tags"),
    ]
    assert "did you mean 'level'?" in answer.json["error"]
    assert "must be at most 100, found 500" in answer.json["error"]


def test_a_flow_without_parameters_takes_none_and_shows_none(params_api: Api) -> None:
    assert keys(params_api.launch(path="plain", params={"x": 1})) == [("unknown_key", "x")]
    run = params_api.launch(path="plain", params={}, wait=30).json
    assert (run["status"], run["params"], "params" in run["data"]) == ("exited", None, False)


def test_a_form_can_be_drawn_from_the_schema(params_api: Api) -> None:
    file = params_api.get("/api/flows/files/report").json
    assert (file["path"], file["valid"], file["name"]) == ("report.yml", True, "Report")
    assert file["params"] == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "day": {"type": "string", "format": "date", "description": "Which day"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
            "level": {"type": "string", "enum": ["short", "long"], "default": "short"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["day"],
        "additionalProperties": False,
    }
    assert params_api.get("/api/flows/files/reprot.yml").status_code == 404


def test_sub_flows_are_given_values_and_a_wrong_one_is_that_element_s_error(params_api: Api) -> None:
    data = params_api.launch(path="calls", params={"first": "2026-11-20"}, wait=30).json["data"]
    assert data["one"]["out"] == "2026-11-20 3 short"
    assert data["one"]["params"]["limit"] == 3
    assert [one.get("out") for one in data["all"]] == ["2026-01-01 1 short", None]
    (error,) = data["__errors__"]
    assert (error["code"], error["index"]) == ("params_invalid", 2)
    assert "day: must be a date such as 2026-11-21" in error["error"]


def test_a_retry_keeps_the_values_or_takes_others(params_api: Api) -> None:
    failed = params_api.launch(path="report", params={"day": "2026-11-21", "level": "long"}, wait=30).json
    place = f"/api/runs/{failed['run_id']}/retry"
    assert failed["status"] == "failed"
    kept = params_api.post(place, json={}).json["run_id"]
    run = params_api.get(f"/api/runs/{kept}?wait=30").json
    assert (run["status"], run["params"]) == ("failed", failed["params"])
    assert keys(params_api.post(place, json={"params": {"level": "lang"}})) == [
        ("missing_key", "day"),
        ("invalid_value", "level"),
    ]
    other = params_api.post(place, json={"params": {"day": "2026-11-22"}}).json["run_id"]
    run = params_api.get(f"/api/runs/{other}?wait=30").json
    assert (run["status"], run["params"]["day"]) == ("succeeded", "2026-11-22")


def test_a_flow_is_only_added_with_values_that_it_takes(params_api: Api) -> None:
    assert keys(params_api.post("/api/flows/add", json={"path": "nightly", "params": {"limit": 10}})) == [
        ("invalid_value", "limit")
    ]
    added = params_api.post("/api/flows/add", json={"path": "nightly", "params": {"who": "ops"}})
    assert added.status_code == 201
    assert added.json["params"] == {"limit": 5, "who": "ops"}
    params_api.delete(f"/api/flows/{added.json['flow_id']}")


def test_autostart_gives_values_and_says_what_is_missing(params_api: Api) -> None:
    added = {flow["path"]: flow for flow in params_api.get("/api/flows").json["flows"]}
    assert (added["hourly.yml"]["problem"], added["hourly.yml"]["params"]) == (None, {"who": "me"})
    assert added["hourly2.yml"]["next_run"] is None
    assert "params: who: is missing" in added["hourly2.yml"]["problem"]


def test_a_schedule_s_run_has_the_schedule_s_values(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "flows").mkdir(parents=True)
    text = NIGHTLY.replace('cron: "0 2 * * *"', "every_seconds: 1")
    (data / "flows" / "nightly.yml").write_text(text, encoding="utf-8")
    service = Service(settings_in(data, "autostart: [{path: nightly.yml, params: {who: cron}}]"))
    service.start()
    try:
        api = Api(service)
        runs: list[Any] = []
        while not runs:
            runs = api.get("/api/runs?status=succeeded&limit=1").json["runs"]
        run = api.get(f"/api/runs/{runs[0]['run_id']}").json
        assert (run["trigger"], run["data"]["out"]) == ("schedule", "5 cron")
    finally:
        service.stop(0)
