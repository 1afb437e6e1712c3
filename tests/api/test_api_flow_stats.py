"""How flows have been doing: figures of their newest runs, and the last and the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flow_processor.api.server import ApiServer
from flow_processor.cli.daemon import Daemon
from flow_processor.run import RunFilter, RunStatus, Trigger, new_run_id
from flow_processor.service import Service
from flow_processor.store import run_stats
from flow_processor.store.runs import RunRow, insert_run
from tests.api.conftest import settings_in
from tests.api.support import TOKEN, Api

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
STEPS = "steps:\n  - {name: a, type: jq, jq: {expression: '1'}}\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that was not started: nothing here runs."""
    data = tmp_path_factory.mktemp("octospool") / "data"
    (data / "flows" / "sub").mkdir(parents=True)
    for name in ("report.yml", "sub/daily.yml", "new.yml"):
        cron = "cron: 0 6 * * *\n" if "daily" in name else ""
        (data / "flows" / name).write_text(cron + STEPS, encoding="utf-8")
    service = Service(settings_in(data))
    yield service
    service.stop(0)


@pytest.fixture
def api(service: Service) -> Api:
    return Api(service)


def put(service: Service, number: int, status: RunStatus, **more: Any) -> str:
    """A run that was accepted `number` minutes after noon, waited a second, and took `number` seconds."""
    at = NOON + timedelta(minutes=number)
    begun = None if status in (RunStatus.SKIPPED, RunStatus.QUEUED) else at.timestamp() + 1
    ended = at.timestamp() + 1 + number if status.is_terminal else None
    run = RunRow(
        id=new_run_id(at),
        flow="report.yml",
        flow_hash="h",
        trigger=Trigger.API,
        trigger_by="api",
        status=status,
        input=None,
        created_at=at.timestamp(),
        started_at=begun,
        ended_at=ended,
    )
    run = replace(run, **more)
    service.store.writer.run(lambda connection: insert_run(connection, run))
    return run.id


def error(code: str, step: str | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": code, "details": {}, "step": step}}


@pytest.fixture(scope="module")
def ids(service: Service) -> list[str]:
    """Hundred runs of report.yml, one a minute; and some of another flow."""
    made = []
    for number in range(1, 101):
        status, more = RunStatus.SUCCEEDED, {}
        if number in (10, 20, 30):
            status, more = RunStatus.FAILED, error("rest_failed", f"loop[{number}]/fetch#2")
        elif number == 40:
            status, more = RunStatus.FAILED, error("flow_timeout")
        elif number == 50:
            status, more = RunStatus.SKIPPED, error("overlap")
        elif number == 60:
            status = RunStatus.EXITED
        elif number == 70:  # it waited in the queue
            status, more = RunStatus.CANCELLED, {"started_at": None}
        elif number == 100:
            status = RunStatus.RUNNING
        made.append(put(service, number, status, **more))
    put(service, 1, RunStatus.FAILED, flow="sub/daily.yml", **error("other"))
    return made


def test_figures_of_all_runs_of_a_flow(api: Api, ids: list[str]) -> None:
    """Skipped and live ones, and who was cancelled in the queue, are counted, and are no part of rates and times."""
    stats = api.get("/api/flows/files/report/stats").json
    assert (stats["flow"], stats["runs"], stats["complete"]) == ("report.yml", 100, True)
    counts = {"succeeded": 92, "cancelled": 1, "failed": 4, "skipped": 1, "exited": 1, "running": 1}
    assert stats["by_status"] == counts
    assert stats["success_rate"] == round(93 / 97, 4)
    took = stats["duration_seconds"]
    assert (took["p50"], took["p90"], took["p99"], took["max"]) == (49, 90, 99, 99)
    assert took["average"] == round((sum(range(1, 100)) - 50 - 70) / 97, 3)
    assert stats["average_wait_seconds"] == 1
    assert stats["errors"] == [{"code": "rest_failed", "runs": 3}, {"code": "flow_timeout", "runs": 1}]
    assert stats["failing_steps"] == [{"step": "loop/fetch", "runs": 3}]
    assert stats["last_run"]["run_id"] == ids[99]
    assert stats["last_success"]["run_id"] == ids[98]
    assert stats["last_failure"]["run_id"] == ids[39]
    assert stats["next_run"] is None


def test_a_part_of_the_time(api: Api, ids: list[str]) -> None:
    """The last ones are the last of all."""
    stats = api.get(
        "/api/flows/files/report.yml/stats?since=2026-11-01T12:10:00&until=2026-11-01T12:20:00Z"
    ).json
    assert stats["runs"] == 10
    assert stats["by_status"] == {"succeeded": 9, "failed": 1}
    assert (stats["since"], stats["until"]) == ("2026-11-01T12:10:00.000Z", "2026-11-01T12:20:00.000Z")
    assert stats["last_run"]["run_id"] == ids[99]


def test_more_runs_than_are_added_up(api: Api, ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest ones, of all statuses together."""
    monkeypatch.setattr(run_stats, "ADDED_UP", 50)
    stats = api.get("/api/flows/files/report/stats").json
    assert (stats["runs"], stats["complete"]) == (50, False)
    assert stats["by_status"] == {"succeeded": 47, "cancelled": 1, "exited": 1, "running": 1}
    assert stats["duration_seconds"]["max"] == 99
    monkeypatch.setattr(run_stats, "ADDED_UP", 100)
    assert api.get("/api/flows/files/report/stats").json["complete"] is True


def test_a_flow_without_runs_and_with_a_schedule(api: Api, service: Service) -> None:
    stats = api.get("/api/flows/files/new/stats").json
    assert (stats["runs"], stats["by_status"], stats["complete"]) == (0, {}, True)
    empty = (
        "success_rate",
        "duration_seconds",
        "average_wait_seconds",
        "last_run",
        "last_success",
        "next_run",
    )
    assert [stats[name] for name in empty] == [None] * len(empty)
    api.post("/api/flows/add", json={"path": "sub/daily"})
    next_run = api.get("/api/flows/files/sub/daily/stats").json["next_run"]
    assert next_run is not None
    assert next_run == api.get("/api/flows").json["flows"][0]["next_run"]


def test_a_flow_that_is_gone_keeps_its_figures_and_one_that_never_was_has_none(
    api: Api, service: Service
) -> None:
    put(service, 1, RunStatus.SUCCEEDED, flow="gone.yml")
    assert api.get("/api/flows/files/gone/stats").json["runs"] == 1
    answer = api.get("/api/flows/files/never/stats")
    assert (answer.status_code, answer.json["code"]) == (404, "flow_not_found")
    assert api.get("/api/flows/files/..%2Fx/stats").status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "until=x",
        "sinse=2026-01-01",
        "since=1&until=2",
        "since=9999-12-31T23:59:59-14:00",
        "until=0001-01-01T00:00:00%2B14:00",
        "since=2026-11-02&until=2026-11-01",
    ],
)
def test_wrong_queries_are_refused(api: Api, query: str) -> None:
    assert api.get(f"/api/flows/files/report/stats?{query}").status_code == 400


# Lists of the same runs, over the API: what each filter finds is the store's business (tests/store/test_run_lists.py).


def found(api: Api, query: str) -> Any:
    answer = api.get(f"/api/runs?flow=report&limit=500&{query}")
    assert answer.status_code == 200, answer.json
    return answer.json


@pytest.mark.parametrize(
    ("query", "minutes"),
    [
        ("error=rest_failed,flow_timeout", [40, 30, 20, 10]),
        ("error_text=TIMEOUT", [40]),
        ("longer_than=97.5&status=succeeded", [99, 98]),
        ("shorter_than=3&order=oldest", [1, 2]),
        ("started_since=2026-11-01T13:39:00Z", [100, 99]),
        ("started_until=2026-11-01T12:02:00Z", [1]),
        ("ended_since=2026-11-01T13:40:00Z", [99]),
        ("ended_until=2026-11-01T12:03:00Z", [2, 1]),
        ("since=2026-11-01T13:39:00Z&by=api", [100, 99]),
        ("by=nobody", []),
        ("schedule=none", []),
        ("retry_of=none", []),
        ('params={"day": "x"}', []),
        ('params={"n": 99999999999999999999}', []),
        ("since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z&longer_than=98.5", [100, 99]),
        ("started_since=0001-01-01&started_until=9999-12-31T23:59:59Z&longer_than=98.5", [100, 99]),
        ("ended_since=0001-01-01&ended_until=9999-12-31T23:59:59Z&longer_than=98.5", [99]),
    ],
)
def test_filters_over_the_api(api: Api, ids: list[str], query: str, minutes: list[int]) -> None:
    runs = found(api, query)["runs"]
    assert [run["run_id"] for run in runs] == [ids[minute - 1] for minute in minutes]


def test_flows_by_folder_and_pattern(api: Api, ids: list[str]) -> None:
    for flow in ("sub/", "s*", "*/dail?", "./sub/"):
        (run,) = api.get("/api/runs", query_string={"flow": flow}).json["runs"]
        assert (run["flow"], run["reason"]) == ("sub/daily.yml", "other")


def test_runs_are_counted_if_that_is_asked_for_and_cheap(api: Api, ids: list[str]) -> None:
    assert found(api, "total=true&status=failed")["total"] == 4
    page = api.get("/api/runs?flow=report&total=true&limit=2").json
    assert (page["total"], page["total_is_exact"], len(page["runs"])) == (100, True, 2)
    assert found(api, "total=true&by=api")["total"] is None
    assert found(api, "")["total"] is None


@pytest.mark.parametrize(
    "query",
    [
        "longer_than=-1",
        "longer_than=nan",
        "order=up",
        "params=day",
        "params=[1]",
        'params={"a b": 1}',
        'params={"a": [1]}',
        'params={"n": "\\ud800"}',
        "since=0001-01-01T00:00:00%2B14:00",
        "since=9999-12-31T23:59:59-14:00",
        "until=2026-11-01&since=2026-11-02",
        "started_since=2026-11-01&started_until=2026-11-01",
        "ended_since=2026-11-02&ended_until=2026-11-01",
        "longer_than=10&shorter_than=5",
        "started_since=x",
        "total=perhaps",
        "flow=",
        "cursor=x",
        "statuss=failed",
    ],
)
def test_wrong_filters_are_refused(api: Api, query: str) -> None:
    answer = api.get(f"/api/runs?{query}")
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")


def test_the_page_of_the_flow_is_no_folder_of_another(service: Service, tmp_path: Path) -> None:
    """A flow named `stats` is a file like others."""
    (service.settings.flows_path / "stats.yml").write_text(STEPS, encoding="utf-8")
    api = Api(service)
    assert api.get("/api/flows/files/stats").json["path"] == "stats.yml"
    assert api.get("/api/flows/files/stats/stats").json["flow"] == "stats.yml"


def test_the_command_asks_a_daemon_for_the_same(
    service: Service, ids: list[str], serve_on_a_port: Callable[[Any], ApiServer]
) -> None:
    """Every filter goes over the wire as it was given."""
    daemon = Daemon(serve_on_a_port(service).url, TOKEN)
    everything = RunFilter(
        flow="rep*",
        status=(RunStatus.FAILED, RunStatus.SUCCEEDED),
        trigger=(Trigger.API,),
        by="api",
        since=NOON,
        until=NOON + timedelta(days=1),
        started_since=NOON,
        started_until=NOON + timedelta(days=1),
        ended_since=NOON,
        ended_until=NOON + timedelta(days=1),
        longer_than=0.0,
        shorter_than=31,
        oldest_first=True,
    )
    for wanted in (
        everything,
        replace(everything, error=("rest_failed", "other"), error_text="rest"),
        replace(everything, params={"day": "a,b", "n": 1}),
        replace(everything, schedule="s", parent="p"),
        RunFilter(retry_of="x"),
        RunFilter(),
    ):
        here, there = service.runs(wanted, limit=500), daemon.runs(wanted, limit=500)
        assert [run.run_id for run in there.runs] == [run.run_id for run in here.runs]
    assert len(daemon.runs(everything, limit=500).runs) == 30
    assert daemon.flow_stats("sub/daily", since=NOON) == service.flow_stats("sub/daily", since=NOON)
    daemon.close()
