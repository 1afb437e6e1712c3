"""Flows that are there to be killed: what they call is counted by a server, under the id of their run."""

from __future__ import annotations

from collections import Counter

from tests.engine.counting_server import CountingServer

PARALLEL = "concurrency: {on_conflict: parallel}\n"
NUMBERS = "  - {name: numbers, type: jq, jq: {expression: '[range(50)] | map(. * .)'}}\n"
SUM = "  - {name: sum, type: jq, jq: {expression: '.numbers | add'}}\n"


def call(server: CountingServer, name: str = "call", *, behind: str = "", folder: str = "run") -> str:
    """A step that must not run twice: a POST to `/<folder>/<run id><behind>`."""
    uri = f"{server.url}/{folder}/{{{{ __run_id__ }}}}{behind}"
    return f"  - {{name: {name}, type: rest, rest: {{uri: '{uri}', method: POST}}}}\n"


def sleep(seconds: float, name: str = "nap") -> str:
    """A step that waits."""
    return f"  - {{name: {name}, type: sleep, sleep: {{seconds: {seconds:g}}}}}\n"


def work(server: CountingServer) -> str:
    """jq, a wait, a call that must be made once, a wait, jq; a few hundred milliseconds in all."""
    return f"{PARALLEL}steps:\n{NUMBERS}{sleep(0.05, 'before')}{call(server)}{sleep(0.05, 'after')}{SUM}"


def calls_by_run(server: CountingServer) -> Counter[str]:
    """How often each call was made: by the run's id, and what stands behind it after a `/`."""
    return Counter({path.split("/", 2)[2]: times for path, times in server.calls.items()})
