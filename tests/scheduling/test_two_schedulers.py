"""Two schedulers on one store: what one changes the other takes in, and each slot starts once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scheduling_world import FakeClock, Launches, World

from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store import Store
from flow_processor.store.daemons import schedule_changes
from flow_processor.store.given_schedules import Given
from flow_processor.store.schedule_rows import Origin
from flow_processor.store.schedules import ScheduleStore

MINUTELY = ScheduleSpec(cron="* * * * *")


@pytest.fixture
def pair(database_url: str) -> Iterator[tuple[World, World]]:
    """Both look at one clock; the second one has a store of its own on the same database."""
    clock = FakeClock()
    worlds: list[World] = []
    for _ in range(2):
        store = Store(database_url)
        schedules = ScheduleStore(store.writer, store.engine)
        world = World(clock, store, schedules, Launches(schedules, store, clock))
        world.rules["a.yml"] = MINUTELY
        world.scheduler.load()
        world.scheduler.tick()
        worlds.append(world)
    yield worlds[0], worlds[1]
    for world in worlds:
        world.scheduler.stop()
        world.store.close()


def changes(world: World) -> str:
    with world.store.engine.connect() as connection:
        return schedule_changes(connection)


def pass_minutes(one: World, other: World, minutes: int) -> None:
    """Both tick each minute, in turns first."""
    for number in range(minutes):
        one.clock.advance(60)
        for world in (one, other) if number % 2 else (other, one):
            world.scheduler.tick()


def test_each_slot_starts_once(pair: tuple[World, World]) -> None:
    one, other = pair
    one.scheduler.add("a.yml", Origin.FLOW)
    other.scheduler.take_in()
    other.scheduler.look_for_changes()
    pass_minutes(one, other, 6)
    started = sorted([*one.launches.slots(), *other.launches.slots()])
    assert started == [f"2026-11-21 12:0{minute}:00" for minute in range(1, 7)]
    assert one.launches.slots()
    assert other.launches.slots()


def test_what_one_changes_the_other_takes_in(pair: tuple[World, World]) -> None:
    one, other = pair
    seen = changes(other)
    row = one.scheduler.given.add("a.yml", MINUTELY, Given(), active=True, by="test")
    other.scheduler.take_in()
    assert other.scheduler.entry(row.id) is not None
    one.scheduler.given.change(row.id, lambda _: ScheduleSpec(cron="0 * * * *"), {})
    other.scheduler.take_in()
    entry = other.scheduler.entry(row.id)
    assert entry is not None
    assert entry.spec is not None
    assert entry.spec.cron == "0 * * * *"
    one.scheduler.given.deactivate(row.id)
    other.scheduler.take_in()
    assert other.scheduler.entry(row.id) is None
    one.scheduler.given.activate(row.id)
    other.scheduler.take_in()
    assert other.scheduler.entry(row.id) is not None
    one.scheduler.remove(row.id)
    other.scheduler.take_in()
    assert other.scheduler.entry(row.id) is None
    assert (changes(other) != seen) is (one.store.engine.dialect.name == "postgresql")


def test_what_has_not_changed_stays_planned(pair: tuple[World, World]) -> None:
    """A look at what others have changed begins no rule anew."""
    one, other = pair
    row = one.scheduler.given.add("a.yml", MINUTELY, Given(), active=True, by="test")
    other.scheduler.take_in()
    before = other.scheduler.entry(row.id)
    pass_minutes(one, other, 1)
    other.scheduler.take_in()
    assert other.scheduler.entry(row.id) is before
