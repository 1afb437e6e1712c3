"""What the intake hands over so that the run of an item is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flow_processor.clock import from_epoch, to_text
from flow_processor.queues.lane import Delivery
from flow_processor.run import Trigger
from flow_processor.store import Connection
from flow_processor.store.file_items import FILES
from flow_processor.store.runs import RunRow

Claim = Callable[[Connection, RunRow], bool]
"""Done in the transaction that inserts the run; False: nothing starts."""


@dataclass(frozen=True, slots=True)
class ItemLaunch:
    """A run to be started."""

    flow: str
    """Path below the flows folder."""
    payload: Any
    params: Mapping[str, Any]
    trigger: Trigger
    by: str
    item: dict[str, Any]
    """What the run has as `__item__`."""
    claim: Claim


def launch_of(delivery: Delivery, claim: Claim) -> ItemLaunch:
    """The run of one attempt."""
    item, lane = delivery.item, delivery.lane
    is_file = item.queue == FILES
    return ItemLaunch(
        lane.flow,
        item.value,
        lane.spec.params,
        Trigger.FILE if is_file else Trigger.QUEUE,
        (item.name or item.id) if is_file else item.queue,
        {
            "id": item.id,
            "queue": None if is_file else item.queue,
            "name": item.name,
            "time": to_text(from_epoch(item.put_at)),
            "attempt": delivery.attempt,
        },
        claim,
    )
