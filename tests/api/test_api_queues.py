"""Queues over the API, with the spool folder behind them: items start runs, wait, fail, are decided on."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from flow_processor.service import Service
from tests.api.conftest import started_service
from tests.api.support import Api
from tests.engine.world import until

ECHO = "steps:\n  - {name: out, type: set_fact, set_fact: {value: ['{{ __input__ }}', '{{ __item__ }}']}}\n"
FLOWS = {
    "orders.yml": f"on: {{queue: orders}}\n{ECHO}",
    "also/orders.yml": f"on: {{queue: orders}}\n{ECHO}",
    "line.yml": f"on: {{queue: line}}\n{ECHO}",
    "bounded.yml": f"on: {{queue: bounded}}\n{ECHO}",
    "held.yml": f"on: {{queue: held}}\n{ECHO}",
    "fast.yml": f"on: {{queue: fast}}\nconcurrency: {{on_conflict: parallel}}\n{ECHO}",
    "picky.yml": "on: {queue: {name: picky, attempts: 2, backoff_seconds: 0}}\nsteps:\n"
    "  - {name: look, type: raise, raise: {message: 'it is {{ __input__.kind }}'}}\n",
    "two/fails.yml": "on: {queue: two}\nsteps:\n  - {name: look, type: raise, raise: {message: no}}\n",
    "two/waits.yml": "on: {queue: two}\nsteps:\n  - {name: go, type: wait, wait: {signal: go}}\n",
    "patient.yml": "on: {queue: {name: patient, attempts: 2, backoff_seconds: 3000}}\nsteps:\n"
    "  - {name: look, type: raise, raise: {message: no}}\n",
    "replaced.yml": "on: {queue: replaced}\nconcurrency: {on_conflict: replace}\nsteps:\n"
    "  - {name: rest, type: sleep, sleep: {seconds: 0.2}}\n",
    "long.yml": "on: {queue: long}\nsteps:\n  - {name: rest, type: sleep, sleep: {seconds: 600}}\n",
}
CONFIG = """
queues:
  small: {max_items: 2, max_item_bytes: 50}
  fast: {rate_per_second: 10}
  bounded: {max_items: 20}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A started service whose flows listen to queues."""
    with started_service(tmp_path_factory.mktemp("octospool") / "data", FLOWS, CONFIG) as service:
        yield service


def put(api: Api, queue: str, *items: Any, **options: Any) -> list[str]:
    """Put items, each by itself where there is one, and give their ids."""
    body = {"item": items[0]} if len(items) == 1 else {"items": list(items)}
    headers = options.pop("headers", {})
    answer = api.post(f"/api/queues/{queue}", json={**body, **options}, headers=headers)
    assert answer.status_code == 202, answer.json
    ids: list[str] = answer.json["ids"]
    return ids


def runs_of(api: Api, item: str, number: int) -> list[dict[str, Any]]:
    """The runs that an item started, once so many have ended."""

    def ended() -> list[dict[str, Any]]:
        found = api.get(f"/api/runs?item={item}").json["runs"]
        return [run for run in found if run["ended_at"] is not None]

    until(lambda: len(ended()) >= number, f"{number} runs of item {item} have ended")
    return ended()


def queue(api: Api, name: str) -> dict[str, Any]:
    shown: dict[str, Any] = api.get(f"/api/queues/{name}").json
    return shown


def at_rest(api: Api, name: str) -> dict[str, Any]:
    """The queue once nothing of it waits or is in work."""
    until(lambda: (queue(api, name)["depth"], queue(api, name)["in_work"]) == (0, 0), f"{name} is worked off")
    return queue(api, name)


def test_an_item_starts_every_flow_that_listens_once(api: Api) -> None:
    answer = api.post("/api/queues/orders", json={"item": {"id": 7}})
    assert (answer.status_code, answer.headers["Location"]) == (202, "/api/queues/orders")
    assert answer.json["listeners"] == ["also/orders.yml", "orders.yml"]
    assert answer.json["paused"] is False
    (item,) = answer.json["ids"]
    runs = runs_of(api, item, 2)
    assert sorted(run["flow"] for run in runs) == ["also/orders.yml", "orders.yml"]
    for run in runs:
        assert (run["trigger"], run["by"], run["status"]) == ("queue", "orders", "succeeded")
        value, told = api.get(f"/api/runs/{run['run_id']}").json["data"]["out"]
        assert (value, told["id"], told["queue"], told["attempt"]) == ({"id": 7}, item, "orders", 1)
    shown = at_rest(api, "orders")
    assert (shown["failed"], shown["problems"], shown["per_minute"] >= 2) == (0, [], True)
    found = api.get("/api/runs?queue=orders").json["runs"]
    assert {run["run_id"] for run in runs} <= {run["run_id"] for run in found}
    assert api.get("/api/runs?queue=line&flow=orders").json["runs"] == []


@pytest.mark.parametrize("value", [None, [], [1, 2], "text", 0, {"a": {"b": [None]}}])
def test_an_item_is_any_json_value(api: Api, value: Any) -> None:
    (item,) = put(api, "line", value)
    (run,) = runs_of(api, item, 1)
    assert api.get(f"/api/runs/{run['run_id']}").json["data"]["out"][0] == value


def test_several_items_keep_their_order_and_the_urgent_ones_come_first(api: Api) -> None:
    at_rest(api, "line")
    assert api.post("/api/queues/line/pause").status_code == 200
    usual = put(api, "line", *range(12))
    urgent = put(api, "line", "now", priority=9)
    between = put(api, "line", "soon", "sooner or later", priority=3)
    until(lambda: queue(api, "line")["depth"] == 15, "all are counted")
    shown = queue(api, "line")
    assert (shown["in_work"], shown["paused"]) == (0, True)
    assert shown["oldest_seconds"] >= 0
    assert api.get("/api/runs?queue=line&status=queued,running").json["runs"] == []
    assert api.post("/api/queues/line/resume").json["paused"] is False
    expected = [*urgent, *between, *usual]
    for item in expected:
        runs_of(api, item, 1)
    ids = [api.get(f"/api/runs?item={item}").json["runs"][0]["run_id"] for item in expected]
    begun = [api.get(f"/api/runs/{run_id}").json["started_at"] for run_id in ids]
    assert begun == sorted(begun)


def test_the_same_key_again_gives_the_same_ids_and_starts_nothing(api: Api) -> None:
    headers = {"Idempotency-Key": "order 7 of 2026-11-21"}
    first = put(api, "orders", 1, 2, headers=headers)
    assert put(api, "orders", 1, 2, headers=headers) == first
    for item in first:
        runs_of(api, item, 2)
    at_rest(api, "orders")
    assert put(api, "orders", 1, 2, headers=headers) == first
    at_rest(api, "orders")
    assert [len(api.get(f"/api/runs?item={item}").json["runs"]) for item in first] == [2, 2]
    assert put(api, "line", 1, 2, headers=headers) != first
    at_rest(api, "line")


def test_the_first_calls_items_are_what_a_key_stands_for(api: Api, service: Service) -> None:
    headers = {"Idempotency-Key": "k-77"}
    api.post("/api/queues/held/pause")
    (item,) = put(api, "held", "first", headers=headers)
    (file,) = (service.settings.data_path / "spool" / "held" / "new").glob("*.json")
    put_at = file.stat().st_mtime_ns
    for other in ({"item": "second"}, {"items": ["first", 2]}, {"item": "first", "priority": 3}):
        answer = api.post("/api/queues/held", json=other, headers=headers)
        assert (answer.status_code, answer.json["code"]) == (409, "idempotency_conflict"), other
    assert put(api, "held", "first", headers=headers) == [item]
    assert queue(api, "held")["depth"] == 1
    assert (file.read_text(), file.stat().st_mtime_ns) == ('"first"', put_at), (
        "it keeps its place in the line"
    )
    api.post("/api/queues/held/resume")
    (run,) = runs_of(api, item, 1)
    assert api.get(f"/api/runs/{run['run_id']}").json["data"]["out"][0] == "first"


def test_a_call_that_was_refused_leaves_its_key_free(api: Api) -> None:
    headers = {"Idempotency-Key": "free"}
    assert api.post("/api/queues/small", json={"item": "x" * 60}, headers=headers).status_code == 413
    assert api.post("/api/queues/small", json={"items": [1, 2]}, headers=headers).status_code == 202
    again = api.post("/api/queues/small", json={"items": [1, 2]}, headers=headers)
    assert again.status_code == 202, "the queue is full, but with these very items"
    api.delete("/api/queues/small/items?state=waiting")


def test_an_item_that_is_tried_again_or_given_up_is_told(
    api: Api, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "octospool.queues")
    (item,) = put(api, "patient", 1)
    (told,) = until(lambda: [one for one in queue(api, "patient")["listening"] if one["again"]], "it waits")
    assert (told["in_work"], told["attempts"]) == (1, 2)
    assert datetime.fromisoformat(told["next_at"]).timestamp() > 0
    until(lambda: f"item {item}: attempt 1 failed; tried again in" in caplog.text, "the pause is in the log")
    (picky,) = put(api, "picky", {"kind": "red"})
    said = f"item {picky} is given up after 2 attempts"
    until(lambda: said in caplog.text, "the end is in the log")
    (line,) = [record for record in caplog.records if said in record.getMessage()]
    assert line.levelname == "WARNING"
    assert "it is red" in line.getMessage()
    assert f"octospool queue failed picky {picky}" in line.getMessage()
    until(lambda: queue(api, "picky")["failed"] == 1, "the item has failed")
    api.delete(f"/api/queues/picky/failed/{picky}")


def test_items_never_cancel_each_other(api: Api) -> None:
    items = put(api, "replaced", 1, 2, 3)
    assert [runs_of(api, item, 1)[0]["status"] for item in items] == ["succeeded"] * 3
    assert at_rest(api, "replaced")["failed"] == 0


def test_a_queue_without_listeners_keeps_what_it_gets(api: Api) -> None:
    answer = api.post("/api/queues/nobody", json={"items": [1, 2]})
    assert (answer.status_code, answer.json["listeners"]) == (202, [])
    assert queue(api, "nobody")["depth"] == 2
    assert "nobody" in [one["queue"] for one in api.get("/api/queues").json["queues"]]


def test_what_was_put_is_counted_with_its_age_at_once(api: Api) -> None:
    api.post("/api/queues/held/pause")
    put(api, "held", *range(5))
    shown = queue(api, "held")
    assert (shown["depth"], shown["oldest_at"] is None) == (5, False)
    assert 0 <= shown["oldest_seconds"] < 60
    api.post("/api/queues/held/resume")
    shown = at_rest(api, "held")
    assert (shown["oldest_at"], shown["oldest_seconds"]) == (None, None)


def test_a_queue_that_nobody_needs_goes_with_what_was_in_it(api: Api, service: Service) -> None:
    spool = service.settings.data_path / "spool"
    put(api, "slip", 1, 2)
    assert api.delete("/api/queues/slip/items?state=done").json["purged"] == 0
    assert queue(api, "slip")["depth"] == 2
    assert api.delete("/api/queues/slip/items?state=waiting").json == {"queue": "slip", "purged": 2}
    assert api.get("/api/queues/slip").status_code == 404
    assert not (spool / "slip").exists()
    put(api, "slip", 3)
    assert queue(api, "slip")["depth"] == 1
    api.post("/api/queues/slip/pause")
    api.delete("/api/queues/slip/items?state=waiting")
    put(api, "slip", 4)
    assert not queue(api, "slip")["paused"], "the pause went with the queue"
    # One that flows listen to stays, for people drop files there.
    assert api.delete("/api/queues/held/items?state=waiting").json["purged"] == 0
    assert (spool / "held" / "new").is_dir()


def test_a_queue_that_is_full_says_when_to_come_again_and_takes_nothing(api: Api) -> None:
    put(api, "small", 1)
    answer = api.post("/api/queues/small", json={"items": [2, 3]})
    assert (answer.status_code, answer.json["code"]) == (429, "queue_full")
    assert int(answer.headers["Retry-After"]) > 0
    assert (answer.json["depth"], answer.json["limit"], queue(api, "small")["depth"]) == (1, 2, 1)
    put(api, "small", 2)
    assert api.post("/api/queues/small", json={"item": 3}).status_code == 429
    never = api.post("/api/queues/small", json={"items": [1, 2, 3]})
    assert (never.status_code, never.json["code"]) == (400, "too_many_items")
    large = api.post("/api/queues/small", json={"items": ["x", "x" * 60]})
    assert (large.status_code, large.json["code"], large.json["index"]) == (413, "item_too_large", 1)
    api.delete("/api/queues/small/items?state=waiting")
    put(api, "small", 3)


def test_no_more_wait_than_the_bound_says_however_many_call_at_once(api: Api) -> None:
    api.post("/api/queues/bounded/pause")
    statuses: list[int] = []

    def call() -> None:
        for _ in range(5):
            statuses.append(api.post("/api/queues/bounded", json={"items": [1, 2]}).status_code)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = statuses.count(202)
    assert (0 < taken <= 10, statuses.count(429)) == (True, 40 - taken)
    until(lambda: queue(api, "bounded")["depth"] == 2 * taken, "all are counted")
    api.post("/api/queues/bounded/resume")
    at_rest(api, "bounded")
    put(api, "bounded", 1)


def test_a_failed_item_is_shown_tried_again_and_deleted(api: Api) -> None:
    (item,) = put(api, "picky", {"kind": "blue"})
    until(lambda: queue(api, "picky")["failed"] == 1, "the item has failed")
    (shown,) = api.get("/api/queues/picky/failed").json["items"]
    (reason,) = shown["reasons"]
    assert (shown["id"], shown["attempts"]) == (item, 2)
    assert (reason["flow"], reason["message"]) == ("picky.yml", "it is blue")
    runs = runs_of(api, item, 2)
    assert reason["run_id"] == runs[0]["run_id"]  # the newest
    assert api.get(f"/api/queues/picky/failed/{item}").json["value"] == {"kind": "blue"}
    again = api.post(f"/api/queues/picky/failed/{item}/retry")
    assert (again.status_code, again.json["status"]) == (202, "retried")
    runs_of(api, item, 4)
    until(lambda: queue(api, "picky")["failed"] == 1, "the item has failed")
    attempts = [api.get(f"/api/runs/{run['run_id']}").json for run in runs_of(api, item, 4)]
    assert len(attempts) == 4
    assert queue(api, "picky")["listening"] == [
        {
            "flow": "picky.yml",
            "attempts": 2,
            "in_work": 0,
            "again": 0,
            "next_at": None,
            "failed": 1,
            "last_good_in_force": False,
        }
    ]
    gone = api.delete(f"/api/queues/picky/failed/{item}")
    assert (gone.status_code, gone.json["status"]) == (200, "deleted")
    assert api.get("/api/queues/picky/failed").json == {"items": [], "next_cursor": None}
    for call in ("get", "delete"):
        answer = getattr(api, call)(f"/api/queues/picky/failed/{item}")
        assert (answer.status_code, answer.json["code"]) == (404, "item_not_found")
    assert api.post(f"/api/queues/picky/failed/{item}/retry").status_code == 404


def test_an_item_is_decided_on_once_no_flow_has_it_any_more(api: Api) -> None:
    (item,) = put(api, "two", [1])
    until(lambda: queue(api, "two")["failed"] == 1, "one flow has given it up")
    assert api.get(f"/api/queues/two/failed/{item}").json["value"] == [1]
    address = f"/api/queues/two/failed/{item}"
    for refused in (api.post(f"{address}/retry"), api.delete(address)):
        assert (refused.status_code, refused.json["code"]) == (409, "item_in_work")
        assert refused.json["flows"] == ["two/waits.yml"]
    waits = until(lambda: api.get(f"/api/runs?item={item}&status=waiting").json["runs"], "the other waits")
    api.post(f"/api/runs/{waits[0]['run_id']}/signal", json={"name": "go"})
    at_rest(api, "two")
    assert api.post(f"{address}/retry").status_code == 202
    runs = runs_of(api, item, 3)
    assert [run["flow"] for run in runs] == ["two/fails.yml", "two/waits.yml", "two/fails.yml"]
    until(lambda: queue(api, "two")["failed"] == 1, "it has failed again")
    assert api.delete(address).status_code == 200
    at_rest(api, "two")
    assert len(api.get(f"/api/runs?item={item}").json["runs"]) == 3


def test_a_file_that_was_refused_is_shown_as_it_lies_there(api: Api, service: Service) -> None:
    data = service.settings.data_path
    hidden = data / "spool" / "line" / "new" / ".bad.json"
    hidden.parent.mkdir(parents=True, exist_ok=True)
    hidden.write_text('{"id": 7', encoding="utf-8")
    os.utime(hidden, (86_400, 86_400))
    hidden.rename(hidden.with_name("bad.json"))
    until(lambda: queue(api, "line")["failed"] == 1, "it is refused")
    (listed,) = api.get("/api/queues/line/failed").json["items"]
    assert (listed["name"], listed["attempts"], listed["put_at"]) == (
        "bad.json",
        0,
        "1970-01-02T00:00:00.000Z",
    )
    assert (data / listed["file"]).read_text() == '{"id": 7'
    shown = api.get(f"/api/queues/line/failed/{listed['id']}").json
    assert (shown["value"], shown["has_value"], shown["text"]) == (None, False, '{"id": 7')
    told = json.loads((data / f"{listed['file']}.reason.json").read_text())
    (reason,) = told.pop("reasons")
    assert told == {"id": listed["id"], "queue": "line", "name": "bad.json", "failed_at": listed["failed_at"]}
    assert (reason["code"], reason["flow"], reason["run_id"], reason["attempts"]) == (
        "invalid_json",
        None,
        None,
        0,
    )
    api.delete(f"/api/queues/line/failed/{listed['id']}")


def _put_away(api: Api, address: str) -> Any:
    """The failed item, once its file lies in `failed/`."""
    shown = api.get(address).json
    return shown if "/failed/" in shown["file"] else None


def test_what_failed_as_null_has_a_value(api: Api, service: Service) -> None:
    (item,) = put(api, "picky", None)
    until(lambda: queue(api, "picky")["failed"] == 1, "the item has failed")
    shown = until(lambda: _put_away(api, f"/api/queues/picky/failed/{item}"), "its file is put away")
    assert (shown["value"], shown["has_value"], shown["text"]) == (None, True, None)
    assert (service.settings.data_path / shown["file"]).read_text() == "null"
    told = json.loads((service.settings.data_path / f"{shown['file']}.reason.json").read_text())
    (reason,) = told["reasons"]
    assert (told["queue"], reason["flow"], reason["attempts"]) == ("picky", "picky.yml", 2)
    api.delete(f"/api/queues/picky/failed/{item}")


def test_failed_items_come_in_pages(api: Api) -> None:
    ids = sorted(put(api, "picky", *({"kind": n} for n in range(5))))
    until(lambda: queue(api, "picky")["failed"] == 5, "all have failed")
    found, cursor = [], ""
    while True:
        page = api.get(f"/api/queues/picky/failed?limit=2{cursor}").json
        found += [one["id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == ids
    assert api.delete("/api/queues/picky/items?state=failed").json["purged"] == 5
    assert queue(api, "picky")["failed"] == 0


def test_what_is_in_work_is_never_purged(api: Api) -> None:
    put(api, "long", *range(5))
    until(lambda: api.get("/api/runs?queue=long&status=running,waiting").json["runs"], "one is at work")
    until(lambda: queue(api, "long")["depth"] == 3, "one more stands in line")
    assert api.delete("/api/queues/long/items?state=waiting").json["purged"] == 3
    assert queue(api, "long")["in_work"] == 2
    for state in ("failed", "done"):
        assert api.delete(f"/api/queues/long/items?state={state}").json["purged"] == 0
    assert queue(api, "long")["in_work"] == 2


def test_no_second_has_more_items_than_the_rate_says(api: Api) -> None:
    ids = put(api, "fast", *range(25))
    for item in ids:
        runs_of(api, item, 1)
    runs = api.get("/api/runs?queue=fast&limit=100").json["runs"]
    at = sorted(datetime.fromisoformat(run["created_at"]) for run in runs)
    assert len(at) == 25
    spans = [(after - before).total_seconds() for before, after in zip(at, at[10:], strict=False)]
    assert min(spans) >= 0.9  # a second, but for the time from the take to the run


def test_readiness_tells_what_is_paused_and_fails_for_nothing(api: Api) -> None:
    api.post("/api/queues/held/pause")
    put(api, "held", 1)
    ready = api.get("/readyz")
    (check,) = [one for one in ready.json["checks"] if one["name"] == "queues"]
    assert (ready.status_code, check["ok"], check["message"]) == (200, True, "'held' is paused")
    api.post("/api/queues/held/resume")
    at_rest(api, "held")
    (check,) = [one for one in api.get("/readyz").json["checks"] if one["name"] == "queues"]
    assert check["message"] == "all are worked off"


def test_a_pause_survives_a_restart_with_who_and_when(tmp_path: Path) -> None:
    with started_service(tmp_path / "data", FLOWS, CONFIG) as service:
        paused = Api(service).post("/api/queues/held/pause").json
        assert Api(service).post("/api/queues/held/pause").json["paused_at"] == paused["paused_at"]
        (item,) = put(Api(service), "held", 1)
    with started_service(tmp_path / "data", FLOWS, CONFIG) as service:
        api = Api(service)
        shown = queue(api, "held")
        assert (shown["paused"], shown["paused_by"], shown["depth"]) == (True, "api", 1)
        assert shown["paused_at"] == paused["paused_at"]
        (other,) = put(api, "line", 1)
        runs_of(api, other, 1)  # this daemon takes items
        assert api.get("/api/runs?queue=held").json["runs"] == []
        api.post("/api/queues/held/resume")
        assert runs_of(api, item, 1)[0]["status"] == "succeeded"


def test_many_callers_at_once_lose_nothing(api: Api) -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: ids.extend(put(api, "orders", *(f"{n}-{m}" for m in range(5)))))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 40
    for item in ids:
        runs_of(api, item, 2)
    at_rest(api, "orders")
    assert all(len(api.get(f"/api/runs?item={item}").json["runs"]) == 2 for item in ids)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "give either 'item'"),
        ({"item": 1, "items": [2]}, "give either 'item'"),
        ({"items": []}, "items: must not be empty"),
        ({"items": {"a": 1}}, "items: must be a list, found"),
        ({"items": [1] * 10_001}, "items: must be at most 10000 entries long"),
        ({"itme": 1}, "did you mean 'item'?"),
        ({"item": 1, "priority": 10}, "priority: must be at most 9, found 10"),
        ({"item": 1, "priority": "5"}, 'priority: must be a whole number, found "5"'),
        ([1, 2], "body"),
    ],
)
def test_a_wrong_body_is_refused(api: Api, body: Any, said: str) -> None:
    answer = api.post("/api/queues/orders", json=body)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
    assert said in answer.json["error"]


@pytest.mark.parametrize("name", ["..", ".hidden", "a b", "a" * 101, "-x", "ä", "a%2Fb", "a%0Ab"])
def test_a_name_that_no_queue_can_have_is_refused(api: Api, name: str, service: Service) -> None:
    answer = api.post(f"/api/queues/{name}", json={"item": 1})
    assert answer.status_code in (400, 404, 405)
    assert answer.json["code"] in ("invalid_queue_name", "route_not_found", "method_not_allowed")
    assert not list((service.settings.data_path / "spool").glob("**/*a b*"))


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", ""),
        ("GET", "/failed"),
        ("GET", "/failed/x"),
        ("POST", "/failed/x/retry"),
        ("DELETE", "/failed/x"),
        ("DELETE", "/items?state=waiting"),
        ("POST", "/pause"),
        ("POST", "/resume"),
    ],
)
def test_a_queue_that_is_not_there_is_a_404_with_a_near_name(api: Api, method: str, address: str) -> None:
    answer = api.call(method, f"/api/queues/oders{address}")
    assert (answer.status_code, answer.json["code"]) == (404, "queue_not_found")
    assert "did you mean 'orders'?" in answer.json["error"]


@pytest.mark.parametrize("query", ["", "?state=all", "?state=", "?all=true"])
def test_a_purge_says_what_is_to_go(api: Api, query: str) -> None:
    assert api.delete(f"/api/queues/orders/items{query}").status_code == 400


def test_a_cursor_that_no_page_gave_is_refused(api: Api) -> None:
    for cursor in ("zz", "", "x" * 300):
        answer = api.get(f"/api/queues/orders/failed?cursor={cursor}")
        assert (answer.status_code, answer.json["code"]) == (400, "invalid_request"), cursor
        assert "no page gave this cursor" in answer.json["error"]


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_who_pauses_may_say_who_it_is_and_nothing_unknown_is_passed_over(api: Api, verb: str) -> None:
    answer = api.post(f"/api/queues/also/{verb}", json={"bx": "night shift"})
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
    assert "bx: is not known here (known: by)" in answer.json["error"]
    put(api, "also", 1)
    said = api.post(f"/api/queues/also/{verb}", json={"by": "night shift"}).json
    assert (said["paused"], said["paused_by"]) == (
        (True, "night shift") if verb == "pause" else (False, None)
    )


@pytest.mark.parametrize("key", ["", " ", "x" * 201])
def test_a_key_that_says_nothing_is_refused(api: Api, key: str) -> None:
    answer = api.post("/api/queues/orders", json={"item": 1}, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
