"""What `<file>.reason.json` says, beside a file that has failed: the same for items of queues and for watched files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from flow_processor.clock import from_epoch, to_text
from flow_processor.store.items import ItemRow


def told_of(failed: Sequence[ItemRow], *, queue: str | None) -> dict[str, Any]:
    """Of the flows that have given an item up; one row of no flow for what was refused. `queue` is None for a watched
    file."""
    first = failed[0]
    return {
        "id": first.item,
        "queue": queue,
        "name": first.name,
        "failed_at": to_text(from_epoch(max(row.ended_at or 0.0 for row in failed))),
        "reasons": [_reason(row) for row in failed],
    }


def _reason(row: ItemRow) -> dict[str, Any]:
    unknown = {"code": "unknown", "message": "nothing tells why"}
    return {
        **unknown,
        **json.loads(row.error or "{}"),
        "flow": row.flow or None,
        "run_id": row.run_id,
        "attempts": row.attempt,
    }
