"""About how much of the store and of the disk a run's history takes: what retention by bytes counts."""

from __future__ import annotations

import json
from collections.abc import Iterable

from flow_processor.journal import WireLog, WireRow

ROW_BYTES = 100
"""What a row takes beside its texts: keys, numbers, its place in the index."""


def size_of(rows: Iterable[WireRow], logs: Iterable[WireLog]) -> int:
    """Bytes that these rows and lines take, with the files of large results that the rows name."""
    size = 0
    for _seq, path, _attempt, _event, _at, data in rows:
        size += ROW_BYTES + len(path)
        if data is not None:
            size += len(data)
            # Few rows name a file; only those that may are parsed.
            if '"result_file"' in data:
                size += _file_bytes(data)
    for _seq, _at, _level, step, message in logs:
        size += ROW_BYTES + len(step) + len(message)
    return size


def _file_bytes(data: str) -> int:
    try:
        details = json.loads(data)
    except ValueError:
        return 0
    size = details.get("bytes") if isinstance(details, dict) and "result_file" in details else None
    return size if type(size) is int and size > 0 else 0
