"""The wall clock jumps under a running daemon: no slot starts twice, none is dropped without a record.

What the policies do with every length of gap is tested with a clock of the tests' own
(tests/scheduling/test_clock_faults.py); here it is the real daemon, and the system's clock that jumps.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.world import until
from tests.faults.faked_clock import FakedClock
from tests.faults.flows import PARALLEL, QUICK, come_to_rest, is_ready, sleeping
from tests.faults.slots import Slot, slots_of

HOUR = 3600.0
TEN_YEARS = 3652 * 24 * HOUR
LATE_SECONDS = 3.0
"""99 of 100 runs are accepted so soon after their slot; far less on a machine that is not busy with tests."""


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[FakedClock]:
    """The clock of the daemon."""
    clock = FakedClock(tmp_path)
    yield clock
    clock.close()


@pytest.fixture
def daemon(clock: FakedClock, make_daemon: Callable[..., DaemonProcess]) -> DaemonProcess:
    """A daemon with that clock, not started yet."""
    return make_daemon(**clock.variables)


def add(daemon: DaemonProcess, path: str, rule: str, flow: str = QUICK) -> str:
    """A flow with this schedule, in the scheduler."""
    daemon.write(path, f"schedule: {{{rule}}}\n{flow}")
    answer = daemon.call("POST", "/api/flows/add", json={"path": path})
    assert answer.status_code == 201, answer.text
    return path


def add_each_policy(daemon: DaemonProcess) -> list[str]:
    """A flow every second for each way to catch up; each has fired once."""
    rule = "every_seconds: 1, catchup: {policy}, catchup_max: 20"
    flows = [
        add(daemon, f"{policy}.yml", rule.format(policy=policy), PARALLEL + QUICK)
        for policy in ("none", "latest", "all")
    ]
    for path in flows:
        until(lambda path=path: started(daemon, path), f"{path} fires")
    return flows


def until_more(daemon: DaemonProcess, flow: str, number: int = 1) -> list[Slot]:
    """The flow's slots once there are so many more started ones than now."""
    wanted = len(started(daemon, flow)) + number
    until(lambda: len(started(daemon, flow)) >= wanted, f"{flow} starts {number} more")
    return slots_of(daemon.data, flow)


def started(daemon: DaemonProcess, flow: str) -> list[Slot]:
    """The slots of the flow that became runs."""
    return [slot for slot in slots_of(daemon.data, flow) if slot.is_started]


def check(daemon: DaemonProcess, flows: Iterable[str] = ()) -> list[Slot]:
    """Stop it; every run has ended, every slot of these intervals ran or is recorded, each once. The slots."""
    found = come_to_rest(daemon)
    invariants.check(daemon.data, accepted=[str(slot.run_id) for slot in found if slot.is_started])
    for flow in flows:
        slots = [slot for slot in found if slot.flow == flow]
        between = round((slots[-1].moment - slots[0].moment).total_seconds()) + 1
        assert sum(slot.stands_for for slot in slots) == between, slots
    return found


def test_a_fixed_time_in_the_hour_that_comes_twice_fires_once(
    daemon: DaemonProcess, clock: FakedClock
) -> None:
    """24: `30 1 * * *` in New York on the night when the clocks go back: 01:30 comes twice, an hour apart."""
    clock.set_to(datetime(2026, 11, 1, 5, 0, tzinfo=UTC))
    daemon.start()
    path = add(daemon, "night.yml", "cron: '30 1 * * *', timezone: America/New_York")
    other = add(daemon, "minutes.yml", "cron: '* * * * *'")
    clock.set_to(datetime(2026, 11, 1, 5, 29, 58, tzinfo=UTC))  # 01:29:58, the first time
    until(lambda: started(daemon, path), "it fires")
    clock.set_to(datetime(2026, 11, 1, 6, 29, 58, tzinfo=UTC))  # 01:29:58, the second time
    half_past = datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    # On a busy machine its run of 01:29 is not over yet, and 01:30 is recorded as an overlap.
    until(lambda: slots_of(daemon.data, other)[-1].moment >= half_past, "the second 01:30 has passed")
    assert [slot.moment.hour for slot in slots_of(daemon.data, path)] == [5]
    check(daemon)


def test_two_hours_forward_is_a_gap_that_is_caught_up_as_the_flow_says(
    daemon: DaemonProcess, clock: FakedClock
) -> None:
    """26: slots = ran + recorded, under each policy; then it goes on as ever."""
    daemon.start()
    flows = add_each_policy(daemon)
    clock.set_by(2 * HOUR)
    for path in flows:
        until_more(daemon, path, 2)
    counts = {path: len(started(daemon, path)) for path in flows}
    assert counts["all.yml"] >= counts["none.yml"] + 19
    check(daemon, flows)


def test_two_hours_back_repeats_nothing_and_stops_nothing(daemon: DaemonProcess, clock: FakedClock) -> None:
    """27: intervals keep their pace, and no slot starts a second time."""
    daemon.start()
    path = add(daemon, "a.yml", "every_seconds: 1", PARALLEL + QUICK)
    until_more(daemon, path, 2)
    clock.set_by(-2 * HOUR)
    until_more(daemon, path, 3)
    assert is_ready(daemon)
    moments = [slot.moment for slot in slots_of(daemon.data, path)]
    assert len(moments) == len(set(moments))
    check(daemon)


def test_ten_years_forward_and_back_again_is_survived(daemon: DaemonProcess, clock: FakedClock) -> None:
    """28: the catch-up is bounded and costs little; back in the present it goes on."""
    daemon.start()
    path = add(daemon, "a.yml", "every_seconds: 1, catchup: all, catchup_max: 10", PARALLEL + QUICK)
    until_more(daemon, path)
    resting = memory_of(daemon)
    clock.set_by(TEN_YEARS)
    slots = until_more(daemon, path, 10)
    assert any(slot.stands_for > 1000 for slot in slots)
    assert len(slots) < 40
    clock.set_by(-TEN_YEARS)
    until_more(daemon, path, 2)
    assert memory_of(daemon) - resting < 50
    check(daemon)


def test_a_daemon_that_was_down_over_slots_accounts_for_each(
    daemon: DaemonProcess, clock: FakedClock
) -> None:
    """30: as many as there were, started or recorded, under each policy, after a kill -9."""
    daemon.start()
    flows = add_each_policy(daemon)
    daemon.kill()
    clock.set_by(HOUR)
    daemon.start()
    for path in flows:
        until_more(daemon, path, 2)
    check(daemon, flows)


def test_a_run_that_outlasts_its_interval_leaves_a_record_for_each_slot(
    daemon: DaemonProcess, clock: FakedClock
) -> None:
    """31: slots that met the run before them are skipped runs that say so."""
    daemon.start()
    path = add(daemon, "long.yml", "every_seconds: 1", sleeping(2.2))
    until_more(daemon, path, 2)
    skipped = [slot for slot in check(daemon, [path]) if not slot.is_started]
    assert len(skipped) >= 2
    assert {status_in(daemon.data, slot.run_id) for slot in skipped} == {("skipped", "overlap")}


@pytest.mark.parametrize("number", [60, pytest.param(500, marks=pytest.mark.soak)])
def test_many_schedules_in_one_minute_all_start(
    daemon: DaemonProcess, clock: FakedClock, number: int
) -> None:
    """32: none is dropped, and their runs are accepted soon after their slot."""
    paths = [daemon.write(f"many/{n}.yml", "cron: '0 * * * *'\n" + QUICK) for n in range(number)]
    (daemon.data / "config.yml").write_text(f"autostart: [{', '.join(paths)}]\n")
    clock.set_to(datetime(2026, 11, 21, 11, 30, tzinfo=UTC))
    daemon.start()
    clock.set_to(datetime(2026, 11, 21, 11, 59, 58, tzinfo=UTC))
    until(lambda: len(slots_of(daemon.data)) >= number, "all have started")
    late = sorted(lateness(daemon))
    assert late[int(len(late) * 0.99)] < LATE_SECONDS, late[-5:]
    assert len({slot.flow for slot in check(daemon) if slot.is_started}) == number


def status_in(data: Path, run_id: str | None) -> tuple[str, str]:
    """Status and error code of a run, as the files say."""
    with closing(sqlite3.connect(data / "octospool.db")) as connection:
        query = "SELECT status, error FROM runs WHERE id = ?"
        status, error = connection.execute(query, (run_id,)).fetchone()
    return status, json.loads(error)["code"]


def lateness(daemon: DaemonProcess) -> list[float]:
    """Of each run, in seconds: how long after its slot it was accepted."""
    runs: list[dict[str, str]] = []
    for slot in slots_of(daemon.data):
        assert slot.run_id is not None
        run = daemon.run(slot.run_id)
        runs.append({"slot": run["slot"], "at": run["created_at"]})
    return [
        (datetime.fromisoformat(run["at"]) - datetime.fromisoformat(run["slot"])).total_seconds()
        for run in runs
    ]


def memory_of(daemon: DaemonProcess) -> float:
    """Memory that the daemon has, in MiB."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
