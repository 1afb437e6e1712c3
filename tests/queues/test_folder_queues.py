"""Files that are dropped into the folders of a queue, with one real service for all tests: each has its own queue."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from flow_processor.clock import SystemClock
from flow_processor.errors import ItemNotFound
from flow_processor.queues.backend import Purged
from flow_processor.queues.folder import FolderBackend
from flow_processor.queues.folder_line import WaitingLine
from flow_processor.queues.folder_place import Place
from flow_processor.queues.item import Item
from flow_processor.run import RunStatus, Trigger
from tests.engine.world import until
from tests.queues.folder_world import FolderWorld, listening

FACT = "steps:\n  - {name: got, type: set_fact, set_fact: {value: '{{ __item__ }}'}}\n"
FAILS_AT_FIRST = """steps:
  - {name: a, type: raise, when: "__item__.attempt < 3", raise: {message: no}}
"""
FAILS = "steps:\n  - {name: a, type: raise, raise: {message: 'no way'}}\n"
WAITS = "steps:\n  - {name: w, type: wait, wait: {signal: go}}\n"
FLOWS = {
    "item.yml": listening("item", steps=FACT),
    "kinds.yml": listening("kinds"),
    "refused.yml": listening("refused"),
    "writing.yml": listening("writing"),
    "same.yml": listening("same"),
    "one.yml": listening("fan"),
    "two.yml": listening("fan"),
    "tries.yml": listening("tries", more=", attempts: 3, backoff_seconds: 0", steps=FAILS_AT_FIRST),
    "never.yml": listening("never", more=", attempts: 2, backoff_seconds: 0", steps=FAILS),
    "cancelled.yml": listening("cancelled", more=", attempts: 9", steps=WAITS),
    "fast.yml": listening("pair"),
    "slow.yml": listening("pair", steps=WAITS),
    "order.yml": listening("order", steps=FACT),
    "mends.yml": listening("mends", steps=FAILS),
    "purged.yml": listening("purged", steps=FAILS),
    "stuck.yml": listening("stuck"),
    "put.yml": listening("put"),
    "remade.yml": listening("remade"),
    "first.yml": listening("later", steps=WAITS),
    "a_well.yml": listening("well_first"),
    "b_fails.yml": listening("well_first", steps=FAILS),
    "a_fails.yml": listening("well_last", steps=FAILS),
    "b_well.yml": listening("well_last"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderWorld]:
    data = tmp_path_factory.mktemp("folders")
    (data / "config.yml").write_text(
        "queues: {kinds: {max_item_bytes: 1000}, refused: {max_item_bytes: 1000}}\n"
    )
    world = FolderWorld(data)
    for path, text in FLOWS.items():
        world.write(path, text)
    world.start()
    yield world
    world.leave()


def test_a_dropped_file_starts_the_flow_with_its_value(world: FolderWorld) -> None:
    world.drop("item", "order 1.json", {"id": 1}, at=1_790_000_000)
    (done,) = world.until_files("item", "done", 1)
    (run,) = world.runs("item.yml")
    assert (run.status, run.trigger, run.by) == (RunStatus.SUCCEEDED, Trigger.QUEUE, "item")
    data = world.service.run(run.run_id).data
    assert data is not None
    assert data["__input__"] == {"id": 1}
    item_id, name = done.split(".", 1)
    assert name == "order 1.json"
    assert data["got"] == {
        "id": item_id,
        "queue": "item",
        "name": "order 1.json",
        "time": "2026-09-21T14:13:20.000Z",
        "attempt": 1,
    }
    assert world.files("item", "new") == world.files("item", "processing") == []


def test_the_name_says_how_a_file_is_read(world: FolderWorld) -> None:
    """JSON, YAML, text; a binary file is named, and lies there while its run goes."""
    files = {
        "a.json": "[1, 2]",
        "b.yaml": "x: {y: 1}",
        "c.txt": "Grüße\n",
        "d.bin": b"\0\1\2",
        "e": b"\xff\xfe",
    }
    old = time.time() - 60
    for number, (name, content) in enumerate(files.items()):
        world.drop("kinds", name, content, at=old + number)
    world.drop("kinds", "f.bin", b"\0" * 5000, at=old + 9)  # larger than an item may be: only its path is one
    kept = {name.split(".", 1)[1]: name for name in world.until_files("kinds", "done", 6)}
    inputs = world.inputs("kinds.yml")
    assert len(inputs) == 6
    assert [value for value in ([1, 2], {"x": {"y": 1}}, "Grüße\n") if value not in inputs] == []
    binary = [value for value in inputs if isinstance(value, dict) and "file" in value]
    assert sorted(binary, key=lambda value: value["name"]) == [
        {"file": f"spool/kinds/processing/{kept[name]}", "name": name, "size": size}
        for name, size in (("d.bin", 3), ("e", 2), ("f.bin", 5000))
    ]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("bad.json", "{", "invalid_json"),
        ("nan.json", "NaN", "invalid_json"),
        ("deep.json", "[" * 900, "invalid_json"),
        ("bad.yml", "a: [", "invalid_yaml"),
        ("large.json", json.dumps("x" * 1000), "item_too_large"),
        ("large.txt", "ä" * 1000, "item_too_large"),
    ],
)
def test_what_can_be_no_item_is_failed_with_the_reason(
    world: FolderWorld, name: str, content: str, code: str
) -> None:
    world.drop("refused", name, content, at=time.time() - 60)
    (failed,) = world.until_files("refused", "failed", 1)
    reason = world.reason("refused")
    assert failed == f"{reason['id']}.{name}"
    assert (reason["queue"], reason["name"], reason["reasons"][0]["code"]) == ("refused", name, code)
    until(lambda: world.service.queues.failed("refused").items, "the item is listed")
    (item,) = world.service.queues.failed("refused").items
    assert (item.id, item.reasons[0].code, item.reasons[0].flow) == (reason["id"], code, None)
    world.service.queue_backend.delete("refused", item.id)
    assert world.files("refused", "failed") == []
    assert world.runs("refused.yml") == []


@pytest.mark.parametrize("kind", ["symlink", "folder", "fifo"])
def test_what_is_no_file_is_refused_and_never_followed(world: FolderWorld, kind: str, tmp_path: Path) -> None:
    path, aim = world.folder("refused", "new") / f"{kind}.json", tmp_path / "aim.json"
    aim.write_text("1")
    if kind == "symlink":
        path.symlink_to(aim)
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    world.until_files("refused", "failed", 1)
    assert world.reason("refused")["reasons"][0]["code"] == "not_a_file"
    until(lambda: world.service.queues.failed("refused").items, "the item is listed")
    assert world.service.queue_backend.purge("refused", Purged.FAILED) == 1
    assert world.files("refused", "failed") == []
    assert aim.read_text() == "1"


def test_a_file_that_is_still_being_written_waits(world: FolderWorld) -> None:
    """Open for writing; half of it there, and nobody has it open; with a name that says so."""
    new = world.folder("writing", "new")
    with (new / "open.txt").open("w") as file:
        file.write("half")
        file.flush()
        os.utime(new / "open.txt", (1, 1))  # however old it looks
        (new / "half.json").write_text('{"a": ')
        os.utime(new / "half.json", (time.time() + 3600,) * 2)  # young for as long as the test lasts
        (new / "x.json.part").write_text("{}")
        (new / ".hidden.json").write_text("{}")
        for number in range(3):
            world.drop("writing", f"{number}.json", number)
            world.until_files("writing", "done", number + 1)
        assert world.files("writing", "new") == ["half.json", "open.txt", "x.json.part"]
        file.write(" and half")
    (new / "half.json").write_text('{"a": 1}')
    world.until_files("writing", "done", 5)
    assert world.files("writing", "failed") == []
    inputs = world.inputs("writing.yml")
    assert {"a": 1} in inputs
    assert "half and half" in inputs


def test_the_same_name_again_is_another_item_and_the_same_id_is_not(world: FolderWorld) -> None:
    for number in range(2):
        world.drop("same", "a.json", number)
        world.until_files("same", "done", number + 1)
    for number in range(2):
        world.drop("same", "item-p3-mine.json", number)
        until(
            lambda: not world.files("same", "new") and not world.files("same", "processing"), "it is put away"
        )
        world.until_files("same", "done", 3)
    assert world.inputs("same.yml") == [0, 1, 0]
    assert json.loads((world.folder("same", "done") / "item-p3-mine.json").read_text()) == 0


def test_each_listener_gets_each_item_once(world: FolderWorld) -> None:
    for number in range(20):
        world.drop("fan", f"{number}.json", number)
    world.until_files("fan", "done", 20)
    assert sorted(world.inputs("one.yml")) == sorted(world.inputs("two.yml")) == list(range(20))


def test_an_id_that_comes_again_with_another_priority_is_the_same_item(world: FolderWorld) -> None:
    world.drop("same", "item-p2-other.json", [1])
    done = lambda: "item-p2-other.json" in world.files("same", "done")  # noqa: E731
    until(done, "it is done")
    number = len(world.runs("same.yml"))
    world.drop("same", "item-p7-other.json", [2])
    until(lambda: not world.files("same", "new") + world.files("same", "processing"), "it is dropped")
    assert (done(), len(world.runs("same.yml"))) == (True, number)
    assert "item-p7-other.json" not in world.files("same", "done")
    assert json.loads((world.folder("same", "done") / "item-p2-other.json").read_text()) == [1]


@pytest.mark.parametrize("queue", ["well_first", "well_last"])
def test_an_id_that_is_new_to_one_of_its_flows_keeps_the_file_that_it_came_with(
    world: FolderWorld, queue: str
) -> None:
    """Whichever flow's row is read first: the one that is done with it knows another name."""
    world.drop(queue, "item-other.json", [1])
    world.until_files(queue, "failed", 1)
    world.service.queues.delete(queue, "other", by="ann")
    world.drop(queue, "item-p5-other.json", [2])
    assert world.until_files(queue, "failed", 1) == ["item-p5-other.json"]
    assert world.service.queues.failed_item(queue, "other").value == [2]


def test_a_failed_run_is_tried_again(world: FolderWorld) -> None:
    world.drop("tries", "a.json", {"a": 1})
    world.until_files("tries", "done", 1)
    assert [run.status.value for run in world.runs("tries.yml")] == ["failed", "failed", "succeeded"]
    assert world.inputs("tries.yml") == [{"a": 1}] * 3
    (row,) = world.ledger("tries")
    assert (row.attempt, row.state.value, row.error) == (3, "done", None)


def test_an_item_without_attempts_left_is_failed(world: FolderWorld) -> None:
    world.drop("never", "a.json", 1)
    world.until_files("never", "failed", 1)
    first, last = world.runs("never.yml")
    (reason,) = world.reason("never")["reasons"]
    assert (reason["flow"], reason["run_id"], reason["attempts"]) == ("never.yml", last.run_id, 2)
    assert "no way" in reason["message"]
    assert first.run_id != last.run_id


def test_a_cancelled_run_is_not_tried_again(world: FolderWorld) -> None:
    world.drop("cancelled", "a.json", 1)
    (run,) = until(lambda: world.runs("cancelled.yml"), "the run is there")
    until(lambda: world.service.run(run.run_id).status is RunStatus.WAITING, "it waits")
    world.service.cancel_run(run.run_id, by="somebody")
    world.until_files("cancelled", "failed", 1)
    assert len(world.runs("cancelled.yml")) == 1


def test_a_slow_listener_holds_no_other_one_up(world: FolderWorld) -> None:
    """The slow one takes as many as its `concurrency` admits; the others wait for it in the ledger, in their order."""
    for number in range(8):
        world.drop("pair", f"{number}.json", number, at=1_790_000_000 + number)
    until(
        lambda: len([r for r in world.runs("fast.yml") if r.status.is_terminal]) == 8, "the fast one is done"
    )
    assert len(world.runs("slow.yml")) == 2
    assert len(world.files("pair", "processing")) == 8
    released: set[str] = set()

    def release() -> bool:
        for run in world.runs("slow.yml"):
            if run.status is RunStatus.WAITING and run.run_id not in released:
                world.service.signal_run(run.run_id, "go", by="test")
                released.add(run.run_id)
        return len(world.files("pair", "done")) == 8

    until(release, "the slow one is done")
    assert world.inputs("slow.yml") == list(range(8))


def test_urgent_ones_come_first_then_the_oldest(world: FolderWorld) -> None:
    world.service.queues.set_paused("order", True, by="test")
    for name, at in (("late.json", 30), ("early.json", 10), ("item-p9-urgent.json", 50), ("middle.json", 20)):
        world.drop("order", name, [name], at=1_790_000_000 + at)
    until(lambda: world.service.queue_backend.counts("order").waiting == 4, "four wait")
    assert world.service.queue_backend.counts("order").oldest_at == 1_790_000_010
    assert world.runs("order.yml") == []
    world.service.queues.set_paused("order", False, by="test")
    world.until_files("order", "done", 4)
    found = [name for (name,) in world.inputs("order.yml")]
    assert found == ["item-p9-urgent.json", "early.json", "middle.json", "late.json"]


def test_an_urgent_one_comes_first_although_the_folder_is_too_large_to_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with a million files is read again only after a while, for that takes seconds."""
    monkeypatch.setattr("flow_processor.queues.folder_line.BATCH", 4)
    monkeypatch.setattr("flow_processor.queues.folder_line.IDLE_SHARE", float("inf"))
    place = Place(tmp_path, "large")
    line = WaitingLine(place.new, SystemClock())

    def put(*ids: str, at: float, priority: int = 0) -> None:
        items = [Item(id=one, queue="large", value=1, put_at=at, priority=priority) for one in ids]
        place.put(items)
        line.note_put(items)

    def take() -> str | None:
        assert line.look() == (line.count > 0)
        file = line.next()
        if file is not None:
            (place.new / file).unlink()
        return file

    place.put([Item(id=f"usual-{number}", queue="large", value=1, put_at=1.0) for number in range(6)])
    assert take() == "item-usual-0.json"
    put("later", at=2.5)
    put("urgent", at=2.5, priority=1)
    put("most-urgent-1", "most-urgent-2", at=2.5, priority=9)
    assert line.count == 9
    assert [take() for _ in range(10)] == [
        "item-p9-most-urgent-1.json",
        "item-p9-most-urgent-2.json",
        "item-p1-urgent.json",
        *[f"item-usual-{number}.json" for number in range(1, 6)],
        "item-later.json",
        None,
    ]


def test_what_the_line_is_told_of_twice_counts_once_in_the_end(tmp_path: Path) -> None:
    """By a reading of the folder, and then by whoever put it there."""
    place = Place(tmp_path, "twice")
    line = WaitingLine(place.new, SystemClock())
    items = [Item(id=one, queue="twice", value=1, put_at=1.0) for one in ("a", "b")]
    place.put(items)
    assert line.look()
    line.note_put(items)
    assert line.look()
    assert [line.next() for _ in range(5)] == [*["item-a.json"] * 2, *["item-b.json"] * 2, None]
    assert line.count == 0


def test_a_folder_that_was_removed_is_made_again(world: FolderWorld) -> None:
    world.service.queues.put("remade", [1])
    world.until_files("remade", "done", 1)
    world.folder("remade", "processing").rmdir()
    world.service.queues.put("remade", [2])
    world.until_files("remade", "done", 2)
    assert world.inputs("remade.yml") == [1, 2]


def test_without_a_listener_items_wait_until_there_is_one(world: FolderWorld) -> None:
    world.drop("nobody", "a.json", 1)
    counts = world.service.queue_backend.counts("nobody")
    assert (counts.waiting, counts.in_work) == (1, 0)
    assert "nobody" in world.service.queue_backend.names()
    world.write("somebody.yml", listening("nobody"))
    world.until_files("nobody", "done", 1)
    assert world.inputs("somebody.yml") == [1]


def test_a_failed_item_begins_again_when_it_is_told_to(world: FolderWorld) -> None:
    world.drop("mends", "a.json", {"a": 1})
    world.until_files("mends", "failed", 1)
    (item,) = until(lambda: world.service.queues.failed("mends").items, "the item is listed")
    assert world.service.queues.failed_item("mends", item.id).value == {"a": 1}
    world.write("mends.yml", listening("mends", steps=FACT))
    until(lambda: world.run("mends.yml").status is RunStatus.SUCCEEDED, "the flow is mended")
    world.service.queue_backend.retry("mends", item.id)
    (done,) = world.until_files("mends", "done", 1)
    assert done == f"{item.id}.a.json"
    assert list(world.folder("mends", "failed").iterdir()) == []
    assert world.service.queues.failed("mends").items == []
    with pytest.raises(ItemNotFound):
        world.service.queue_backend.retry("mends", item.id)


def test_failed_items_can_all_go(world: FolderWorld) -> None:
    for number in range(3):
        world.drop("purged", f"{number}.json", number)
    world.until_files("purged", "failed", 3)
    assert world.service.queue_backend.purge("purged", Purged.FAILED) == 3
    assert list(world.folder("purged", "failed").iterdir()) == []
    assert world.service.queue_backend.counts("purged").failed == 0


def test_folders_that_cannot_be_used_are_told_and_lose_nothing(world: FolderWorld) -> None:
    processing = world.folder("stuck", "processing")
    processing.rmdir()
    processing.write_text("in the way")
    world.drop("stuck", "a.json", 1)
    (problem,) = until(lambda: world.service.queue_backend.problems("stuck"), "the problem is told")
    assert "processing" in problem
    processing.unlink()
    world.until_files("stuck", "done", 1)
    assert world.inputs("stuck.yml") == [1]
    until(lambda: not world.service.queue_backend.problems("stuck"), "the problem is gone")


def test_a_flow_that_begins_to_listen_while_folders_refuse_gets_nothing_that_others_have(
    world: FolderWorld,
) -> None:
    world.drop("later", "a.json", 1)
    (run,) = until(lambda: world.runs("first.yml"), "the run is there")
    done = world.folder("later", "done")
    done.rmdir()
    done.write_text("in the way")
    world.drop("later", "bad.json", "{", at=1)
    world.service.signal_run(run.run_id, "go", by="test")
    until(lambda: world.service.queue_backend.problems("later"), "nothing can be put away")
    world.write("second.yml", listening("later"))
    until(lambda: world.service.intake.room("later", "second.yml"), "it listens")
    done.unlink()
    world.until_files("later", "done", 1)
    world.until_files("later", "failed", 1)
    until(lambda: world.service.queues.failed("later").items, "what was refused is listed")
    world.drop("later", "b.json", 2)
    until(lambda: world.inputs("second.yml"), "it gets what comes from now on")
    assert world.inputs("second.yml") == [2]


def test_items_that_are_put_are_files_with_their_ids(world: FolderWorld) -> None:
    """The same key again is the same item: it starts nothing."""
    first = world.service.queues.put("put", [{"a": 1}, "b"], priority=5, key="k")
    world.until_files("put", "done", 2)
    again = world.service.queues.put("put", [{"a": 1}, "b"], priority=5, key="k")
    assert again.ids == first.ids
    until(lambda: not world.files("put", "new") and not world.files("put", "processing"), "they are put away")
    assert world.files("put", "done") == [f"item-p5-{item_id}.json" for item_id in first.ids]
    assert sorted(world.inputs("put.yml"), key=str) == ["b", {"a": 1}]


def test_what_a_killed_put_left_goes_at_the_start(tmp_path: Path) -> None:
    place, clock = Place(tmp_path, "killed"), SystemClock()
    place.make()
    left, mine = place.new / ".01ab23cd.item-x.json", place.new / ".7.json"
    left.touch()
    mine.touch()
    place.remove_unfinished(clock)
    assert left.exists(), "somebody may be writing it now"

    class Later(SystemClock):
        def now(self) -> datetime:
            return super().now() + timedelta(hours=1)

    place.remove_unfinished(Later())
    assert [path.name for path in place.new.iterdir()] == [mine.name]


def test_only_folders_with_the_name_of_a_queue_are_queues(world: FolderWorld, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (world.data / "spool" / "orders\n").mkdir()
    (world.data / "spool" / "linked").symlink_to(tmp_path / "elsewhere")
    (world.data / "spool" / "there").mkdir()
    assert {"there", "linked", "orders\n"} & world.service.queue_backend.names() == {"there"}


def test_reading_a_large_folder_holds_no_other_queue_up(
    world: FolderWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, look = threading.Event(), threading.Event(), WaitingLine.look

    def slow_look(line: WaitingLine) -> bool:
        if "large" in str(line._folder):
            begun.set()
            go.wait(60)
        return look(line)

    monkeypatch.setattr(WaitingLine, "look", slow_look)
    with ThreadPoolExecutor(2) as others:
        counted = others.submit(world.service.queue_backend.counts, "large")
        try:
            assert begun.wait(20)
            others.submit(world.service.queues.put, "small", [1]).result(20)
        finally:
            go.set()
        assert counted.result(20).waiting == 0


def test_a_purge_lets_others_on_between_its_pieces(
    world: FolderWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of it each time: the one thread that works queues off waits no longer than for that."""
    monkeypatch.setattr("flow_processor.queues.folder.AT_ONCE", 2)
    backend = world.service.queue_backend
    assert isinstance(backend, FolderBackend)
    held: list[str] = []
    changing = backend._changing

    def counted(queue: str) -> AbstractContextManager[None]:
        held.append(queue)
        return changing(queue)

    monkeypatch.setattr(backend, "_changing", counted)
    for number in range(5):
        world.drop("unheard", f"{number}.json", number)
    assert backend.purge("unheard", Purged.WAITING) == 5
    assert len(held) >= 3
    assert backend.counts("unheard").waiting == 0


def test_the_end_of_an_item_waits_for_nobody(world: FolderWorld) -> None:
    """The store's writer tells of it: if it waited for who works on the folders, and they for it, all would stand."""
    backend = world.service.queue_backend
    assert isinstance(backend, FolderBackend)
    until(lambda: "same" in backend._queues, "the queue is worked off")
    with ThreadPoolExecutor(2) as others:
        with backend._changing("same"):
            listens = others.submit(backend.listen, backend._listeners)  # waits for the folders of that queue
            wait([listens], timeout=0.2)
            told = others.submit(backend.has_ended, "same", "some-id", "same.yml")
            done, _ = wait([told], timeout=20)
        listens.result(30)
    assert done, "who tells of an end waits"
