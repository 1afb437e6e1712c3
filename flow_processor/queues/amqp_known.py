"""Which flows have a queue at the broker: also those that listen no more, for their queues fill up."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from flow_processor.paths import write_atomic
from flow_processor.queues.amqp_link import depth
from flow_processor.queues.amqp_names import listener_queue
from flow_processor.queues.backend import Listeners

logger = logging.getLogger("octospool.queues")


class KnownListeners:
    """Remembers them in a file, for the broker tells no names. `{queue: [flow, …]}`"""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._flows = self._read()
        self._left: dict[str, list[str]] = {}
        """Queue -> flows that listen no more and have a queue at the broker."""

    def _read(self) -> dict[str, list[str]]:
        try:
            found = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be read, it begins anew: %s", self._file.name, error)
            return {}
        return {queue: list(flows) for queue, flows in found.items()}

    def queues(self) -> set[str]:
        """Their queues."""
        return set(self._flows)

    def flows(self, queue: str) -> list[str]:
        """The flows that have a queue at the broker for this one."""
        return self._flows.get(queue, [])

    def now(self, channel: Any, listeners: Listeners) -> None:
        """These listen now. Looks what became of the queues of others."""
        before = {(queue, flow) for queue, flows in self._flows.items() for flow in flows}
        current = {(queue, flow) for queue, flows in listeners.items() for flow in flows}
        left: dict[str, list[str]] = {}
        for queue, flow in sorted(before - current):
            if depth(channel, listener_queue(queue, flow)) is not None:
                left.setdefault(queue, []).append(flow)
        self._left = left
        known: dict[str, list[str]] = {}
        for queue, flow in sorted({*current, *((queue, flow) for queue, of in left.items() for flow in of)}):
            known.setdefault(queue, []).append(flow)
        if known != self._flows:
            write_atomic(self._file, json.dumps(known, indent=1).encode(), mode=0o600)
            self._flows = known
            for problem in (problem for queue in left for problem in self.problems(queue)):
                logger.warning("%s", problem)

    def problems(self, queue: str) -> list[str]:
        """What is said of queues that nobody empties."""
        return [
            f"flow '{flow}' listens to the queue '{queue}' no more, but its queue at the broker gets every"
            f" item: let it listen again, or delete it: rabbitmqctl delete_queue '{listener_queue(queue, flow)}'"
            for flow in self._left.get(queue, ())
        ]
