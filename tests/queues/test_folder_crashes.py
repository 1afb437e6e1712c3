"""What is left behind when the process dies, at each place where it can: the next start loses nothing and starts
nothing twice. The states are made by hand here; `test_folder_kills` makes them with kill -9."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from flow_processor.queues import upkeep
from flow_processor.run import RunStatus
from tests.engine.world import until
from tests.queues.folder_world import FolderWorld, listening

ID = "20261121T200000000-aaaaaaa{}"
FAILS = "steps:\n  - {name: a, type: raise, raise: {message: no}}\n"
UNTIL_GO = "while [ ! -e go ]; do sleep 0.01; done"
WAITS = "steps:\n  - {name: w, type: wait, wait: {signal: go}}\n"


def move(world: FolderWorld, queue: str, source: str, target: str) -> None:
    """Put all files of a folder of the queue into another one."""
    for name in world.files(queue, source):
        (world.folder(queue, source) / name).rename(world.folder(queue, target) / name)


def sql(world: FolderWorld, statement: str) -> None:
    with world.service.store.engine.begin() as connection:
        connection.execute(text(statement))


def taken_and_no_more(world: FolderWorld) -> None:
    """The file was moved; no run was accepted."""
    for queue in ("taken", "binary"):
        world.folder(queue, "processing").mkdir(parents=True, exist_ok=True)
    (world.folder("taken", "processing") / f"{ID.format('a')}.a.json").write_text("1")
    (world.folder("taken", "processing") / "item-p4-mine.json").write_text("2")
    (world.folder("taken", "processing") / f"{ID.format('c')}.c.reason.json").write_text("3")
    (world.folder("binary", "processing") / f"{ID.format('b')}.b.bin").write_bytes(b"\0")


def taken_by_one_of_two(world: FolderWorld) -> None:
    """The run of one listener was accepted and has ended, the other one never got the item."""
    world.drop("two", "a.json", 1)
    world.until_files("two", "done", 1)
    sql(world, "DELETE FROM items WHERE queue = 'two' AND flow = 'two_b.yml'")
    sql(world, "DELETE FROM runs WHERE flow = 'two_b.yml'")
    move(world, "two", "done", "processing")


def ended_and_not_noted(world: FolderWorld) -> None:
    """The run has ended, and the ledger was not told."""
    world.drop("ended", "a.json", 1)
    world.until_files("ended", "done", 1)
    sql(world, "UPDATE items SET state = 'running', ended_at = NULL WHERE queue = 'ended'")
    move(world, "ended", "done", "processing")


def noted_and_not_moved(world: FolderWorld) -> None:
    """The ledger knows; the file was not put away. One is done, one has failed."""
    world.drop("noted", "a.json", 1)
    world.drop("notedbad", "b.json", 1)
    world.until_files("noted", "done", 1)
    world.until_files("notedbad", "failed", 1)
    move(world, "noted", "done", "processing")
    move(world, "notedbad", "failed", "processing")


def refused_and_not_noted(world: FolderWorld) -> None:
    """A file that is no item was moved to `failed/`, and the ledger was not told."""
    world.drop("refused", "a.json", "{", at=1)
    world.until_files("refused", "failed", 1)
    until(lambda: world.service.queues.failed("refused").items, "it is noted")
    sql(world, "DELETE FROM items WHERE queue = 'refused'")


def put_and_not_shown(world: FolderWorld) -> None:
    """A put was killed before its rename: nobody was told that it is there."""
    world.folder("hidden", "new").mkdir(parents=True, exist_ok=True)
    (world.folder("hidden", "new") / ".item-a.json").write_text("{")


def known_and_back_in_new(world: FolderWorld) -> None:
    """A power cut undid a rename whose run was accepted: an item that carries its id."""
    world.drop("back", "item-again.json", 1)
    world.until_files("back", "done", 1)
    move(world, "back", "done", "new")


def under_way(world: FolderWorld) -> None:
    """The run waits for a signal."""
    world.drop("waits", "a.json", 1)
    (run,) = until(lambda: world.runs("waits.yml"), "the run is there")
    until(lambda: world.service.run(run.run_id).status is RunStatus.WAITING, "it waits")


def left_alone(world: FolderWorld) -> None:
    """The run goes on while no daemon is there, and ends then: its worker writes that down."""
    world.drop("left", "a.json", 1)
    (run,) = until(lambda: world.runs("left.yml"), "the run is there")
    world.until_begun(run.run_id, "w")


def ends_alone(world: FolderWorld) -> None:
    (world.data / "go").touch()
    until(lambda: list((world.data / "handover").glob("*.json")), "the worker has written it down")


def due_again(world: FolderWorld) -> None:
    """The first attempt has failed; the second one is due in an hour, and then is made due now."""
    world.drop("again", "a.json", 1)
    until(lambda: [row for row in world.ledger("again") if row.next_at], "it is due again")
    sql(world, "UPDATE items SET next_at = 1 WHERE queue = 'again'")


def its_flow_was_broken(world: FolderWorld) -> None:
    """A flow that listens cannot be read at the next start: it keeps its right to the item."""
    world.write("broken.yml", "on: {queue: broken}\nsteps: [")


BEFORE: list[Callable[[FolderWorld], None]] = [
    taken_by_one_of_two,
    ended_and_not_noted,
    noted_and_not_moved,
    refused_and_not_noted,
    known_and_back_in_new,
    under_way,
    due_again,
    left_alone,
    ends_alone,
    taken_and_no_more,
    put_and_not_shown,
]
AGAIN = ", attempts: 2, backoff_seconds: 3600"
FLOWS = {
    "taken.yml": listening("taken"),
    "binary.yml": listening("binary"),
    "two_a.yml": listening("two"),
    "two_b.yml": listening("two"),
    "ended.yml": listening("ended"),
    "noted.yml": listening("noted"),
    "notedbad.yml": listening("notedbad", steps=FAILS),
    "refused.yml": listening("refused"),
    "hidden.yml": listening("hidden"),
    "back.yml": listening("back"),
    "waits.yml": listening("waits", steps=WAITS),
    "again.yml": listening("again", more=AGAIN, steps=FAILS),
    "left.yml": listening(
        "left", steps=f"steps:\n  - {{name: w, type: shell, shell: {{script: '{UNTIL_GO}'}}}}\n"
    ),
    "broken.yml": listening("broken"),
    "whole.yml": listening("broken"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderWorld]:
    """One service makes all states; another one, started after it, has to cope with them."""
    world = FolderWorld(tmp_path_factory.mktemp("crashes"))
    for path, flow in FLOWS.items():
        world.write(path, flow)
    world.start()
    for make in BEFORE[:-3]:
        make(world)
    # Nothing of the first service may touch what is made by hand.
    world.service.listening.close()
    move_files_of_last_states(world)
    world.stop()
    for make in BEFORE[-3:]:
        make(world)
    its_flow_was_broken(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep, "LOOK_SECONDS", 3600.0)  # what is missed at the start must not be mended later
        world.start()
        yield world
        world.leave()


def move_files_of_last_states(world: FolderWorld) -> None:
    """The first service may have put some of them away again."""
    for queue in ("two", "ended", "noted"):
        move(world, queue, "done", "processing")
    move(world, "notedbad", "failed", "processing")


def test_a_file_that_was_taken_runs_once(world: FolderWorld) -> None:
    world.until_files("taken", "done", 2)
    until(lambda: sorted(world.inputs("taken.yml")) == [1, 2, 3], "each of them, whatever it is called")
    world.until_files("binary", "done", 1)
    name = f"{ID.format('b')}.b.bin"
    assert world.inputs("binary.yml") == [
        {"file": f"spool/binary/processing/{name}", "name": "b.bin", "size": 1}
    ]


def test_a_listener_that_missed_it_gets_it_and_the_other_one_not_again(world: FolderWorld) -> None:
    world.until_files("two", "done", 1)
    assert (world.inputs("two_a.yml"), world.inputs("two_b.yml")) == ([1], [1])


@pytest.mark.parametrize("queue", ["ended", "noted", "back"])
def test_what_has_run_is_put_away_and_runs_no_second_time(world: FolderWorld, queue: str) -> None:
    world.until_files(queue, "done", 1)
    assert world.files(queue, "processing") == world.files(queue, "new") == []
    assert world.inputs(f"{queue}.yml") == [1]


def test_what_has_failed_is_put_away_with_its_reason(world: FolderWorld) -> None:
    world.until_files("notedbad", "failed", 1)
    assert world.reason("notedbad")["reasons"][0]["message"] == "no"
    assert len(world.runs("notedbad.yml")) == 1


def test_what_was_refused_is_listed_with_its_reason(world: FolderWorld) -> None:
    (item,) = until(lambda: world.service.queues.failed("refused").items, "it is noted")
    assert item.reasons[0].code == "invalid_json"


def test_half_a_put_is_no_item(world: FolderWorld) -> None:
    world.drop("hidden", "a.json", 1)
    world.until_files("hidden", "done", 1)
    assert world.inputs("hidden.yml") == [1]


def test_a_run_under_way_ends_its_item_when_it_ends(world: FolderWorld) -> None:
    (run,) = world.runs("waits.yml")
    assert len(world.files("waits", "processing")) == 1
    world.service.signal_run(run.run_id, "go", by="test")
    world.until_files("waits", "done", 1)
    assert len(world.runs("waits.yml")) == 1


def test_a_run_that_ended_while_no_daemon_was_there_ends_its_item_at_once(world: FolderWorld) -> None:
    world.until_files("left", "done", 1)
    assert [run.status for run in world.runs("left.yml")] == [RunStatus.SUCCEEDED]


def test_an_attempt_that_is_due_is_made(world: FolderWorld) -> None:
    world.until_files("again", "failed", 1)
    assert [run.status.value for run in world.runs("again.yml")] == ["failed", "failed"]


def test_a_broken_flow_keeps_its_right_to_items(world: FolderWorld) -> None:
    world.drop("broken", "a.json", 1)
    until(lambda: world.inputs("whole.yml") == [1], "the other one has it")
    assert len(world.files("broken", "processing")) == 1
    assert any("broken.yml" in problem for problem in world.service.queue_backend.problems("broken"))
    world.write("broken.yml", listening("broken"))
    world.until_files("broken", "done", 1)
    assert world.inputs("broken.yml") == [1]


def test_what_waits_for_a_flow_that_is_gone_is_failed_and_can_begin_again(world: FolderWorld) -> None:
    """By hand: the daemon does it once a flow has not listened for a minute."""
    world.drop("leaves", "a.json", 1)
    world.folder("leaves", "processing").mkdir()
    (world.folder("leaves", "processing") / "item-x.json").write_text("2")
    sql(
        world,
        "INSERT INTO items (queue, item, flow, state, attempt, put_at, next_at) "
        "VALUES ('leaves', 'x', 'gone.yml', 'due', 0, 1, 1)",
    )
    world.service.intake._lanes.of("leaves", "gone.yml").left_at = world.service.clock.monotonic() - 61
    world.service.intake._upkeep.look()
    until(lambda: world.files("leaves", "failed"), "it is failed")
    (reason,) = world.reason("leaves")["reasons"]
    assert (reason["code"], reason["flow"]) == ("not_listening", "gone.yml")
    world.service.queue_backend.retry("leaves", "x")
    world.write("stays.yml", listening("leaves"))
    world.until_files("leaves", "done", 2)
    assert sorted(world.inputs("stays.yml")) == [1, 2]
