"""Processes that stand still for a while (SIGSTOP, a suspended machine): nobody takes their work for lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.engine.counting_server import CountingServer
from tests.engine.world import until
from tests.faults.flows import PARALLEL, come_to_rest, posting, sleeping
from tests.faults.moments import let_pass
from tests.faults.slots import slots_of

STOP_SECONDS = 2.5


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Inside, the processes stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("who", "seconds"),
    [
        ("daemon", STOP_SECONDS),
        ("workers", STOP_SECONDS),
        pytest.param("daemon", 60.0, marks=pytest.mark.soak),
        pytest.param("workers", 60.0, marks=pytest.mark.soak),
        pytest.param("all", 60.0, marks=pytest.mark.soak),
    ],
)
def test_a_process_that_stood_still_goes_on_and_nothing_runs_twice(
    make_daemon: Callable[..., DaemonProcess], server: CountingServer, who: str, seconds: float
) -> None:
    """6: no second daemon gets in, no second worker gets the run, each call is made once."""
    daemon = make_daemon()
    daemon.start()
    flow = PARALLEL + posting(server, "/run/{{ __run_id__ }}", sleeping(0.3).partition("steps:\n")[2])
    accepted = [daemon.launch(daemon.write("post.yml", flow)) for _ in range(3)]
    daemon.until_step(accepted[0], "wait")
    pids = {"daemon": [daemon.process.pid], "workers": daemon.worker_pids()}
    with stopped(*pids.get(who, [*pids["daemon"], *pids["workers"]])):
        if who != "workers":
            assert daemon.spawn().wait(60) == 75
        let_pass(seconds)
    assert {daemon.until_ended(run_id)["status"] for run_id in accepted} == {"succeeded"}
    assert daemon.terminate() == 0
    posts = {path.removeprefix("/run/"): times for path, times in server.calls.items()}
    invariants.check(daemon.data, accepted=accepted, posts=posts)


def test_a_daemon_that_stood_still_over_slots_starts_the_newest_and_records_the_others(
    daemon: DaemonProcess,
) -> None:
    """29: as after a suspended machine; it looks at the clock within a second of waking up."""
    path = daemon.write(
        "tick.yml", PARALLEL + "schedule: {every_seconds: 1, catchup: latest}\n" + sleeping(0)
    )
    assert daemon.call("POST", "/api/flows/add", json={"path": path}).status_code == 201
    until(lambda: slots_of(daemon.data), "the first slot")
    with stopped(daemon.process.pid):
        let_pass(4.5)
    after = len(slots_of(daemon.data))
    until(lambda: len(slots_of(daemon.data)) >= after + 2, "it goes on")
    slots = come_to_rest(daemon)
    assert len({slot.moment for slot in slots}) == len(slots)
    started = [slot for slot in slots if slot.is_started]
    recorded = sum(slot.stands_for for slot in slots if not slot.is_started)
    between = round((started[-1].moment - started[0].moment).total_seconds()) + 1
    assert len(started) + recorded == between, slots
    assert recorded >= 2
    invariants.check(daemon.data, accepted=[slot.run_id for slot in started])
