"""Where in a flow file its schedule stands, for those who are told to edit it there."""

from __future__ import annotations

from flow_processor.documents import parse
from flow_processor.errors import OctospoolError
from flow_processor.flow_files.library import FlowLibrary

_KEYS = ("schedule", "cron", "every_seconds")


def schedule_place(library: FlowLibrary, flow: str) -> tuple[str, int | None]:
    """(file as people know it, line of the schedule); no line where the file is broken or has none now."""
    shown = library.shown(flow)
    try:
        document = parse(library.load(flow).text, file=shown)
    except OctospoolError:
        return shown, None
    key = next((key for key in _KEYS if key in document.data), None)
    position = None if key is None else document.position((key,))
    return shown, None if position is None else position[0]
