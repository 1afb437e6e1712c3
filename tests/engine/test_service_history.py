"""What the service tells about runs: pages, logs that are followed, deletion."""

from __future__ import annotations

import threading
import time

import pytest

from flow_processor.errors import InvalidRequest, RunIsLive, RunNotFound
from flow_processor.run import RunFilter, RunStatus
from tests.engine.world import World

WAIT = "  - {name: wait, type: sleep, sleep: {seconds: '{{ __input__ or 0 }}'}}\n"
SAY = "  - {name: say, type: debug, debug: {data_key: __input__}}\n"


def test_pages_follow_their_cursor_to_the_end(world: World) -> None:
    path = world.write("paged.yml", f"concurrency: {{on_conflict: parallel}}\nsteps:\n{SAY}")
    launched = [world.launch(path) for _ in range(7)]
    for run_id in launched:
        world.wait(run_id)
    seen: list[str] = []
    cursor = None
    for size in (3, 3, 1):
        page = world.service.runs(RunFilter(flow=path), limit=3, cursor=cursor)
        assert len(page.runs) == size
        seen += [run.run_id for run in page.runs]
        cursor = page.next_cursor
    assert cursor is None
    assert seen == sorted(launched, reverse=True)


def test_a_cursor_that_is_none_is_refused(world: World) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        world.service.runs(cursor="' OR 1=1")


def test_a_log_is_followed_to_its_end(world: World) -> None:
    """A reader waits for the first line, gets each line once, and is told when nothing more will come."""
    run_id = world.launch(f"steps:\n{SAY}{WAIT}{SAY.replace('say', 'again')}", data=0.4)
    messages: list[str] = []
    after, complete = 0, False
    give_up = time.monotonic() + 20
    while not complete:
        assert time.monotonic() < give_up
        page = world.service.run_logs(run_id, after=after, limit=1, wait_seconds=5)
        messages += [f"{line.step}: {line.message}" for line in page.lines]
        after, complete = page.next_cursor, page.complete
    assert messages == ["say: __input__: 0.4", "again: __input__: 0.4"]


def test_waiting_for_a_log_of_a_run_that_has_ended_does_not_wait(world: World) -> None:
    run = world.run(f"steps:\n{WAIT}")
    began = time.monotonic()
    page = world.service.run_logs(run.run_id, wait_seconds=20)
    assert (page.lines, page.complete) == ([], True)
    assert time.monotonic() - began < 2.0


def test_waiting_for_a_run_ends_with_it(world: World) -> None:
    run_id = world.launch(f"steps:\n{WAIT}", data=0.3)
    seen: list[RunStatus] = []
    waiters = [
        threading.Thread(target=lambda: seen.append(world.service.wait_for_run(run_id, 20).status))
        for _ in range(5)
    ]
    for waiter in waiters:
        waiter.start()
    for waiter in waiters:
        waiter.join(20)
    assert seen == [RunStatus.SUCCEEDED] * 5


def test_waiting_too_short_shows_the_run_as_it_is(world: World) -> None:
    run_id = world.launch(f"steps:\n{WAIT}", data=0.6)
    assert world.service.wait_for_run(run_id, 0.05).status in (RunStatus.QUEUED, RunStatus.RUNNING)
    world.wait(run_id)


def test_a_live_run_is_never_deleted(world: World) -> None:
    run_id = world.launch(f"steps:\n{SAY}{WAIT}", data=0.5)
    world.until_begun(run_id, "wait")
    with pytest.raises(RunIsLive):
        world.service.delete_run(run_id)
    world.service.delete_runs(older_than_days=0, status=())
    with pytest.raises(InvalidRequest, match="live"):
        world.service.delete_runs(older_than_days=None, status=[RunStatus.RUNNING])
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    world.service.delete_run(run_id)
    with pytest.raises(RunNotFound):
        world.service.run(run_id)


def test_deleting_everything_must_be_said(world: World) -> None:
    with pytest.raises(InvalidRequest, match="older_than_days"):
        world.service.delete_runs(older_than_days=None, status=())


def test_deletion_by_status_takes_only_that(world: World) -> None:
    good = world.run(f"steps:\n{SAY}")
    bad = world.run("steps:\n  - {name: bad, type: jq, jq: {expression: 'error(1)'}}\n")
    assert world.service.delete_runs(older_than_days=None, status=[RunStatus.FAILED]) >= 1
    assert world.service.run(good.run_id).status is RunStatus.SUCCEEDED
    with pytest.raises(RunNotFound):
        world.service.run(bad.run_id)


def test_a_run_that_is_not_there_is_told(world: World) -> None:
    for ask in (
        lambda: world.service.run("nothing"),
        lambda: world.service.run_logs("nothing"),
        lambda: world.service.wait_for_run("nothing", 5),
        lambda: world.service.cancel_run("nothing", by="a test"),
        lambda: world.service.delete_run("nothing"),
    ):
        with pytest.raises(RunNotFound, match="nothing"):
            ask()
