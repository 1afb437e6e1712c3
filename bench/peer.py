"""The peer's half of the benchmark: ddeutil-workflow, in one process and in memory; prints one JSON object.

Run by `bench/run.py` with the interpreter of `.venv-peer`. The peer is given its cheapest stage (an echo with
one template) and its logging is off, so that its engine is measured and not its console.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import time
from importlib.metadata import version
from typing import Any

os.environ.setdefault("WORKFLOW_LOG_DEBUG_MODE", "false")
os.environ.setdefault("WORKFLOW_LOG_TRACE_HANDLERS", '[{"type": "console"}]')
os.environ.setdefault("WORKFLOW_LOG_AUDIT_ENABLE_WRITE", "false")

from ddeutil.workflow import Workflow

logging.disable(logging.CRITICAL)

RUNS = 60
LOOP_ITEMS = 1000


def workflow_of(stages: list[dict[str, Any]]) -> Workflow:
    """A workflow of one job with these stages."""
    return Workflow.model_validate(
        {"name": "bench", "params": {"n": "int"}, "jobs": {"only": {"stages": stages}}}
    )


def echo(number: int) -> dict[str, Any]:
    """The cheapest stage with a template in it."""
    return {"name": f"Step {number}", "id": f"s{number}", "echo": "value ${{ params.n }}"}


def seconds_of(workflow: Workflow) -> float:
    """How long one run takes; a run that does not succeed ends the benchmark."""
    begun = time.perf_counter()
    result = workflow.execute(params={"n": 7})
    seconds = time.perf_counter() - begun
    if str(getattr(result.status, "name", result.status)).upper() != "SUCCESS":
        sys.exit(f"the peer's run ended as {result.status}: {result.context}")
    return seconds


def main() -> None:
    """Measure and print."""
    ten = workflow_of([echo(number) for number in range(10)])
    one = workflow_of([echo(0)])
    hundred = workflow_of([echo(number) for number in range(100)])
    loop = workflow_of(
        [
            {
                "name": "Loop",
                "id": "loop",
                "foreach": list(range(LOOP_ITEMS)),
                "concurrent": 9,
                "stages": [{"name": "Item", "id": "item", "echo": "item ${{ item }}"}],
            }
        ]
    )
    seconds_of(ten)
    ten_seconds = [seconds_of(ten) for _ in range(RUNS)]
    one_seconds = [seconds_of(one) for _ in range(RUNS)]
    hundred_seconds = [seconds_of(hundred) for _ in range(5)]
    loop_seconds = [seconds_of(loop) for _ in range(3)]
    per_stage = (statistics.median(hundred_seconds) - statistics.median(one_seconds)) / 99
    print(
        json.dumps(
            {
                "version": version("ddeutil-workflow"),
                "per_step_ms": per_stage * 1000,
                "ten_step_runs_per_second": 1 / statistics.mean(ten_seconds),
                "one_step_p50_ms": statistics.median(one_seconds) * 1000,
                "one_step_p99_ms": statistics.quantiles(one_seconds, n=100)[98] * 1000,
                "loop_1000_seconds": statistics.median(loop_seconds),
            }
        )
    )


if __name__ == "__main__":
    main()
