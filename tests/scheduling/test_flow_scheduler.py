"""What the scheduler does with its schedules: adding, removing, editing, overlaps, errors."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import replace

import pytest
from scheduling_world import NOON, World

from flow_processor.errors import (
    DiskFull,
    FlowAlreadyAdded,
    FlowNotFound,
    InvalidRequest,
    Problem,
    ScheduleNotFound,
    ShuttingDown,
    SpecError,
)
from flow_processor.scheduling.agenda import Entry
from flow_processor.scheduling.moments import rule_of_spec
from flow_processor.spec.schedule import Catchup, ScheduleSpec
from flow_processor.store.schedule_rows import Origin

BROKEN = SpecError([Problem("yaml_invalid", "flows/a.yml", 3, 1, "", "not YAML")])


def test_an_interval_fires_from_start_to_start(world: World) -> None:
    """The first slot is one interval after the flow was added; how long a tick takes moves nothing."""
    world.flow("a.yml", every_seconds=10)
    world.pass_time(35, ticks_every=0.7)
    assert world.launches.times() == ["12:00:10", "12:00:20", "12:00:30"]


def test_cron_fires_at_its_minutes(world: World) -> None:
    world.flow("a.yml", cron="*/5 * * * *")
    world.pass_time(11 * 60)
    assert world.launches.times() == ["12:05:00", "12:10:00"]


def test_cron_is_read_in_its_zone(world: World) -> None:
    """Noon in UTC is 17:45 in Nepal."""
    world.flow("a.yml", cron="0 18 * * *", timezone="Asia/Kathmandu")
    world.pass_time(20 * 60)
    assert world.launches.times() == ["12:15:00"]


def test_a_launch_carries_what_the_run_needs(world: World) -> None:
    world.rules["a.yml"] = ScheduleSpec(every_seconds=60)
    schedule_id = world.scheduler.add("a.yml", Origin.FLOW, timeout_seconds=7.5)
    world.pass_time(60)
    (launch,) = world.launches.started
    assert (launch.schedule_id, launch.flow, launch.timeout_seconds) == (schedule_id, "a.yml", 7.5)
    assert launch.slot == world.clock.now()
    assert not launch.is_missed


def test_a_flow_is_added_once(world: World) -> None:
    schedule_id = world.flow("a.yml", every_seconds=60)
    with pytest.raises(FlowAlreadyAdded) as caught:
        world.flow("a.yml", every_seconds=60)
    assert caught.value.details == {"flow_id": schedule_id}
    assert len(world.scheduler.added()) == 1


@pytest.mark.parametrize(
    ("rule", "error", "code"),
    [
        (None, InvalidRequest, "no_schedule"),
        (BROKEN, SpecError, "flow_invalid"),
        (FlowNotFound("there is no flow 'a.yml'"), FlowNotFound, "flow_not_found"),
        (ScheduleSpec(cron="0 0 30 2 *"), InvalidRequest, "invalid_schedule"),
    ],
)
def test_a_flow_that_cannot_fire_is_not_added(
    world: World, rule: ScheduleSpec | Exception | None, error: type[Exception], code: str
) -> None:
    world.rules["a.yml"] = rule
    with pytest.raises(error) as caught:
        world.scheduler.add("a.yml", Origin.FLOW)
    assert getattr(caught.value, "code", None) == code
    assert world.scheduler.added() == []


def test_added_flows_tell_all(world: World) -> None:
    world.flow("a.yml", cron="0 13 * * *")
    world.flow("b.yml", every_seconds=60)
    world.pass_time(60)
    first, second = world.scheduler.added()
    assert (first.flow, first.origin, first.cron, first.timezone) == ("a.yml", "flow", "0 13 * * *", "UTC")
    assert (first.next_slot, first.last_slot, first.last_run_id) == (NOON.replace(hour=13), None, None)
    assert second.every_seconds == 60
    assert second.next_slot == NOON.replace(minute=2)
    assert second.last_slot == NOON.replace(minute=1)
    assert second.last_run_id == f"run-b.yml-{NOON.replace(minute=1).timestamp():.0f}"
    assert (first.problem, second.problem) == (None, None)


def test_a_removed_flow_never_fires_again(world: World) -> None:
    schedule_id = world.flow("a.yml", every_seconds=10)
    world.pass_time(10)
    world.scheduler.remove(schedule_id)
    world.pass_time(60)
    world.restart(after_seconds=60)
    assert world.launches.times() == ["12:00:10"]
    assert world.scheduler.added() == []
    with pytest.raises(ScheduleNotFound):
        world.scheduler.remove(schedule_id)


def test_a_flow_removed_during_a_tick_does_not_fire(world: World) -> None:
    """Its slot is due and its launch has begun, but the store refuses the claim."""
    victim = world.flow("b.yml", every_seconds=10)
    launch = world.launches.__call__

    def remove_first(wanted: object) -> object:
        world.schedules.remove(victim)
        return launch(wanted)  # type: ignore[arg-type]

    world.scheduler._hand_over._launch = remove_first  # type: ignore[assignment]
    world.pass_time(10)
    assert world.launches.started == []
    assert [refused.flow for refused in world.launches.refused] == ["b.yml"]


def test_a_flow_removed_between_two_slots_of_a_gap_starts_no_more(world: World) -> None:
    victim = world.flow("a.yml", every_seconds=10, catchup="all")
    launch = world.launches.__call__

    def remove_after(wanted: object) -> object:
        begun = launch(wanted)  # type: ignore[arg-type]
        world.scheduler.remove(victim)
        return begun

    world.scheduler._hand_over._launch = remove_after  # type: ignore[assignment]
    world.clock.advance(50)
    world.scheduler.tick()
    assert world.launches.times() == ["12:00:10"]
    assert world.launches.refused == []


def test_a_flow_may_be_added_again_after_its_removal(world: World) -> None:
    """It begins anew: nothing is made up for."""
    world.scheduler.remove(world.flow("a.yml", every_seconds=10))
    world.pass_time(100)
    world.flow("a.yml", every_seconds=10)
    world.pass_time(10)
    assert world.launches.times() == ["12:01:50"]


def test_an_edited_schedule_counts_within_two_seconds(world: World) -> None:
    """From then on: what the new rule would have done earlier is not made up for."""
    world.flow("a.yml", cron="0 13 * * *")
    world.pass_time(30.5)
    world.edit("a.yml", ScheduleSpec(cron="* * * * *"))
    world.pass_time(2)
    assert world.scheduler.added()[0].cron == "* * * * *"
    world.pass_time(120)
    assert world.launches.times() == ["12:01:00", "12:02:00"]


def test_an_interval_that_was_edited_counts_from_the_edit(world: World) -> None:
    world.flow("a.yml", every_seconds=3600)
    world.pass_time(9)
    world.edit("a.yml", ScheduleSpec(every_seconds=10))
    world.pass_time(25)
    assert world.launches.times() == ["12:00:20", "12:00:30"]


def test_a_save_that_does_not_touch_the_schedule_changes_nothing(world: World) -> None:
    world.flow("a.yml", every_seconds=10)
    world.pass_time(15)
    world.edit("a.yml", ScheduleSpec(every_seconds=10, catchup=Catchup.ALL))
    world.pass_time(15)
    assert world.launches.times() == ["12:00:10", "12:00:20", "12:00:30"]


def test_only_changed_files_are_read(world: World) -> None:
    world.flow("a.yml", every_seconds=10)
    world.rules["a.yml"] = BROKEN
    world.pass_time(25)
    assert world.launches.times() == ["12:00:10", "12:00:20"]


@pytest.mark.parametrize("rule", [BROKEN, None])
def test_a_flow_without_a_rule_says_so_until_it_has_one(world: World, rule: Exception | None) -> None:
    world.flow("a.yml", every_seconds=10)
    world.edit("a.yml", rule)
    world.pass_time(25)
    (shown,) = world.scheduler.added()
    assert shown.problem is not None
    assert shown.next_slot is None
    assert world.launches.started == []
    world.edit("a.yml", ScheduleSpec(every_seconds=10))
    world.pass_time(10)
    assert world.scheduler.added()[0].problem is None
    assert world.launches.slots()


def test_a_schedule_edited_while_the_daemon_was_down_makes_up_for_nothing(world: World) -> None:
    """Its slots of before never were: they would surprise whoever edited it."""
    world.flow("a.yml", cron="0 18 * * *")
    world.rules["a.yml"] = ScheduleSpec(cron="30 12 * * *")
    world.restart(after_seconds=2 * 3600)
    assert world.launches.started == []
    world.pass_time(24 * 3600, ticks_every=600)
    assert world.launches.slots() == ["2026-11-22 12:30:00"]


def test_an_overlap_is_recorded(world: World) -> None:
    """A run that outlasts its interval: slots = starts + records."""
    schedule_id = world.flow("a.yml", every_seconds=10)
    world.pass_time(10)
    world.launches.running.add("a.yml")
    world.pass_time(20)
    world.launches.running.clear()
    world.pass_time(10)
    assert world.launches.times() == ["12:00:10", "12:00:40"]
    assert [(row.slot.second, row.reason) for row in world.skipped(schedule_id)] == [
        (30, "overlap"),
        (20, "overlap"),
    ]


@pytest.mark.parametrize("error", [BROKEN, FlowNotFound("gone"), RuntimeError("a bug"), KeyError()])
def test_an_error_of_one_launch_disturbs_no_other(world: World, error: Exception) -> None:
    """The slot is recorded with the reason; the others start, in the same tick and later."""
    before = world.flow("a.yml", every_seconds=10)
    bad = world.flow("b.yml", every_seconds=10)
    world.flow("c.yml", every_seconds=10)
    world.launches.errors["b.yml"] = error
    world.pass_time(20)
    assert sorted(launch.flow for launch in world.launches.started) == ["a.yml"] * 2 + ["c.yml"] * 2
    assert world.skipped(before) == []
    reasons = [row.reason or "" for row in world.skipped(bad)]
    assert len(reasons) == 2
    assert all(reason.startswith("could not start: ") and len(reason) > 18 for reason in reasons)
    assert world.scheduler.added()[1].problem is not None
    world.launches.errors.clear()
    world.pass_time(10)
    assert len(world.launches.started) == 7
    assert world.scheduler.added()[1].problem is None


def test_slots_that_could_not_even_be_handed_over_start_at_the_next_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("a.yml", "b.yml"):
        world.flow(path, every_seconds=10)
    threads = world.scheduler._hand_over._threads

    def refuse(*_arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threads, "map", refuse)
        world.clock.advance(10)
        with pytest.raises(RuntimeError):
            world.scheduler.tick()
    world.pass_time(11)
    assert sorted(launch.flow for launch in world.launches.started) == ["a.yml"] * 2 + ["b.yml"] * 2


def test_a_failed_slot_of_a_gap_does_not_take_the_others_with_it(world: World) -> None:
    schedule_id = world.flow("a.yml", every_seconds=60, catchup="all")
    world.launches.errors["a.yml"] = RuntimeError("once")
    world.clock.advance(180)
    world.scheduler.tick()
    world.launches.errors.clear()
    world.scheduler.tick()
    assert world.launches.times() == ["12:02:00", "12:03:00"]
    assert [row.slot.minute for row in world.skipped(schedule_id)] == [1]


@pytest.mark.parametrize(
    ("when", "error"),
    [
        ("errors", DiskFull("no space")),
        ("errors", ShuttingDown("the daemon is stopping")),
        ("commit_errors", DiskFull("no space")),
    ],
)
def test_a_slot_that_can_not_even_be_recorded_is_tried_again(
    world: World, when: str, error: Exception
) -> None:
    schedule_id = world.flow("a.yml", every_seconds=60)
    getattr(world.launches, when)["a.yml"] = error
    world.pass_time(63)
    assert world.skipped(schedule_id) == []
    assert world.scheduler.added()[0].problem is not None
    getattr(world.launches, when).clear()
    world.pass_time(10)
    assert world.launches.times() == ["12:01:00"]


def test_a_gap_goes_on_where_a_commit_failed(world: World) -> None:
    """Slots of one tick share a commit; those behind the one that was refused are not forgotten with it."""
    world.flow("a.yml", every_seconds=60, catchup="all")
    launch, refusals = world.launches.__call__, iter([False, True])

    def refuse_the_second(wanted: object) -> object:
        if next(refusals, False):
            refused: Future[None] = Future()
            refused.set_exception(DiskFull("no space"))
            return refused
        return launch(wanted)  # type: ignore[arg-type]

    world.scheduler._hand_over._launch = refuse_the_second  # type: ignore[assignment]
    world.clock.advance(180)
    world.scheduler.tick()
    world.pass_time(10)
    assert sorted(world.launches.times()) == ["12:01:00", "12:02:00", "12:03:00"]
    assert world.skipped(world.scheduler.added()[0].schedule_id) == []


def test_a_write_that_fails_while_a_rule_is_noticed_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.flow("a.yml", every_seconds=3600)
    remember = world.schedules.set_in_force

    def full(*_args: object, **_more: object) -> None:
        raise DiskFull("no space")

    monkeypatch.setattr(world.schedules, "set_in_force", full)
    world.edit("a.yml", ScheduleSpec(every_seconds=10))
    world.pass_time(5)
    assert world.scheduler.added()[0].every_seconds == 3600
    monkeypatch.setattr(world.schedules, "set_in_force", remember)
    world.pass_time(1)
    assert world.scheduler.added()[0].every_seconds == 10


class TestAutostart:
    """Flows that config.yml names."""

    def test_its_own_rule_beats_the_file(self, world: World) -> None:
        world.rules["a.yml"] = ScheduleSpec(every_seconds=3600)
        rule = ScheduleSpec(every_seconds=10)
        world.scheduler.add("a.yml", Origin.AUTOSTART, rule=rule, timeout_seconds=5)
        world.edit("a.yml", ScheduleSpec(every_seconds=1))
        world.pass_time(20)
        assert world.launches.times() == ["12:00:10", "12:00:20"]

    def test_it_is_added_anew_at_each_start_without_firing_twice(self, world: World) -> None:
        world.rules["a.yml"] = ScheduleSpec(every_seconds=10)
        first = world.scheduler.add("a.yml", Origin.AUTOSTART)
        world.pass_time(14)
        world.restart()
        assert world.scheduler.add("a.yml", Origin.AUTOSTART) == first
        world.pass_time(6)
        assert world.launches.times() == ["12:00:10", "12:00:20"]

    def test_a_bad_one_is_shown_and_begins_when_it_is_mended(self, world: World) -> None:
        world.rules["a.yml"] = BROKEN
        world.scheduler.add("a.yml", Origin.AUTOSTART)
        world.scheduler.add("none.yml", Origin.AUTOSTART)
        first, second = world.scheduler.added()
        assert "not YAML" in (first.problem or "")
        assert "no flow" in (second.problem or "")
        world.edit("a.yml", ScheduleSpec(every_seconds=10))
        world.pass_time(20)
        assert world.launches.times() == ["12:00:10", "12:00:20"]

    def test_one_that_a_person_removed_stays_out_until_added_again(self, world: World) -> None:
        world.rules["a.yml"] = ScheduleSpec(every_seconds=10)
        world.scheduler.remove(world.scheduler.add("a.yml", Origin.AUTOSTART))
        world.restart(after_seconds=60)
        world.scheduler.add("a.yml", Origin.AUTOSTART)
        world.pass_time(60)
        assert world.launches.started == []
        assert world.scheduler.added() == []
        world.scheduler.add("a.yml", Origin.FLOW)
        world.pass_time(10)
        assert len(world.launches.started) == 1

    def test_one_that_the_configuration_forgot_is_gone(self, world: World) -> None:
        for path in ("a.yml", "b.yml"):
            world.rules[path] = ScheduleSpec(every_seconds=10)
            world.scheduler.add(path, Origin.AUTOSTART)
        world.flow("c.yml", every_seconds=10)
        world.scheduler.forget_autostart(except_flows={"b.yml"})
        assert [shown.flow for shown in world.scheduler.added()] == ["b.yml", "c.yml"]
        world.pass_time(10)
        assert sorted(launch.flow for launch in world.launches.started) == ["b.yml", "c.yml"]

    def test_a_rule_that_changed_in_the_configuration_counts_from_the_start(self, world: World) -> None:
        world.scheduler.add("a.yml", Origin.AUTOSTART, rule=ScheduleSpec(cron="0 13 * * *"))
        world.restart(after_seconds=600)
        world.scheduler.add("a.yml", Origin.AUTOSTART, rule=ScheduleSpec(cron="* * * * *"))
        world.pass_time(60)
        assert world.launches.times() == ["12:11:00"]


class TestThread:
    """The scheduler's own thread, on the same clock."""

    def test_it_fires_and_stops(self, world: World) -> None:
        world.scheduler.start()
        world.clock.wait_for_sleeper()
        world.flow("a.yml", every_seconds=3)
        for _ in range(7):
            world.clock.wait_for_sleeper()
            world.clock.advance(1)
        world.clock.wait_for_sleeper()
        assert world.launches.times() == ["12:00:03", "12:00:06"]
        assert world.scheduler.last_tick_at == world.clock.now()
        world.scheduler.stop()
        world.clock.advance(60)
        assert len(world.launches.started) == 2

    def test_a_slot_within_the_second_is_not_late(self, world: World) -> None:
        """The pause ends at the slot, not at the next full second."""
        world.clock.jump(0.25)
        world.flow("a.yml", every_seconds=1.5)
        world.scheduler.start()
        for seconds in (1.0, 0.5, 1.0, 0.5):
            world.clock.wait_for_sleeper()
            world.clock.advance(seconds)
        world.clock.wait_for_sleeper()
        assert world.launches.lateness == [0.0, 0.0]


def test_ten_thousand_schedules_cost_an_idle_tick_nothing(world: World) -> None:
    """A look at 10,000 schedules of which none is due takes under 10 ms (in fact some microseconds)."""
    world.flow("a.yml", cron="0 3 * * *")
    (row,) = world.schedules.active()
    spec = ScheduleSpec(cron="0 3 * * *")
    rule = rule_of_spec(spec, anchor=NOON)
    for number in range(10_000):
        world.scheduler._agenda.put(Entry(replace(row, id=str(number)), spec, rule, NOON))
    world.clock.advance(1)
    begin = time.thread_time()
    for _ in range(10):
        world.scheduler.tick()
    assert (time.thread_time() - begin) / 10 < 0.010
