"""kill -9 of the daemon and of the broker: every item starts exactly one run per listener."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from flow_processor.errors import QueueUnavailable
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.world import until
from tests.queues.broker import Broker, own_broker
from tests.queues.broker_world import SEEN, BrokerWorld
from tests.queues.one_way import one_way

FLOWS = ("first.yml", "second.yml")
TWO_AT_ONCE = "concurrency: {limit: 2, on_conflict: queue}\n"


def runs_of_items(data: Path) -> Counter[tuple[str, str]]:
    """(flow, item) -> how many runs it has had."""
    with closing(sqlite3.connect(f"file:{data / 'octospool.db'}?mode=ro", uri=True)) as store:
        rows = store.execute("SELECT flow, item FROM runs WHERE item IS NOT NULL").fetchall()
    return Counter((flow, json.loads(item)["id"]) for flow, item in rows)


def once_each(ids: list[str]) -> Counter[tuple[str, str]]:
    """What `runs_of_items` must say of items."""
    return Counter((flow, item) for flow in FLOWS for item in ids)


def test_the_daemon_is_killed_between_receiving_and_acknowledging(tmp_path: Path, broker: Broker) -> None:
    data = tmp_path / "data"
    with one_way(broker.port) as way:
        url = broker.url.replace(str(broker.port), str(way.port))
        daemon = DaemonProcess(data, broker_url=url, max_workers=2)
        for flow in FLOWS:
            daemon.write(flow, f"on: {{queue: killed}}\n{TWO_AT_ONCE}{SEEN}")
        try:
            daemon.start()
            answer = daemon.call("POST", "/api/queues/killed", json={"item": "the first"})
            assert answer.status_code == 202, answer.text
            ids = answer.json()["ids"]
            until(lambda: runs_of_items(data) == once_each(ids), "both flows have had it")
            with broker.channel() as channel:
                import amqp

                ids += [f"m{number}" for number in range(60)]
                for item in ids[1:]:
                    channel.basic_publish(
                        amqp.Message(b"1", message_id=item, delivery_mode=2), "octospool.killed"
                    )
            until(lambda: len(runs_of_items(data)) >= 6, "some have runs")
            way.deafen()  # no acknowledgement arrives from now on; what is here gets its runs all the same
            assert daemon.call("GET", "/api/queues/killed").status_code == 200
            daemon.kill()
            daemon.start()
            until(lambda: len(runs_of_items(data)) >= 60, "half of them have runs")
            daemon.kill()
            daemon.start()
            until(lambda: len(runs_of_items(data)) == 2 * len(ids), "all have runs")
            names = [f"octospool.killed:{flow}" for flow in FLOWS]
            until(lambda: not any(broker.depth(name) for name in names), "what came twice is acknowledged")
            daemon.settle()
        finally:
            daemon.end()
        assert runs_of_items(data) == once_each(ids)


def test_the_broker_is_killed_while_items_are_worked_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with own_broker() as mortal:
        world = BrokerWorld(tmp_path / "data", mortal.broker).start()
        for flow in FLOWS:
            world.listen("broken", flow, more=TWO_AT_ONCE)
        ids = world.put("broken", *range(60))
        until(lambda: len(runs_of_items(world.data)) >= 20, "some have runs")
        mortal.kill()
        with pytest.raises(QueueUnavailable, match="nobody listens there") as refused:
            world.put("broken", "in vain")
        assert refused.value.details["retry_after_seconds"] == 5
        away = "the message broker amqp://127.0.0.1:"  # why, may be another thing from try to try
        (problem,) = until(lambda: world.service.queue_backend.problems("broken"), "it is told")
        assert away in problem
        ready = {check.name: check for check in world.service.readiness().checks}
        assert not ready["queues"].ok
        assert away in ready["queues"].message
        (told,) = world.service.queues.one("broken").problems  # figures as they last were
        assert away in told
        mortal.start()
        until(lambda: not world.service.queue_backend.problems("broken"), "it is connected again")
        ids += world.put("broken", "afterwards")
        until(lambda: len(runs_of_items(world.data)) == 2 * len(ids), "all have runs")
        world.until_quiet("broken", FLOWS)
        assert runs_of_items(world.data) == once_each(ids)
        world.leave()
    told = [
        record for record in caplog.records if "it is tried again, nothing is lost" in record.getMessage()
    ]
    assert 1 <= len(told) <= 3, [record.getMessage() for record in told]
