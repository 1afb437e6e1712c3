"""Two daemons on one PostgreSQL: each slot once, whoever is killed when; nothing that was accepted is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flow_processor.store import Store
from tests.acceptance.daemon_process import DaemonProcess
from tests.databases import NewDatabase
from tests.engine.world import until
from tests.faults.flows import PARALLEL, QUICK

SCHEDULES = 3
EACH_SECOND = "schedule: {every_seconds: 1, catchup: all, catchup_max: 100}\n"


@pytest.fixture
def make_pair(
    tmp_path: Path, new_database: NewDatabase
) -> Iterator[Callable[[], tuple[str, list[DaemonProcess]]]]:
    """The address of the store, and two daemons that are not started yet."""
    daemons: list[DaemonProcess] = []

    def make() -> tuple[str, list[DaemonProcess]]:
        url = new_database()
        for name in ("one", "two"):
            (tmp_path / name / "data" / "flows").mkdir(parents=True)
            daemons.append(DaemonProcess(tmp_path / name / "data", database_url=url))
        return url, daemons

    yield make
    for daemon in daemons:
        daemon.end()


def rows(url: str, query: str) -> list[Any]:
    """What a query finds."""
    with closing(Store(url)) as store, store.engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def started(daemon: DaemonProcess) -> int:
    """How many runs it knows of."""
    return len(daemon.call("GET", "/api/runs?trigger=schedule&limit=500").json()["runs"])


def test_each_slot_starts_one_run_whoever_is_killed(
    make_pair: Callable[[], tuple[str, list[DaemonProcess]]],
) -> None:
    url, (one, two) = make_pair()
    for number in range(SCHEDULES):
        for daemon in (one, two):
            daemon.write(f"tick{number}.yml", EACH_SECOND + PARALLEL + QUICK)
    # Both at once on an empty database: who comes second finds the tables.
    one.begin()
    two.begin()
    for daemon in (one, two):
        until(daemon._answers, "it answers")
    for number in range(SCHEDULES):
        answer = one.call("POST", "/api/flows/add", json={"path": f"tick{number}.yml"})
        assert answer.status_code == 201, answer.text
    until(lambda: len(two.call("GET", "/api/flows").json()["flows"]) == SCHEDULES, "the other one notices")
    for killed, other in ((one, two), (two, one)):
        seen = started(other)
        until(lambda seen=seen, other=other: started(other) >= seen + 2 * SCHEDULES, "both fire")
        killed.kill()
        seen = started(other)
        until(lambda seen=seen, other=other: started(other) >= seen + 2 * SCHEDULES, "the other one goes on")
        killed.start()
    for schedule in one.call("GET", "/api/flows").json()["flows"]:
        assert one.call("DELETE", f"/api/flows/{schedule['flow_id']}").status_code in (200, 204)
    until(lambda: not two.call("GET", "/api/flows").json()["flows"], "the other one notices")
    until(lambda: not one.live_runs(), "every run ends")
    runs = rows(url, "SELECT schedule_id, slot, status, daemon FROM runs WHERE trigger = 'schedule'")
    assert {status for _, _, status, _ in runs} == {"succeeded"}
    each = Counter((schedule, slot) for schedule, slot, _, _ in runs)
    assert set(each.values()) == {1}
    assert len({daemon for *_, daemon in runs}) == 2
    for schedule in {schedule for schedule, _ in each}:
        moments = sorted(slot for of, slot in each if of == schedule)
        assert moments[-1] - moments[0] == pytest.approx(len(moments) - 1, abs=0.5)  # none is missing
    assert one.terminate() == two.terminate() == 0
