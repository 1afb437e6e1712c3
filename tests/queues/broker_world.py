"""A service whose queues are at a real broker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flow_processor.run import RunFilter, RunStatus, Trigger
from flow_processor.service import Service
from flow_processor.service.views import RunDetail
from tests.engine.world import World, until
from tests.queues.broker import Broker

SEEN = "steps:\n  - {name: seen, type: set_fact, set_fact: {value: 1}}\n"
FAILS = "steps:\n  - {name: no, type: raise, raise: {message: not this one}}\n"


class BrokerWorld(World):
    """It listens, as the daemon does. Each test has queues of its own: the broker is there for many."""

    def __init__(self, data: Path, broker: Broker, **variables: Any) -> None:
        super().__init__(data, **{"broker_url": broker.url, "max_workers": 2, **variables})
        self.broker = broker

    def start(self) -> BrokerWorld:
        self.service = Service(self.settings)
        self.service.start(schedule=True)
        return self

    def listen(self, queue: str, flow: str, *, rest: str = "", steps: str = SEEN, more: str = "") -> None:
        """A flow that listens, once the broker has a queue for it."""
        self.write(flow, f"on: {{queue: {{name: {queue}{rest}}}}}\n{more}{steps}")
        until(lambda: self.has_queue(f"octospool.{queue}:{flow}"), f"{flow} listens to {queue}")

    def has_queue(self, name: str) -> bool:
        import amqp

        try:
            return self.broker.depth(name) >= 0
        except amqp.exceptions.NotFound:
            return False

    def send(self, queue: str, *messages: tuple[bytes, dict[str, Any]]) -> None:
        """Publish as any other program does: body and properties."""
        import amqp

        with self.broker.channel() as channel:
            for body, properties in messages:
                channel.basic_publish(amqp.Message(body, delivery_mode=2, **properties), f"octospool.{queue}")

    def put(self, queue: str, *values: Any, **more: Any) -> list[str]:
        """Items over the API's verb; their ids."""
        return self.service.queues.put(queue, values, **more).ids

    def runs(self, queue: str, flow: str | None = None) -> list[str]:
        """Ids of the runs that items of a queue have started, the oldest first."""
        wanted = RunFilter(flow=flow, trigger=(Trigger.QUEUE,), by=queue, oldest_first=True)
        return [run.run_id for run in self.service.runs(wanted, limit=1000).runs]

    def ended(self, queue: str, count: int, flow: str | None = None) -> list[RunDetail]:
        """Runs of a queue, once there are so many and all have ended."""
        found = until(lambda: len(ids := self.runs(queue, flow)) >= count and ids, f"{count} runs of {queue}")
        assert len(found) == count
        return [self.wait(run_id) for run_id in found]

    def until_quiet(self, queue: str, flows: Sequence[str]) -> None:
        """Return once every message is acknowledged and every item has ended."""

        def is_quiet() -> bool:
            with self.broker.channel() as channel:
                names = [f"octospool.{queue}:{flow}" for flow in flows]
                ready = sum(channel.queue_declare(name, passive=True).message_count for name in names)
            return ready == 0 and self.service.store.items.open_count(queue) == 0

        until(is_quiet, f"{queue} is worked off")


def inputs(runs: Sequence[RunDetail]) -> list[Any]:
    """What these runs got, all of them successful."""
    assert {run.status for run in runs} == {RunStatus.SUCCEEDED}, [run.error for run in runs]
    return [run.data["__input__"] for run in runs if run.data is not None]
