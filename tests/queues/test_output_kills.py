"""kill -9 of a real daemon around steps that send items: each item has exactly one run of the flow that listens."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.world import until
from tests.queues.folder_world import listening

SENDER = """concurrency: {on_conflict: parallel}
steps:
  - {name: list, type: jq, jq: {expression: '[range(20)]'}, output: {queue: parts, type: multiple}}
  - name: each
    type: foreach
    foreach:
      items: '{{ list[:5] }}'
      max_parallel: 2
      steps: [{name: one, type: set_fact, set_fact: {value: '{{ item }}'}, output: parts}]
"""
ITEMS_OF_A_RUN = 25


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    daemon = DaemonProcess(tmp_path / "data", max_workers=2)
    daemon.write("sender.yml", SENDER)
    daemon.write("taker.yml", listening("parts"))
    yield daemon
    daemon.end()


def rows(daemon: DaemonProcess, query: str) -> list[Any]:
    """What the store says."""
    with sqlite3.connect(daemon.data / "octospool.db") as connection:
        return [row[0] for row in connection.execute(query)]


def taken(daemon: DaemonProcess) -> list[str]:
    """Ids of the items that the runs of the flow have which listens."""
    found = rows(daemon, "SELECT item FROM runs WHERE flow = 'taker.yml' AND status = 'succeeded'")
    return [json.loads(item)["id"] for item in found]


def sent(daemon: DaemonProcess) -> set[str]:
    """Ids of the items that are to be sent, as the journal says."""
    query = "SELECT json_array(run_id, seq, data) FROM journal WHERE data LIKE '{\"output\":%' AND event = 'succeeded'"
    found = set()
    for run_id, seq, data in map(json.loads, rows(daemon, query)):
        values = json.loads(data)
        count = len(values["result"]) if values["output"]["type"] == "multiple" else 1
        found |= {f"{run_id}-{seq}-{number:06}" for number in range(1, count + 1)}
    return found


def check(daemon: DaemonProcess, accepted: list[str]) -> None:
    """All that was sent has come, once."""
    expected = ITEMS_OF_A_RUN * len(accepted)
    until(lambda: len(taken(daemon)) >= expected, "every item has its run", seconds=60 + expected / 5)
    daemon.settle(seconds=120)
    assert Counter(taken(daemon)) == Counter(sent(daemon))
    assert len(sent(daemon)) == expected
    assert rows(daemon, "SELECT count(*) FROM outbox") == [0]
    invariants.check(daemon.data, accepted=accepted)


def test_what_was_committed_is_sent_by_the_next_daemon(daemon: DaemonProcess) -> None:
    """Killed between the commit of the results and their way to the queue, which takes nothing meanwhile."""
    in_the_way = daemon.data / "spool" / "parts"
    in_the_way.parent.mkdir()
    in_the_way.write_text("a file where a folder should be", encoding="utf-8")
    daemon.start()
    run_id = daemon.launch("sender.yml")
    assert daemon.until_ended(run_id)["status"] == "succeeded"
    daemon.kill_with_workers()
    assert rows(daemon, "SELECT count(*) FROM outbox") == [6]
    in_the_way.unlink()
    daemon.start()
    check(daemon, [run_id])


@pytest.mark.soak
def test_every_item_comes_once_however_often_the_daemon_is_killed(daemon: DaemonProcess) -> None:
    chance = random.Random(7)
    accepted = []
    daemon.start()
    for kill in range(20):
        for _ in range(chance.randrange(1, 6)):
            accepted.append(daemon.launch("sender.yml"))
        aim = len(taken(daemon)) + chance.randrange(2 * ITEMS_OF_A_RUN)
        until(lambda aim=aim: len(taken(daemon)) >= aim or not daemon.live_runs(), f"before kill {kill}")
        (daemon.kill_with_workers if kill % 2 else daemon.kill)()
        daemon.start()
    check(daemon, accepted)
