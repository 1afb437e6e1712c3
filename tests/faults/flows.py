"""Flows that the tests launch, and what is said of a daemon that cannot work."""

from __future__ import annotations

from typing import Any

import requests

from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.counting_server import CountingServer
from tests.engine.world import until
from tests.faults.slots import Slot, slots_of

QUICK = "steps:\n  - {name: next, type: set_fact, set_fact: {value: done}}\n"
PARALLEL = "concurrency: {on_conflict: parallel}\n"


def sleeping(seconds: float, more: str = "") -> str:
    """Sleeps, then one step more."""
    steps = f"  - {{name: wait, type: sleep, sleep: {{seconds: {seconds}}}}}\n"
    return f"{more}steps:\n{steps}  - {{name: next, type: set_fact, set_fact: {{value: done}}}}\n"


def posting(server: CountingServer, path: str, before: str = "") -> str:
    """Makes a call that must be made once."""
    call = f"  - {{name: call, type: rest, rest: {{uri: '{server.url}{path}', method: POST}}}}\n"
    return f"steps:\n{before}{call}"


def try_launch(daemon: DaemonProcess, path: str, **body: Any) -> requests.Response:
    """Launch a flow; whatever is answered."""
    return daemon.call("POST", "/api/flows/launch", json={"path": path, **body})


def refusal(answer: requests.Response) -> tuple[int, str]:
    """Status and code of an answer that is an error."""
    return answer.status_code, str(answer.json().get("code"))


def is_ready(daemon: DaemonProcess) -> bool:
    """What /readyz says; it says either, and why not."""
    answer = daemon.call("GET", "/readyz")
    assert answer.status_code in (200, 503), answer.text
    ready = answer.json()["ready"]
    assert ready is (answer.status_code == 200)
    assert ready or any(not check["ok"] and check["message"] for check in answer.json()["checks"])
    return bool(ready)


def come_to_rest(daemon: DaemonProcess) -> list[Slot]:
    """No schedule starts anything any more, every run has ended, the daemon has left; the slots until then.

    They are read first: a flow that is taken out of the scheduler takes its slots along.
    """
    slots = slots_of(daemon.data)
    for flow in daemon.call("GET", "/api/flows").json()["flows"]:
        assert daemon.call("DELETE", f"/api/flows/{flow['flow_id']}").status_code == 200
    until(lambda: not daemon.live_runs(), "every run ends")
    assert daemon.terminate() == 0
    return slots
