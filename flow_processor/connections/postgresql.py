"""How a step connects to PostgreSQL: with limits that hold in the server, too, even where the worker is killed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flow_processor.step import StepContext

_CONNECT_SECONDS = 15
_EXTRA_SECONDS = 5.0
"""The server's own limit comes so much later: the step's end comes first, in its own words."""


def connect_args(query: Mapping[str, Any], context: StepContext) -> dict[str, Any]:
    """What psycopg is told besides the address, of which `query` may say some of it itself."""
    left = context.remaining_seconds()
    limit = "" if left is None else f"-c statement_timeout={math.ceil((left + _EXTRA_SECONDS) * 1000)}"
    args = {
        "connect_timeout": max(
            2, math.ceil(_CONNECT_SECONDS if left is None else min(left, _CONNECT_SECONDS))
        ),
        "application_name": "octospool",
        "options": limit,
        # Named cursors and pooled connections (PgBouncer) do not know what another connection has prepared.
        "prepare_threshold": None,
    }
    return {name: value for name, value in args.items() if name not in query}
