"""The world of the scheduler's tests as a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scheduling_world import FakeClock, Launches, World

from flow_processor.store import Store
from flow_processor.store.schedules import ScheduleStore


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A scheduler that has begun, at noon, over an empty store."""
    clock = FakeClock()
    store = Store(f"sqlite:///{tmp_path / 'octospool.db'}")
    schedules = ScheduleStore(store.writer, store.engine)
    made = World(clock, store, schedules, Launches(schedules, store, clock))
    made.scheduler.load()
    made.scheduler.tick()
    yield made
    made.scheduler.stop()
    store.close()
