"""A defect in a worker: whatever it is, the run ends and says so."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from flow_processor.engine.frames import FrameWriter, read_frame
from flow_processor.engine.order import RunOrder, WorkerSettings
from flow_processor.engine.worker import Worker
from flow_processor.journal import DISPATCH_SPAN, Event, from_wire

FLOW = "steps:\n  - {name: next, type: set_fact, set_fact: {value: done}}\n"
NONSENSE = (DISPATCH_SPAN + 1, "next", 1, "no event", 1_790_000_000.0, None)


def settings(data: Path) -> WorkerSettings:
    places = {f"{name}_path": str(data / name) for name in ("templates", "workers", "handover", "results")}
    return WorkerSettings(
        worker_id="w", data_path=str(data), private_paths=(), timezone="UTC", memory_mb=0, **places
    )


def order(rows: list[tuple[Any, ...]]) -> RunOrder:
    return RunOrder(
        run_id="20261121T074006123-k7x2m7qa",
        flow="a.yml",
        flow_hash="h",
        flows={"a.yml": FLOW},
        data={},
        dispatch=2,
        timeout_seconds=None,
        rows=rows,
        started_at=1_790_000_000.0,
    )


def said(order: RunOrder, data: Path) -> list[dict[str, Any]]:
    """The frames with which a worker answers an order."""
    pipe = io.BytesIO()
    Worker(settings(data), FrameWriter(pipe))._execute(order)
    pipe.seek(0)
    frames = []
    while (frame := read_frame(pipe)) is not None:
        frames.append(frame)
    return frames


def test_a_journal_that_cannot_be_folded_ends_the_run(tmp_path: Path) -> None:
    """Its end has a number of this worker, and names the defect."""
    last = said(order([NONSENSE]), tmp_path)[-1]
    assert last["ended"]["status"] == "failed"
    assert last["ended"]["error"]["code"] == "worker_error"
    assert "no event" in last["ended"]["error"]["message"]
    row = from_wire(last["rows"][-1])
    assert (row.event, row.seq // DISPATCH_SPAN) == (Event.ENDED, 2)


def test_a_flow_that_cannot_be_read_ends_the_run(tmp_path: Path) -> None:
    """A bundle that lacks its own flow, as no daemon sends it."""
    broken = order([])
    broken.flows.clear()
    last = said(broken, tmp_path)[-1]
    assert (last["ended"]["status"], last["ended"]["error"]["code"]) == ("failed", "worker_error")
