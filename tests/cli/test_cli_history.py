"""`octospool runs list` with its filters, and `octospool flows stats`: over a store that runs have filled."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from flow_processor.run import RunStatus, Trigger, new_run_id
from flow_processor.store import Store
from flow_processor.store.runs import RunRow, insert_run

Octospool = Callable[..., Result]
NOW = datetime.now(UTC)


@pytest.fixture
def ids(folder: Path) -> list[str]:
    """Runs that were accepted 1, 2, … hours ago; each took as many minutes."""
    store = Store(f"sqlite:///{folder / 'octospool.db'}")
    runs = []
    for hours in range(1, 7):
        at = NOW - timedelta(hours=hours)
        run = RunRow(
            id=new_run_id(at),
            flow="sub/a.yml" if hours % 2 else "b.yml",
            flow_hash="h",
            trigger=Trigger.WEBHOOK if hours == 3 else Trigger.API,
            trigger_by="push" if hours == 3 else "api",
            status=RunStatus.SUCCEEDED,
            input=None,
            params={"n": hours},
            created_at=at.timestamp(),
            started_at=at.timestamp(),
            ended_at=at.timestamp() + hours * 60,
        )
        if hours == 5:
            failure = {"code": "rest_failed", "message": "HTTP 500", "details": {}, "step": "fetch"}
            run = replace(run, status=RunStatus.FAILED, error=failure)
        runs.append(run)
    store.writer.run(lambda connection: [insert_run(connection, run) for run in runs])
    store.close()
    return [run.id for run in runs]


@pytest.mark.parametrize(
    ("options", "hours"),
    [
        ("--flow sub/", [1, 3, 5]),
        ("--flow *a", [1, 3, 5]),
        ("--flow b", [2, 4, 6]),
        ("--by push", [3]),
        ("--trigger webhook --trigger cli", [3]),
        ("--trigger webhook,cli", [3]),
        ("--status failed,succeeded --limit 2 --status queued", [1, 2]),
        ("--since 0001-01-01 --until 9999-12-31T23:59:59Z --limit 1", [1]),
        ("--longer-than 4m", [5, 6]),
        ("--longer-than 4m --shorter-than 301", [5]),
        ("--error rest_failed --error other", [5]),
        ("--error none,rest_failed", [5]),
        ("--error-text http", [5]),
        ("--param n=4", [4]),
        ("--param n:=4 --flow b", [4]),
        ("--started-since 150m", [1, 2]),
        ("--ended-until 330m", [6]),
        ("--oldest --limit 2", [6, 5]),
        ("--schedule x", []),
        ("--retry-of x", []),
    ],
)
def test_runs_are_listed_by_what_is_asked_for(
    octospool: Octospool, ids: list[str], options: str, hours: list[int]
) -> None:
    result = octospool("runs", "list", "--json", *options.split())
    assert result.exit_code == 0, result.stderr
    assert [run["run_id"] for run in json.loads(result.stdout)["runs"]] == [ids[one - 1] for one in hours]


def test_a_run_tells_who_caused_it(octospool: Octospool, ids: list[str]) -> None:
    assert "webhook, by push\n" in octospool("runs", "show", ids[2]).stdout
    assert "trigger    api\n" in octospool("runs", "show", ids[0]).stdout


def test_what_is_said_where_nothing_is_found(octospool: Octospool, ids: list[str]) -> None:
    assert octospool("runs", "list", "--by", "nobody").stderr == "no such runs\n"
    assert octospool("runs", "list", "--flow", "none/").stderr == "no runs of none/\n"


@pytest.mark.parametrize(
    "option",
    [
        "--longer-than=long",
        "--longer-than=-5",
        "--param=x",
        "--started-since=x",
        "--since=9999999999d",
        "--since=9999-12-31T23:59:59-14:00",
        "--status=failed,runing",
    ],
)
def test_a_wrong_option_is_told(octospool: Octospool, ids: list[str], option: str) -> None:
    result = octospool("runs", "list", option)
    assert result.exit_code == 2
    assert option.partition("=")[0] in result.stderr


@pytest.mark.parametrize(
    "options",
    ["--until 2h --since 1h", "--started-until 2h --started-since 2h", "--shorter-than 5 --longer-than 1m"],
)
def test_bounds_that_no_run_can_be_between_are_told(
    octospool: Octospool, ids: list[str], options: str
) -> None:
    """ "No such runs" would be read as "nothing failed"."""
    result = octospool("runs", "list", *options.split())
    assert result.exit_code == 2
    upper, _, lower, _ = options.split()
    assert f"{upper} must be above {lower}, or no run fits" in result.stderr


def test_figures_of_a_flow(octospool: Octospool, ids: list[str], flow: Callable[[str, str], Path]) -> None:
    flow("sub/a.yml", "every_seconds: 3600\nsteps:\n  - {name: a, type: set_fact, set_fact: {value: 1}}\n")
    shown = octospool("flows", "stats", "sub/a").stdout
    lines = dict(line.split(None, 1) if line[1] != " " else line for line in shown.splitlines())
    assert "runs           3\n" in shown
    assert "by status      2 succeeded, 1 failed\n" in shown
    assert "success rate   66.67%\n" in shown
    assert "p50 180 s" in shown
    assert "errors         1 rest_failed\n" in shown
    assert "failed in      1 fetch\n" in shown
    assert f"failed  {ids[4]} (HTTP 500)\n" in shown
    assert lines["flow"] == "sub/a.yml"
    found = json.loads(octospool("flows", "stats", "sub/a.yml", "--since", "4h", "--json").stdout)
    assert (found["runs"], found["success_rate"], found["next_run"]) == (2, 1.0, None)
    assert octospool("flows", "stats", "never").exit_code == 3
    assert octospool("flows", "stats", "sub/a.yml", "--since", "1h", "--until", "2h").exit_code == 2
