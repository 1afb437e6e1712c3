"""The store of schedules: who is in, and which slots were taken."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, select

from flow_processor.errors import FlowAlreadyAdded
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store import Store
from flow_processor.store.schedule_rows import Origin, ScheduleRow
from flow_processor.store.schedules import ScheduleStore
from flow_processor.store.slots import SlotOutcome
from flow_processor.store.tables import slots

NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOURLY = ScheduleSpec(cron="@hourly", timezone="Europe/Berlin")


@pytest.fixture
def schedules(store: Store) -> ScheduleStore:
    return ScheduleStore(store.writer, store.engine)


def add(schedules: ScheduleStore, flow: str = "a.yml", origin: Origin = Origin.FLOW) -> ScheduleRow:
    return schedules.add(flow, origin, override=None, timeout_seconds=None, at=NOON)


def claim(store: Store, schedule_id: str, slot: datetime, run_id: str = "run-1") -> bool:
    return store.writer.run(
        lambda connection: ScheduleStore.claim(
            connection, schedule_id, slot, outcome=SlotOutcome.STARTED, run_id=run_id, at=slot
        )
    )


def test_what_was_added_is_found_again(schedules: ScheduleStore) -> None:
    """Also by a store that is opened anew, to the microsecond."""
    added = schedules.add("a.yml", Origin.AUTOSTART, override=HOURLY, timeout_seconds=2.5, at=NOON)
    assert schedules.active() == [added]
    assert (added.flow, added.origin, added.override, added.timeout_seconds) == (
        "a.yml",
        "autostart",
        HOURLY,
        2.5,
    )
    assert (added.anchor, added.last_slot, added.in_force, added.last_run_id) == (NOON, None, None, None)
    assert added.handled_until == NOON


def test_the_rule_in_force_is_remembered_beside_the_override(schedules: ScheduleStore) -> None:
    added = schedules.add("a.yml", Origin.AUTOSTART, override=HOURLY, timeout_seconds=None, at=NOON)
    rule = ScheduleSpec(every_seconds=5)
    schedules.set_in_force(added, rule, since=NOON + MINUTE)
    (found,) = schedules.active()
    assert (found.override, found.in_force, found.anchor) == (HOURLY, rule, NOON + MINUTE)
    again = schedules.add("a.yml", Origin.AUTOSTART, override=None, timeout_seconds=9, at=NOON + 2 * MINUTE)
    assert (again.override, again.in_force, again.timeout_seconds) == (None, rule, 9)
    assert again.anchor == NOON + MINUTE


def test_a_flow_is_in_once(schedules: ScheduleStore) -> None:
    added = add(schedules)
    with pytest.raises(FlowAlreadyAdded, match=added.id):
        add(schedules)
    assert add(schedules, origin=Origin.AUTOSTART).id == added.id
    with pytest.raises(FlowAlreadyAdded):
        add(schedules)
    (found,) = schedules.active()
    assert found.origin is Origin.AUTOSTART


def test_a_slot_is_taken_once(store: Store, schedules: ScheduleStore) -> None:
    added = add(schedules)
    assert claim(store, added.id, NOON + MINUTE)
    assert not claim(store, added.id, NOON + MINUTE, run_id="run-2")
    assert not schedules.record_skipped(added.id, NOON + MINUTE, reason="late", at=NOON).result()
    (row,) = schedules.handled(added.id)
    assert (row.slot, row.outcome, row.run_id, row.reason) == (NOON + MINUTE, "started", "run-1", None)
    (found,) = schedules.active()
    assert (found.last_slot, found.last_run_id, found.handled_until) == (
        NOON + MINUTE,
        "run-1",
        NOON + MINUTE,
    )


def test_a_skipped_slot_moves_on_but_is_no_run(store: Store, schedules: ScheduleStore) -> None:
    added = add(schedules)
    claim(store, added.id, NOON + MINUTE)
    assert schedules.record_skipped(
        added.id, NOON + 2 * MINUTE, reason="missed", at=NOON + 3 * MINUTE
    ).result()
    (found,) = schedules.active()
    assert (found.last_slot, found.last_run_id) == (NOON + 2 * MINUTE, "run-1")
    newest = schedules.handled(added.id, limit=1)[0]
    assert (newest.outcome, newest.reason, newest.at) == ("skipped", "missed", NOON + 3 * MINUTE)


def test_claim_and_run_stand_or_fall_together(store: Store, schedules: ScheduleStore) -> None:
    """If the run cannot be inserted the slot is free again, and `last_slot` has not moved."""
    added = add(schedules)

    def broken(connection: Connection) -> None:
        assert ScheduleStore.claim(
            connection, added.id, NOON + MINUTE, outcome=SlotOutcome.STARTED, run_id="run-1", at=NOON
        )
        raise RuntimeError("the run's row cannot be written")

    with pytest.raises(RuntimeError):
        store.writer.run(broken)
    assert schedules.active()[0].last_slot is None
    assert claim(store, added.id, NOON + MINUTE)


@pytest.mark.parametrize("origin", list(Origin))
def test_no_slot_of_a_removed_schedule_can_be_taken(
    store: Store, schedules: ScheduleStore, origin: Origin
) -> None:
    added = add(schedules, origin=origin)
    claim(store, added.id, NOON + MINUTE)
    assert schedules.remove(added.id)
    assert not schedules.remove(added.id)
    assert not claim(store, added.id, NOON + 2 * MINUTE)
    assert schedules.active() == []
    with store.engine.connect() as connection:
        taken = list(connection.scalars(select(slots.c.slot)))
    assert taken == ([] if origin is not Origin.AUTOSTART else [(NOON + MINUTE).timestamp()])


def test_removing_what_is_not_there(schedules: ScheduleStore) -> None:
    assert not schedules.remove("nothing")


def test_an_autostart_entry_that_was_removed_stays_out(schedules: ScheduleStore) -> None:
    """Until somebody adds the flow by API: then it begins anew."""
    first = add(schedules, origin=Origin.AUTOSTART)
    schedules.remove(first.id)
    assert not add(schedules, origin=Origin.AUTOSTART).active
    again = add(schedules)
    assert again.active
    assert again.id != first.id


def test_forgotten_autostart_entries_go_and_others_stay(schedules: ScheduleStore) -> None:
    gone = add(schedules, "gone.yml", Origin.AUTOSTART)
    add(schedules, "kept.yml", Origin.AUTOSTART)
    add(schedules, "api.yml")
    assert schedules.forget_autostart(except_flows=["kept.yml"]) == [gone.id]
    assert [row.flow for row in schedules.active()] == ["api.yml", "kept.yml"]


def test_of_many_that_claim_at_once_one_gets_the_slot(database_url: str, store: Store) -> None:
    """Two stores on one database, as two processes have them; each slot is won once."""
    schedules = ScheduleStore(store.writer, store.engine)
    added = add(schedules)
    other = Store(database_url)
    won: list[tuple[str, int]] = []
    together = threading.Barrier(2)

    def race(name: str, mine: Store) -> None:
        together.wait(20)
        for number in range(100):
            if claim(mine, added.id, NOON + number * MINUTE, run_id=name):
                won.append((name, number))

    threads = [threading.Thread(target=race, args=pair) for pair in (("one", store), ("two", other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close()
    assert sorted(number for _, number in won) == list(range(100))
    assert {row.run_id for row in schedules.handled(added.id)} == {name for name, _ in won}
