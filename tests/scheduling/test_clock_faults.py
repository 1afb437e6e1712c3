"""Clocks that jump, machines that sleep, daemons that were down (RELIABILITY.md, checks 24 to 32)."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest
from scheduling_world import PATIENCE_SECONDS, World

from flow_processor.scheduling.flow_scheduler import FlowScheduler

HOUR = 3600.0
TEN_YEARS = 3652 * 24 * HOUR


def set_clock(world: World, moment: datetime) -> None:
    """Set the clock before anything was added, and let the scheduler see it."""
    world.clock.jump((moment - world.clock.now()).total_seconds())
    world.scheduler.tick()


@pytest.mark.parametrize(
    ("zone", "begin", "cron", "expected"),
    [
        ("Europe/Berlin", "2026-10-24T22:00", "30 2 * * *", ["25 00:30", "26 01:30"]),
        ("Europe/Berlin", "2027-03-27T22:00", "30 2 * * *", ["28 01:00", "29 00:30"]),
        ("America/New_York", "2026-11-01T03:00", "30 1 * * *", ["01 05:30", "02 06:30"]),
        ("America/New_York", "2027-03-14T04:00", "30 2 * * *", ["14 07:00", "15 06:30"]),
        ("Australia/Lord_Howe", "2027-04-03T12:00", "45 1 * * *", ["03 14:45", "04 15:15"]),
        ("Australia/Lord_Howe", "2026-10-03T12:00", "15 2 * * *", ["03 15:30", "04 15:15"]),
        ("America/Havana", "2026-11-01T02:00", "30 0 * * *", ["01 04:30", "02 05:30"]),
        ("America/Santiago", "2026-09-05T20:00", "30 0 * * *", ["06 04:00", "07 03:30"]),
        ("UTC", "2026-10-24T22:00", "30 2 * * *", ["25 02:30", "26 02:30"]),
    ],
)
def test_a_fixed_time_fires_once_on_days_when_clocks_change(
    world: World, zone: str, begin: str, cron: str, expected: list[str]
) -> None:
    """24: autumn and spring, in zones that change at night, at midnight and by half an hour."""
    set_clock(world, datetime.fromisoformat(begin).replace(tzinfo=UTC))
    world.flow("a.yml", cron=cron, timezone=zone)
    world.pass_time(36 * HOUR, ticks_every=60)
    assert [launch.slot.strftime("%d %H:%M") for launch in world.launches.started] == expected


def test_half_hours_follow_real_time_when_clocks_change(world: World) -> None:
    """24: a wildcard fires every half hour, in the hour that comes twice as well."""
    set_clock(world, datetime(2026, 10, 24, 22, 10, tzinfo=UTC))
    world.flow("a.yml", cron="*/30 * * * *", timezone="Europe/Berlin")
    world.pass_time(6 * HOUR, ticks_every=60)
    assert len(world.launches.started) == 12


@pytest.mark.parametrize(
    ("catchup", "started", "recorded"),
    [("none", ["14:00:00"], 119), ("latest", ["14:00:00"], 119), ("all", None, 20)],
)
def test_clock_set_forward(world: World, catchup: str, started: list[str] | None, recorded: int) -> None:
    """26: two hours forward are a gap of 120 slots: slots = started + recorded; then it goes on as ever."""
    schedule_id = world.flow("a.yml", every_seconds=60, catchup=catchup, catchup_max=100)
    world.clock.jump(2 * HOUR)
    world.scheduler.tick()
    (row,) = world.skipped(schedule_id)
    assert f"missed: {recorded} slots" in (row.reason or "")
    assert len(world.launches.started) + recorded == 120
    if started is not None:
        assert world.launches.times() == started
    world.pass_time(60)
    assert world.launches.times()[-1] == "14:01:00"
    assert len(world.launches.started) + recorded == 121


def test_clock_set_back(world: World) -> None:
    """27: no slot starts a second time; those that never started do, and then it goes on as ever."""
    world.flow("a.yml", cron="* * * * *")
    world.pass_time(10 * 60)
    world.clock.jump(-2 * HOUR)
    world.pass_time(2 * HOUR, ticks_every=30)
    assert world.clock.now() == datetime(2026, 11, 21, 12, 10, tzinfo=UTC)
    assert len(world.launches.started) == 10 + 110
    assert len(world.launches.refused) == 10
    world.pass_time(60)
    slots = world.launches.slots()
    assert len(slots) == len(set(slots)) == 121
    assert slots[-1] == "2026-11-21 12:11:00"


@pytest.mark.parametrize("down", [False, True])
def test_an_interval_keeps_its_pace_when_the_clock_is_set_back(world: World, down: bool) -> None:
    """27: also where the clock was set back while the daemon was down."""
    world.flow("a.yml", every_seconds=60)
    world.pass_time(10 * 60)
    world.clock.jump(-2 * HOUR)
    if down:
        world.restart()
    world.pass_time(10 * 60 + 1)
    assert len(world.launches.started) == 20
    assert world.launches.refused == []


def test_a_small_correction_of_the_clock_shifts_no_interval(world: World) -> None:
    world.flow("a.yml", every_seconds=60)
    world.pass_time(120)
    world.clock.jump(-0.5)
    world.pass_time(0.2, ticks_every=0.1)
    world.pass_time(60)
    assert world.launches.times() == ["12:01:00", "12:02:00", "12:03:00"][: len(world.launches.started)]
    world.pass_time(1)
    assert world.launches.times() == ["12:01:00", "12:02:00", "12:03:00"]


def test_a_clock_that_was_ten_years_ahead_and_is_put_right_does_not_silence_a_schedule(world: World) -> None:
    """28: the catch-up is bounded and quick; back in the present everything fires again, nothing twice."""
    schedule_id = world.flow("a.yml", cron="*/5 * * * *", catchup="all", catchup_max=50)
    world.flow("b.yml", every_seconds=300)
    world.clock.jump(TEN_YEARS)
    begin = time.thread_time()
    world.scheduler.tick()
    assert time.thread_time() - begin < 5
    assert len(world.launches.started) == 51
    (row,) = world.skipped(schedule_id)
    assert "missed: more than 300 slots" in (row.reason or "")
    world.clock.jump(-TEN_YEARS)
    world.pass_time(601)
    again = [(launch.flow, launch.slot.strftime("%Y %H:%M:%S")) for launch in world.launches.started[51:]]
    assert again == [
        ("a.yml", "2026 12:05:00"),
        ("b.yml", "2026 12:05:01"),
        ("a.yml", "2026 12:10:00"),
        ("b.yml", "2026 12:10:01"),
    ]


def test_a_flow_added_under_a_wrong_clock_fires_once_it_is_put_right(world: World) -> None:
    """Its interval is counted from the correction, not from a moment years ahead."""
    world.clock.jump(TEN_YEARS)
    world.scheduler.tick()
    world.flow("a.yml", every_seconds=60)
    world.clock.jump(-TEN_YEARS)
    world.pass_time(121)
    assert len(world.launches.started) == 2
    world.restart()
    world.pass_time(60)
    assert len(world.launches.started) == 3


def test_sleep_across_slots(world: World) -> None:
    """29: the machine sleeps for an hour; at the first tick after it, one second of waking time later at most,
    the newest slot starts and the others are recorded."""
    schedule_id = world.flow("a.yml", cron="*/10 * * * *")
    world.scheduler.start()
    world.clock.wait_for_sleeper()
    world.clock.jump(HOUR + 30)  # the monotonic clock stands still meanwhile
    assert world.launches.started == []
    world.clock.advance(1)
    world.clock.wait_for_sleeper()
    assert world.launches.times() == ["13:00:00"]
    assert world.launches.started[0].is_missed
    assert "missed: 5 slots" in (world.skipped(schedule_id)[0].reason or "")


@pytest.mark.parametrize(
    ("catchup", "number", "started"),
    [("none", 5, 0), ("latest", 5, 1), ("all", 5, 5), ("none", 300, 0), ("latest", 300, 1), ("all", 300, 20)],
)
@pytest.mark.parametrize("rule", [{"every_seconds": 60}, {"cron": "* * * * *"}])
def test_downtime(world: World, rule: dict[str, object], catchup: str, number: int, started: int) -> None:
    """30: the daemon is down over N slots; started and recorded ones are exactly N, under each policy."""
    schedule_id = world.flow("a.yml", **rule, catchup=catchup, catchup_max=20)
    world.restart(after_seconds=60 * number + 40)
    assert len(world.launches.started) == started
    assert all(launch.is_missed for launch in world.launches.started)
    rows = world.skipped(schedule_id)
    recorded = 0 if not rows else int((rows[0].reason or "").removeprefix("missed: ").split()[0])
    assert len(rows) <= 1
    assert started + recorded == number
    if started:
        assert world.launches.started[-1].slot.minute == number % 60
    world.pass_time(20)
    assert len(world.launches.started) == started + 1
    assert not world.launches.started[-1].is_missed


def test_one_missed_slot_is_told_as_such(world: World) -> None:
    schedule_id = world.flow("a.yml", every_seconds=60, catchup="none")
    world.restart(after_seconds=60 + 40)
    (row,) = world.skipped(schedule_id)
    assert row.reason == "missed: nothing could start it in time (catchup: none)"


@pytest.mark.parametrize("down_seconds", [0.0, 0.4, 9.0, 10.0])
def test_a_restart_neither_fires_twice_nor_shifts_an_interval(world: World, down_seconds: float) -> None:
    world.flow("a.yml", every_seconds=10)
    world.pass_time(30)
    world.restart(after_seconds=down_seconds)
    world.pass_time(30 - down_seconds)
    assert world.launches.times() == [f"12:00:{seconds}0" for seconds in range(1, 6)] + ["12:01:00"]
    assert world.launches.refused == []


def test_a_crash_between_claim_and_the_next_tick_does_not_fire_twice(world: World) -> None:
    """The daemon dies right after a start; the next one sees the slot in the store."""
    world.flow("a.yml", every_seconds=10)
    world.clock.advance(10)
    world.scheduler.tick()
    world.scheduler = world.another_scheduler()  # the old one just vanished
    world.scheduler.load()
    world.scheduler.tick()
    assert world.launches.times() == ["12:00:10"]


def test_five_hundred_schedules_in_one_minute(world: World) -> None:
    """32: all start, in one tick that costs far less than a second of the scheduler's own time."""
    for number in range(500):
        world.flow(f"{number}.yml", cron="* * * * *")
    world.clock.advance(60)
    begin = time.thread_time()
    world.scheduler.tick()
    assert time.thread_time() - begin < 1.0
    assert len({launch.flow for launch in world.launches.started}) == 500


def test_two_schedulers_race_on_one_database(world: World) -> None:
    """However they interleave, every slot starts exactly one run."""
    for number in range(5):
        world.flow(f"{number}.yml", every_seconds=1, catchup="all", catchup_max=1000)
    racers = [world.another_scheduler() for _ in range(2)]
    for racer in racers:
        racer.load()
        racer.look_for_changes()
    world.clock.advance(60)
    together = threading.Barrier(2)

    def race(racer: FlowScheduler) -> None:
        together.wait(PATIENCE_SECONDS)
        racer.tick()

    threads = [threading.Thread(target=race, args=(racer,)) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    slots = [(launch.flow, launch.slot) for launch in world.launches.started]
    assert len(slots) == len(set(slots)) == 5 * 60
    assert len(world.launches.refused) == 5 * 60
