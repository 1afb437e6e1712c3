"""A rehearsal in a process of its own: it evaluates a user's expressions, which neither daemon nor command does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flow_processor.engine.worker_start import clean_environment
from flow_processor.errors import InvalidRequest

TIME_LIMIT_SECONDS = 30.0
"""A template or jq expression may never end; then the rehearsal does."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What is to be rehearsed. JSON values only: it crosses a pipe."""

    flow: str
    """Path of the flow below the flows folder."""
    flows: Mapping[str, str]
    """The flow and its sub-flows, and what else a run takes along: `{path: text}`."""
    payload: Any
    """The flow's `__input__`."""
    params: Mapping[str, Any] | None
    """Values of its parameters; None where it declares none."""
    timestamp: str
    """The flow's `__timestamp__`, had it begun now."""
    api_url: str
    templates_path: str
    data_path: str
    memory_mb: int
    """Limit of the process's address space, in MiB; 0 for none."""


def rehearse(rehearsal: Rehearsal, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """What can be told of each step, as `flow_processor.rehearsal.flows.Rehearsed` has it.

    Raises InvalidRequest `rehearsal_failed` if the process does not come to its end.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "flow_processor.rehearsal.child"],
            input=json.dumps(asdict(rehearsal)).encode(),
            stdout=subprocess.PIPE,
            env=clean_environment(environment),
            timeout=TIME_LIMIT_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        reason = f"it did not end within {TIME_LIMIT_SECONDS:g} s: a template or jq expression takes too long"
    except subprocess.CalledProcessError as error:
        reason = f"its process ended with {error.returncode}: an expression took too much memory, or time"
    else:
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found
    raise InvalidRequest(f"the flow cannot be rehearsed; {reason}", code="rehearsal_failed")
