"""One lifecycle through kill -9 of the daemon and its workers, in each phase that changes something and at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.world import until
from tests.querypie.fake import TOKEN, FakeQueryPie, Fault
from tests.querypie.lifecycles import ONE_EACH, flow

pytestmark = pytest.mark.skipif("sys.platform == 'win32'", reason="kill -9 and /proc are of Unix")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """One that has the token, and is not started yet."""
    (tmp_path / "data" / "flows").mkdir(parents=True)
    secrets = f"- {{name: querypie, type: token, token: {TOKEN}}}\n"
    (tmp_path / "data" / "secrets.yml").write_text(secrets, encoding="utf-8")
    daemon = DaemonProcess(tmp_path / "data")
    yield daemon
    daemon.end()


def die_at(daemon: DaemonProcess, fault: Fault) -> None:
    """kill -9 of everything while that call is under way, and a new start."""
    until(fault.begun.is_set, f"{fault.operation} is there")
    daemon.kill_with_workers()
    fault.let_go.set()
    daemon.start()


def test_a_killed_daemon_goes_on_and_sends_nothing_twice(daemon: DaemonProcess, pie: FakeQueryPie) -> None:
    """Behind the submission by itself; whether that was taken a person has to say."""
    submission = pie.fault("submit", "held_after")
    later = [pie.fault("approve", "held_after"), pie.fault("execute", "held_after")]
    later.append(pie.fault("status", "held_before", at=6))
    daemon.write("change.yml", flow(pie))
    daemon.start()
    run_id = daemon.launch("change.yml")

    die_at(daemon, submission)
    run = daemon.until_ended(run_id)
    assert (run["status"], "'change/submit'" in run["error"]["message"]) == ("interrupted", True), run[
        "error"
    ]
    (number,) = pie.requests
    body = {"mode": "value", "value": {"workflow_uuid": number}}
    assert daemon.call("POST", f"/api/runs/{run_id}/resume", json=body).status_code == 202

    for fault in later:
        die_at(daemon, fault)
    run = daemon.until_ended(run_id)
    assert run["status"] == "succeeded", run["error"]
    assert run["data"]["change"]["execution_status"] == "SUCCESS"
    assert pie.taken == ONE_EACH
    assert [pie.count(name) for name in ("identify", "submit", "approve", "execute")] == [1, 1, 2, 1]
