"""Lines about steps in the service's log. The run's own log is in the store."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from flow_processor.journal import Event, WireRow
from flow_processor.store.runs import RunRow

logger = logging.getLogger("octospool.engine")


def where(run: RunRow) -> dict[str, str]:
    """What every line about a run carries."""
    return {"run": run.id, "flow": run.flow}


def log_steps(run: RunRow, rows: Sequence[WireRow]) -> None:
    """Steps that came to an end: failures as warnings, all others for debugging.

    The journal has them all; a line for each would be most of what a quick run costs the daemon.
    """
    is_debugging = logger.isEnabledFor(logging.DEBUG)
    for _seq, path, attempt, event, _at, data in rows:
        if not path or event == Event.STARTED:
            continue
        if event in (Event.FAILED, Event.KILLED):
            error = json.loads(data or "{}")["error"]
            text = f"attempt {attempt} failed: {error['code']}: {error['message']}"
            logger.warning("%s", text, extra={**where(run), "step": path})
        elif is_debugging:
            logger.debug("%s", event, extra={**where(run), "step": path})
