"""What the store knows of runs that are part of others: what they are to do, and what they came to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flow_processor.clock import Clock
from flow_processor.journal import from_wire
from flow_processor.run import RunStatus, Trigger, new_run_id
from flow_processor.run_state import RunState, fold
from flow_processor.service.done_parts import has_done_a_part
from flow_processor.service.launched_flows import LaunchedFlows
from flow_processor.store import Connection, Store
from flow_processor.store.child_runs import adopt_children, insert_children, take_back_children
from flow_processor.store.runs import RunRow

GATHER_RUNS = 50
"""Runs in one answer at most."""

GATHER_BYTES = 16 * 1024 * 1024
"""So much of what they take likewise, but for a single one that takes more."""


class ChildRecords:
    """Records them and gathers what they came to."""

    def __init__(
        self,
        store: Store,
        flows: LaunchedFlows,
        *,
        data_of: Callable[[RunRow, RunState], dict[str, Any] | None],
        clock: Clock,
    ) -> None:
        self._store = store
        self._flows = flows
        self._data_of = data_of
        self._clock = clock

    def launch(self, parent: RunRow, path: str, flow: str, elements: Iterable[list[Any]]) -> None:
        """Record a run for each element `[index, payload, params]` that has none. Raises FlowLost, StoreUnavailable."""
        spec = self._flows.bundle(flow, parent.flow_hash).spec
        now = self._clock.now()
        children = [
            RunRow(
                id=new_run_id(now),
                flow=flow,
                # The parent's texts hold those of the flow: it runs as it was when the parent was launched.
                flow_hash=parent.flow_hash,
                trigger=Trigger.FLOW,
                trigger_by=f"{parent.id} {path}"[:200],
                status=RunStatus.QUEUED,
                input=payload,
                params=params,
                timeout_seconds=spec.timeout_seconds,
                created_at=now.timestamp(),
                parent=parent.id,
                parent_path=path,
                parent_index=int(index),
                daemon=self._store.daemon,
            )
            for index, payload, params in elements
        ]

        # What was cancelled with the parent, which then was resumed. Launched anew it would do its work twice; so it
        # has failed, and a retry of the parent asks.
        given_up = self._store.children.given_up(parent.id, path)
        if has_done_a_part(self._store, given_up):
            done = [run_id for run_id in given_up if has_done_a_part(self._store, [run_id])]
        else:
            done = []

        def record(connection: Connection) -> None:
            if done and children:
                take_back_children(connection, children, given_up=done)
            if parent.retry_of is not None:
                adopt_children(connection, children, old=parent.retry_of)
            insert_children(connection, children)

        if children:
            self._store.writer.run(record)

    def gather(self, parent: str, path: str, after: int) -> dict[str, Any]:
        """What they came to, from the element after that one on: `{children: […], after}`, not all at once."""
        rows = self._store.children.page(parent, path, after=after, limit=GATHER_RUNS)
        size = 0
        children: list[dict[str, Any]] = []
        for row in rows:
            size += row.bytes
            if children and size > GATHER_BYTES:
                break
            state = fold(from_wire(wire) for wire in self._store.journal.rows(row.id))
            children.append(
                {
                    "index": row.parent_index,
                    "run_id": row.id,
                    "status": row.status.value,
                    "final": any(step.final for step in state.steps),
                    "data": self._data_of(row, state),
                    "error": row.error,
                }
            )
        return {"children": children, "after": children[-1]["index"] if children else None}
