"""Schedules whose rule a call gave: moments, bounds, one-offs, switching off and on, changing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scheduling_world import NOON, World

from flow_processor.errors import FlowNotFound, InvalidRequest, ScheduleFinished, ScheduleNotFound
from flow_processor.scheduling.agenda import Entry
from flow_processor.scheduling.moments import rule_of_spec
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store.given_schedules import Given
from flow_processor.store.schedule_rows import ScheduleRow


def give(world: World, *, active: bool = True, **rule: Any) -> ScheduleRow:
    """A schedule of a flow whose file has none."""
    world.rules.setdefault("a.yml", None)
    spec = ScheduleSpec.model_validate(rule)
    return world.scheduler.given.add("a.yml", spec, Given(), active=active, by="test")


def change(world: World, row: ScheduleRow, *, active: bool | None = None, **rule: Any) -> ScheduleRow:
    """Another rule for it."""
    return world.scheduler.given.change(
        row.id, lambda _: ScheduleSpec.model_validate(rule), {}, active=active
    )


@pytest.mark.parametrize(
    ("rule", "times"),
    [
        ({"at": "2026-11-21T12:00:30"}, ["12:00:30"]),
        ({"at": "2026-11-21T13:00:30+01:00"}, ["12:00:30"]),
        ({"at": "2026-11-21T13:00:30", "timezone": "Europe/Berlin"}, ["12:00:30"]),
        ({"at": "2026-11-21T12:00:30", "ends_at": "2026-11-21T12:00:30"}, ["12:00:30"]),
        ({"repeat_count": 0}, ["12:00:01"]),
        ({"repeat_count": 5}, ["12:00:01"]),
        ({"interval": 20, "repeat_count": 0}, ["12:00:01"]),
        ({"interval": 20, "repeat_count": 2}, ["12:00:01", "12:00:21", "12:00:41"]),
        ({"interval": 20, "repeat_count": 1, "starts_at": "2026-11-21T12:00:30"}, ["12:00:30", "12:00:50"]),
        ({"interval": 20, "repeat_count": 9, "ends_at": "2026-11-21T12:00:21"}, ["12:00:01", "12:00:21"]),
        ({"every_seconds": 40}, ["12:00:40", "12:01:20", "12:02:00"]),
        ({"every_seconds": 40, "starts_at": "2026-11-21T12:01:00"}, ["12:01:00", "12:01:40"]),
        ({"every_seconds": 40, "starts_at": "2026-11-21T11:59:50"}, ["12:00:30", "12:01:10", "12:01:50"]),
        ({"every_seconds": 40, "ends_at": "2026-11-21T12:01:20"}, ["12:00:40", "12:01:20"]),
        ({"cron": "* * * * *", "starts_at": "2026-11-21T12:02:00"}, ["12:02:00"]),
        ({"cron": "* * * * *", "ends_at": "2026-11-21T12:01:59"}, ["12:01:00"]),
    ],
)
def test_a_rule_starts_at_its_moments_and_no_others(world: World, rule: Any, times: list[str]) -> None:
    row = give(world, **rule)
    world.pass_time(120)
    assert world.launches.times() == times
    entry = world.scheduler.entry(row.id)
    assert entry is not None
    assert entry.problem is None
    world.restart(after_seconds=1)
    assert world.launches.times() == times
    assert world.skipped(row.id) == []


@pytest.mark.parametrize(
    "rule",
    [
        {"at": "2026-11-21T12:00:00"},
        {"at": "1999-01-01T00:00:00"},
        {"repeat_count": 1, "interval": 60, "starts_at": "2026-11-21T11:59:59"},
        {"cron": "* * * * *", "ends_at": "2026-11-21T12:00:30"},
        {"every_seconds": 60, "ends_at": "2026-11-21T12:00:59"},
    ],
)
@pytest.mark.parametrize("active", [True, False])
def test_a_rule_that_would_never_fire_is_refused(world: World, rule: Any, active: bool) -> None:
    with pytest.raises(InvalidRequest) as caught:
        give(world, active=active, **rule)
    assert caught.value.code == "schedule_in_past"
    assert "2026-11-21T12:00:00.000Z" in caught.value.message
    world.restart(after_seconds=7200)
    assert world.launches.started == []


class TestOneOff:
    """`at`: one moment, whatever happens around it."""

    def test_it_fires_once_and_is_finished(self, world: World) -> None:
        row = give(world, at="2026-11-21T12:00:30")
        world.pass_time(60)
        entry = world.scheduler.entry(row.id)
        assert entry is not None
        assert entry.next_slot() is None
        for _ in range(3):
            world.restart(after_seconds=3600)
        world.clock.jump(-3 * 3600)
        world.pass_time(120)
        assert world.launches.times() == ["12:00:30"]

    @pytest.mark.parametrize(
        ("catchup", "times"), [("latest", ["12:00:30"]), ("all", ["12:00:30"]), ("none", [])]
    )
    def test_one_that_passed_while_the_daemon_was_down(
        self, world: World, catchup: str, times: list[str]
    ) -> None:
        """It fires late, once; or is recorded as missed."""
        row = give(world, at="2026-11-21T12:00:30", catchup=catchup)
        world.restart(after_seconds=3600)
        world.restart(after_seconds=3600)
        world.pass_time(60)
        assert world.launches.times() == times
        assert [skipped.slot for skipped in world.skipped(row.id)] == (
            [] if times else [NOON.replace(second=30)]
        )

    def test_two_schedulers_fire_it_once(self, world: World) -> None:
        give(world, at="2026-11-21T12:00:30")
        other = world.another_scheduler()
        other.load()
        world.clock.advance(30)
        world.scheduler.tick()
        other.tick()
        assert world.launches.times() == ["12:00:30"]
        assert len(world.launches.refused) == 1


class TestSwitch:
    """Switching off and on."""

    def test_what_is_switched_off_never_fires_and_goes_on_when_switched_on(self, world: World) -> None:
        """Moments in between are not made up for."""
        row = give(world, cron="* * * * *", catchup="all")
        world.pass_time(60)
        world.scheduler.given.deactivate(row.id)
        world.pass_time(120)
        world.restart(after_seconds=60)
        assert world.launches.times() == ["12:01:00"]
        world.scheduler.given.activate(row.id)
        world.pass_time(60)
        assert world.launches.times() == ["12:01:00", "12:05:00"]

    def test_what_is_added_switched_off_begins_when_it_is_switched_on(self, world: World) -> None:
        row = give(world, active=False, interval=10, repeat_count=1)
        world.pass_time(60)
        assert world.launches.started == []
        world.scheduler.given.activate(row.id)
        world.pass_time(60)
        assert world.launches.times() == ["12:01:01", "12:01:11"]

    def test_a_pause_does_not_begin_the_count_again(self, world: World) -> None:
        row = give(world, interval=10, repeat_count=3)
        world.pass_time(12)
        world.scheduler.given.deactivate(row.id)
        world.restart(after_seconds=10)
        world.scheduler.given.activate(row.id)
        world.restart()
        world.pass_time(60)
        assert world.launches.times() == ["12:00:01", "12:00:11", "12:00:31"]

    @pytest.mark.parametrize("switched_off", [True, False])
    def test_what_is_past_is_not_switched_on(self, world: World, switched_off: bool) -> None:
        row = give(world, at="2026-11-21T12:00:30")
        if switched_off:
            world.scheduler.given.deactivate(row.id)
        world.pass_time(60)
        with pytest.raises(ScheduleFinished):
            world.scheduler.given.activate(row.id)
        world.pass_time(60)
        assert world.launches.times() == ([] if switched_off else ["12:00:30"])

    @pytest.mark.parametrize("verb", ["deactivate", "change", "again", "remove"])
    def test_a_slot_that_is_being_handed_over_is_refused(self, world: World, verb: str) -> None:
        """The tick has begun with the old state; the call returns before its claim."""
        row = give(world, every_seconds=10)
        given, launch = world.scheduler.given, world.launches.__call__

        def call_first(wanted: Any) -> object:
            if not world.launches.refused:
                if verb == "change":
                    change(world, row, every_seconds=10, params={"a": 1}, starts_at="2026-11-21T12:05:00")
                elif verb == "remove":
                    world.scheduler.remove(row.id)
                else:
                    given.deactivate(row.id)
                if verb == "again":
                    given.activate(row.id)
            return launch(wanted)

        world.scheduler._hand_over._launch = call_first
        world.pass_time(15)
        assert world.launches.started == []
        assert len(world.launches.refused) == 1

    def test_what_is_not_there(self, world: World) -> None:
        """Nor one that stands in a file."""
        in_file = world.flow("b.yml", every_seconds=10)
        for schedule_id in ("nothing", in_file):
            with pytest.raises(ScheduleNotFound):
                world.scheduler.given.deactivate(schedule_id)


class TestChange:
    """Another rule, or other values."""

    def test_other_moments_count_from_now(self, world: World) -> None:
        row = give(world, every_seconds=60, catchup="all")
        world.pass_time(90)
        change(world, row, cron="* * * * *", catchup="all")
        world.restart(after_seconds=60)
        world.pass_time(30)
        assert world.launches.times() == ["12:01:00", "12:02:00", "12:03:00"]

    def test_other_values_leave_the_moments_alone(self, world: World) -> None:
        row = give(world, every_seconds=60)
        world.pass_time(50)
        change(world, row, every_seconds=60, params={"a": 1})
        world.pass_time(10)
        assert world.launches.times() == ["12:01:00"]
        assert world.launches.started[0].params == {"a": 1}

    def test_a_finished_one_begins_again_with_another_rule(self, world: World) -> None:
        row = give(world, at="2026-11-21T12:00:30")
        world.pass_time(60)
        change(world, row, at="2026-11-21T12:01:30")
        world.pass_time(60)
        assert world.launches.times() == ["12:00:30", "12:01:30"]

    def test_a_past_rule_is_refused_and_the_old_one_goes_on(self, world: World) -> None:
        row = give(world, every_seconds=60)
        with pytest.raises(InvalidRequest):
            change(world, row, at="2020-01-01T00:00")
        world.pass_time(60)
        assert world.launches.times() == ["12:01:00"]

    def test_a_changed_one_that_is_switched_off_stays_so(self, world: World) -> None:
        row = give(world, active=False, every_seconds=60)
        change(world, row, every_seconds=30)
        world.pass_time(60)
        world.restart(after_seconds=60)
        assert world.launches.started == []

    def test_a_refused_change_changes_nothing(self, world: World) -> None:
        """Neither the rule, nor whether it is switched on."""
        row = give(world, every_seconds=10)
        ended = give(world, at="2026-11-21T12:00:05")
        off = give(world, active=False, every_seconds=10)
        world.pass_time(6)
        before = world.schedules.active()
        for one in (row, off):
            with pytest.raises(InvalidRequest):
                change(world, one, active=one is off, at="2020-01-01T00:00")
        with pytest.raises(ScheduleFinished):
            change(world, ended, active=True, at="2026-11-21T12:00:05", params={"a": 1})
        assert world.schedules.active() == before
        world.pass_time(6)
        assert world.launches.times() == ["12:00:05", "12:00:10"]

    def test_a_change_may_switch_too(self, world: World) -> None:
        """In one go: what is switched on has its new rule, what is switched off fires no more."""
        row = give(world, active=False, every_seconds=10)
        change(world, row, active=True, every_seconds=20)
        world.pass_time(25)
        change(world, row, active=False, every_seconds=5)
        world.pass_time(25)
        world.restart()
        change(world, row, active=True, every_seconds=5)
        world.pass_time(6)
        assert world.launches.times() == ["12:00:20", "12:00:55"]


GONE = FlowNotFound("there is no flow 'a.yml'")


@pytest.mark.parametrize("is_restarted", [False, True])
def test_slots_whose_flow_is_gone_are_recorded_with_the_reason(world: World, is_restarted: bool) -> None:
    """Whether or not a restart lay between; once the flow is back it goes on, and nothing is made up for."""
    every = give(world, every_seconds=10)
    once = give(world, at="2026-11-21T12:00:30")
    world.pass_time(15)
    world.edit("a.yml", GONE)
    world.launches.errors["a.yml"] = GONE
    world.pass_time(1)
    if is_restarted:
        world.restart()
    world.pass_time(20)
    assert [one.slot.second for one in world.skipped(every.id)] == [30, 20]
    assert [one.slot.second for one in world.skipped(once.id)] == [30]
    for row in world.schedules.active():
        assert "there is no flow 'a.yml'" in (row.last_failure or "")
    entry = world.scheduler.entry(every.id)
    assert entry is not None
    assert entry.problem == GONE.message
    assert entry.next_slot() == NOON.replace(second=40)
    world.edit("a.yml", None)
    world.launches.errors.clear()
    world.pass_time(10)
    world.restart()
    assert world.launches.times() == ["12:00:10", "12:00:40"]
    failures = {row.id: row.last_failure for row in world.schedules.active()}
    assert failures == {every.id: None, once.id: "could not start: there is no flow 'a.yml'"}


def test_what_needs_no_flow_is_done_without_it(world: World) -> None:
    """A name and a switching off, but not another rule, nor a switching on."""
    row = give(world, every_seconds=10)
    world.edit("a.yml", GONE)
    world.pass_time(1)
    given = world.scheduler.given
    assert given.change(row.id, lambda rule: rule, {"name": "other"}).name == "other"
    with pytest.raises(FlowNotFound):
        change(world, row, every_seconds=5)
    given.deactivate(row.id)
    with pytest.raises(FlowNotFound):
        given.activate(row.id)
    world.pass_time(20)
    assert world.skipped(row.id) == []


def test_another_rule_forgets_why_the_last_slot_did_not_start(world: World) -> None:
    row = give(world, at="2026-11-21T12:00:05")
    world.launches.errors["a.yml"] = RuntimeError("no")
    world.pass_time(6)
    (found,) = world.schedules.active()
    assert found.last_failure == "could not start: RuntimeError: no"
    assert change(world, row, at="2026-11-21T12:00:30").skipped_reason is not None
    (found,) = world.schedules.active()
    assert found.last_failure is None


def test_a_flow_has_any_number_of_schedules(world: World) -> None:
    """Beside the one of its file."""
    world.flow("a.yml", every_seconds=60)
    for _ in range(3):
        give(world, every_seconds=60)
    world.pass_time(60)
    assert world.launches.times() == ["12:01:00"] * 4


def test_a_clock_that_was_set_back_while_the_daemon_was_down(world: World) -> None:
    """An interval keeps its pace; a one-off that fired does not fire again."""
    give(world, every_seconds=60)
    give(world, at="2026-11-21T12:00:30")
    world.pass_time(60)
    world.clock.jump(-3600)
    world.restart()
    world.pass_time(60)
    assert len(world.launches.started) == 3


def test_a_rule_of_a_call_needs_no_flow_file_at_a_start(world: World) -> None:
    give(world, every_seconds=60)
    del world.rules["a.yml"]
    world.restart()
    world.pass_time(60)
    assert world.launches.times() == ["12:01:00"]


@pytest.mark.parametrize(
    ("rule", "times"),
    [
        ({"interval": 10, "repeat_count": 2}, ["12:00:01", "12:00:11", "12:00:21"]),
        ({"interval": 40, "repeat_count": 2}, ["12:00:01", "12:00:41", "12:01:21"]),
        ({"every_seconds": 40}, ["12:00:40", "12:01:20", "12:02:00"]),
        ({"at": "2026-11-21T12:01:30Z"}, ["12:01:30"]),
        ({"cron": "* * * * *"}, ["12:02:00"]),
        ({"at": "2026-11-21T12:01:30"}, []),
    ],
)
def test_another_time_zone_of_the_daemon_begins_nothing_again(
    world: World, rule: Any, times: list[str]
) -> None:
    """Only what is read in it counts anew: `12:01:30` in Berlin was an hour ago."""
    give(world, **rule)
    world.pass_time(30)
    world.zone = "Europe/Berlin"
    world.restart(after_seconds=30)
    world.restart()
    world.pass_time(60)
    assert world.launches.times() == times


def test_after_a_long_downtime_what_is_due_now_does_not_wait_for_what_was_missed(world: World) -> None:
    """Neither does the end of the scheduler: a tick looks at some of them, and the next one at some more."""
    for _ in range(100):
        give(world, cron="*/7 * * * *")
    every_second = give(world, every_seconds=1)
    world.restart(after_seconds=60 * 86_400)
    behind = [launch.schedule_id for launch in world.launches.started]
    assert 0 < len(behind) < 50
    world.clock.advance(1)
    world.scheduler.tick()
    started = [launch.schedule_id for launch in world.launches.started[len(behind) :]]
    assert every_second.id in (*started, *behind)
    for _ in range(15):
        world.scheduler.tick()
    assert len({launch.schedule_id for launch in world.launches.started}) == 101


def test_thousands_that_are_due_at_one_moment_do_not_hold_up_what_comes_each_second(world: World) -> None:
    """Nor the end of the scheduler: those that are too many for one tick are looked at in the next ones."""
    second = give(world, every_seconds=1)
    spec = ScheduleSpec(cron="1 12 * * *", timezone="UTC")
    rule = rule_of_spec(spec, anchor=NOON)
    for number in range(900):
        world.scheduler._agenda.put(Entry(replace(second, id=str(number)), spec, rule, NOON))
    world.pass_time(61)
    assert world.launches.times()[-2:] == ["12:01:00", "12:01:01"]
    looked_at = len(world.launches.refused)
    assert 500 <= looked_at < 700
    for _ in range(30):
        world.scheduler.tick()
    assert len(world.launches.refused) == 900


def test_a_clock_that_goes_back_while_some_are_behind_has_none_looked_at_twice(world: World) -> None:
    for _ in range(20):
        give(world, cron="*/7 * * * *")
    world.restart(after_seconds=86_400 + 180)
    world.clock.jump(-60)
    for _ in range(3):
        world.scheduler.tick()
    assert world.launches.times() == ["12:00:00"] * 20
    assert world.launches.refused == []
