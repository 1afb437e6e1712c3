"""`octospool schedules`: without a daemon, by the process itself; with one, by the daemon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from flow_processor.api.server import ApiServer
from flow_processor.cli.exits import ExitCode
from flow_processor.service import Service
from flow_processor.settings import Settings

Octospool = Callable[..., Result]
FLOW = "params:\n  level: {type: str, default: short}\nsteps:\n  - {name: a, type: set_fact, set_fact: {value: 1}}\n"


def as_json(result: Result) -> Any:
    """What the command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_schedule_from_its_begin_to_its_end(folder: Path, flow: Any, octospool: Octospool) -> None:
    flow("report.yml", FLOW)
    rule = ("--interval", "10m", "--repeat-count", "5", "--starts-at", "2031-01-01T00:00")
    zone = ("--timezone", "Asia/Seoul")
    ahead = as_json(octospool("schedules", "preview", *rule, *zone, "--next", "2", "--json"))
    assert ahead["next"] == ["2030-12-31T15:00:00.000Z", "2030-12-31T15:10:00.000Z"]
    values = ("--param", "level=long", "--data", '{"a": 1}', "--name", "tens")
    made = as_json(octospool("schedules", "add", "report", *rule, *zone, *values, "--json"))
    assert (made["flow"], made["params"], made["data"], made["added_by"]) == (
        "report.yml",
        {"level": "long"},
        {"a": 1},
        "cli",
    )
    listed = octospool("schedules")
    assert "every 600 s, 6 times, from 2031-01-01T00:00" in listed.stdout
    assert "2030-12-31 15:00" in listed.stdout
    shown = octospool("schedules", "show", made["schedule_id"], "--next", "6")
    assert shown.stdout.count("2031-01-01 00:") == 6
    assert "2031-01-01 00:00:00 +09:00 Asia/Seoul" in shown.stdout
    changed = octospool("schedules", "change", made["schedule_id"], "--every-seconds", "2h", "--name", "more")
    assert changed.exit_code == 0, changed.output
    assert "every 7200 s, from 2031-01-01T00:00" in changed.stdout
    assert "more" in changed.stdout
    assert octospool("schedules", "deactivate", made["schedule_id"]).exit_code == 0
    (one,) = as_json(octospool("schedules", "list", "--flow", "report", "--json"))["schedules"]
    assert (one["state"], one["next_run"]) == ("inactive", None)
    assert octospool("schedules", "activate", made["schedule_id"]).exit_code == 0
    assert octospool("schedules", "remove", made["schedule_id"]).exit_code == 0
    assert as_json(octospool("schedules", "--json")) == {"schedules": []}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "nothing", "--at", "2031-01-01T00:00"), "there is no flow"),
        (("add", "report"), "give 'cron'"),
        (("add", "report", "--at", "tomorrow"), "2026-12-24T18:00"),
        (("add", "report", "--cron", "* * * * *", "--param", "levl=x"), "level"),
        (("list", "--flow", "reprot"), "did you mean 'report.yml'"),
        (("preview", "--at", "2031-01-01T00:00", "--ends-at", "2030-01-01T00:00"), "lies before at"),
        (("change", "nothing", "--every-seconds", "60"), "there is no schedule 'nothing'"),
        (("show", "nothing"), "there is no schedule 'nothing'"),
        (("remove", "nothing"), "there is no schedule 'nothing'"),
    ],
)
def test_what_is_wrong_is_said(
    folder: Path, flow: Any, octospool: Octospool, words: tuple[str, ...], said: str
) -> None:
    flow("report.yml", FLOW)
    result = octospool("schedules", *words)
    assert result.exit_code != ExitCode.OK
    assert said in result.stderr


def test_a_preview_tells_the_moments_of_the_rule_s_own_zone(
    folder: Path, flow: Any, octospool: Octospool
) -> None:
    """On both sides of a change of the clocks; and what would be refused."""
    rule = ("--cron", "30 6 * * *", "--starts-at", "2030-03-30T00:00", "--timezone", "Europe/Berlin")
    ahead = octospool("schedules", "preview", *rule, "--next", "2")
    assert ahead.stdout.splitlines() == [
        "2030-03-30 06:30:00 +01:00 Europe/Berlin",
        "2030-03-31 06:30:00 +02:00 Europe/Berlin",
    ]
    assert "refused" not in octospool("schedules", "preview", *rule, "--next", "0").stderr
    past = octospool("schedules", "preview", "--at", "2020-01-01T00:00")
    assert "it would be refused: 'at' (2020-01-01T00:00) lies in the past" in past.stderr


def test_with_a_daemon_it_does_the_work(folder: Path, flow: Any, octospool: Octospool) -> None:
    flow("report.yml", FLOW)
    service = Service(Settings.load({"DATA_PATH": str(folder), "API_PORT": "0"}))
    server = ApiServer(service)
    service.start(api_url=server.url)
    server.start()
    try:
        made = as_json(octospool("schedules", "add", "report", "--every-seconds", "3600", "--json"))
        assert made["added_by"] == "api"
        assert service.schedules.one(made["schedule_id"]).next_run is not None
        assert "every 3600 s" in octospool("schedules").stdout
        changed = octospool("schedules", "change", made["schedule_id"], "--data", "[1]", "--json")
        assert (as_json(changed)["data"], as_json(changed)["every_seconds"]) == ([1], 3600)
        assert octospool("schedules", "deactivate", made["schedule_id"]).exit_code == 0
        assert service.schedules.one(made["schedule_id"]).state == "inactive"
        assert octospool("schedules", "activate", made["schedule_id"]).exit_code == 0
        assert octospool("schedules", "remove", made["schedule_id"]).exit_code == 0
    finally:
        server.stop()
        service.stop(0)
