"""kill -9 of a real daemon while it works off a queue: each item has exactly one run of each flow that listens."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.world import until
from tests.queues.folder_world import listening

STEPS = """concurrency: {limit: 4, on_conflict: queue}
steps:
  - {name: got, type: set_fact, set_fact: {value: '{{ __input__ }}'}}
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    (tmp_path / "data" / "flows").mkdir(parents=True)
    daemon = DaemonProcess(tmp_path / "data", max_workers=2)
    yield daemon
    daemon.end()


def drop(data: Path, number: int) -> None:
    hidden = data / "spool" / "orders" / "new" / f".{number}.json"
    hidden.parent.mkdir(parents=True, exist_ok=True)
    hidden.write_text(json.dumps(number))
    hidden.rename(hidden.with_name(f"{number}.json"))


def done(data: Path) -> int:
    return len(list((data / "spool" / "orders" / "done").glob("*.json")))


@pytest.mark.parametrize(
    ("kills", "items"), [(2, 60), pytest.param(20, 2000, marks=pytest.mark.soak)], ids=["a few", "many"]
)
def test_each_item_runs_once_for_each_listener_however_often_the_daemon_is_killed(
    daemon: DaemonProcess, kills: int, items: int
) -> None:
    chance = random.Random(items)
    daemon.write("a.yml", listening("orders", steps=STEPS))
    daemon.write("b.yml", listening("orders", steps=STEPS))
    daemon.start()
    numbers = iter(range(items))
    for kill in range(kills):
        for _ in range(items // kills):
            drop(daemon.data, next(numbers))
        aim = done(daemon.data) + chance.randrange(items // kills)
        until(lambda aim=aim: done(daemon.data) >= aim, f"{aim} are done before kill {kill}")
        (daemon.kill_with_workers if kill % 2 else daemon.kill)()
        daemon.start()
    for number in numbers:
        drop(daemon.data, number)
    until(lambda: done(daemon.data) == items, "all are done", seconds=60 + items / 10)
    daemon.settle()
    with sqlite3.connect(daemon.data / "octospool.db") as connection:
        rows = connection.execute("SELECT flow, input, status FROM runs").fetchall()
        ids = [row[0] for row in connection.execute("SELECT id FROM runs")]
        open_items = connection.execute("SELECT count(*) FROM items WHERE state <> 'done'").fetchone()
    assert Counter(rows) == Counter(
        {(flow, str(number), "succeeded"): 1 for flow in ("a.yml", "b.yml") for number in range(items)}
    )
    assert open_items == (0,)
    for folder in ("new", "processing", "failed"):
        assert list((daemon.data / "spool" / "orders" / folder).iterdir()) == []
    invariants.check(daemon.data, accepted=ids)
