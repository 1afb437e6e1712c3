"""What is killed in the middle: changes of flow files over the API (see kill_points.py)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from flow_processor.clock import SystemClock
from flow_processor.flow_files.editing import EditableLibrary
from flow_processor.service.flow_edits import Expected, FlowEdits
from flow_processor.store import Store
from flow_processor.store.flow_edits import FlowEditStore
from tests.faults.store_acts import copied_store


def flow_edits(place: Path, store: Store) -> FlowEdits:
    """What changes flow files, over a folder and a store of its own."""
    return FlowEdits(
        EditableLibrary(place / "flows"),
        lambda: FlowEditStore(store.writer, store.engine),
        check=lambda flow: None,
        changed=lambda path: None,
        clock=SystemClock(),
    )


def flow_text(value: int) -> bytes:
    """A flow file of more than one write."""
    return (
        f"# {'x' * 20_000}\nsteps:\n  - {{name: a, type: set_fact, set_fact: {{value: {value}}}}}\n".encode()
    )


def edit_flow(place: Path, idle: Callable[[], None], *, in_writer: bool = False) -> None:
    """A flow file that was written by hand is overwritten by a call of Ada's."""
    store = copied_store(place)
    (place / "flows").mkdir()
    shutil.copy(place.parents[1] / "a.yml", place / "flows")
    edits = flow_edits(place, store)
    store.writer.run(lambda _: idle() if in_writer else None)
    if not in_writer:
        idle()
    edits.write("a.yml", flow_text(2), Expected(is_there=True), by="ada", dry=False)
    (place / "answered").touch()
    store.close()


def record_flow_edit(place: Path, idle: Callable[[], None]) -> None:
    """The same; it is the store's thread whose calls are counted."""
    edit_flow(place, idle, in_writer=True)
