"""A schedule with one moment, over a store of its own, and the scheduler that fires it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from flow_processor.clock import SystemClock, from_epoch
from flow_processor.scheduling.flow_scheduler import FlowScheduler
from flow_processor.scheduling.hand_over import ScheduledLaunch
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store import Store
from flow_processor.store.given_schedules import Given, GivenScheduleStore
from flow_processor.store.runs import insert_run
from flow_processor.store.schedules import ScheduleStore
from flow_processor.store.slots import SlotOutcome, claim_slot
from tests.faults.store_acts import copied_store
from tests.store.stored import NOON, a_run


def add_one_off(store: Store) -> None:
    """It was added in 2020, for a moment of 2021: nobody has fired it yet."""
    rule = ScheduleSpec(at="2021-01-01T00:00:00Z", timezone="UTC")
    GivenScheduleStore(store.writer, store.engine).add(
        "a.yml", rule, Given(), in_force=rule, by="test", at=from_epoch(1_577_836_800)
    )


def scheduler(store: Store) -> FlowScheduler:
    """One that has loaded what the store has; a tick of it claims slots and inserts their runs, as the service does."""

    def launch(due: ScheduledLaunch) -> Future[None]:
        def record(connection: Connection) -> None:
            run, outcome = a_run(), SlotOutcome.STARTED
            if claim_slot(
                connection,
                due.schedule_id,
                due.slot,
                outcome=outcome,
                at=NOON,
                run_id=run.id,
                revision=due.revision,
            ):
                insert_run(connection, run)

        return store.writer.submit(record)

    made = FlowScheduler(
        ScheduleStore(store.writer, store.engine),
        GivenScheduleStore(store.writer, store.engine),
        launch=launch,
        rule_of=lambda flow: None,
        clock=SystemClock(),
        zone=ZoneInfo("UTC"),
    )
    made.load()
    return made


def fire_once(place: Path, idle: Callable[[], None]) -> None:
    """Killed in the middle (see kill_points.py): `fired` is there when the scheduler has done with it."""
    store = copied_store(place)
    made = scheduler(store)
    store.writer.run(lambda _: idle())
    made.tick()
    (place / "fired").touch()
    made.stop()
    store.close()


def counts(database: Path) -> tuple[int, int]:
    """(runs, slots that were handled)."""
    with closing(sqlite3.connect(database)) as connection:
        (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
        (slots,) = connection.execute("SELECT count(*) FROM slots").fetchone()
    return runs, slots
