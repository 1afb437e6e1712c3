"""What a worker wrote down for whoever comes next gets into the store, and what is broken stops nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flow_processor.engine.handover import Handovers
from flow_processor.journal import DISPATCH_SPAN, OUTSIDE_SPAN
from flow_processor.run import RunStatus, Trigger
from flow_processor.store import Store
from flow_processor.store.daemon_rows import record_signal, reopen_run
from flow_processor.store.outbox import forget_notes
from flow_processor.store.runs import RunRow, insert_run, move_run

RUN = "20261121T074006123-k7x2maqa"
START = DISPATCH_SPAN
Row = tuple[int, str, int, str, float, str | None]


class Left:
    """A store with one run that is under way, and the folder of what workers leave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(f"sqlite:///{folder / 'octospool.db'}")
        self.handovers = Handovers(self.store, folder)
        row = RunRow(
            id=RUN,
            flow="a.yml",
            flow_hash="hash",
            trigger=Trigger.API,
            trigger_by="api",
            status=RunStatus.QUEUED,
            input=None,
            created_at=1.0,
        )
        self.store.writer.run(lambda connection: insert_run(connection, row))
        self.move(RunStatus.RUNNING)

    def move(self, status: RunStatus, at: float = 2.0) -> None:
        self.store.writer.run(lambda connection: move_run(connection, RUN, status, at=at))

    def leave(self, *rows: Row, worker: str = "w1", **more: Any) -> Path:
        path = self.folder / f"{RUN}.{worker}.json"
        path.write_text(json.dumps({"run_id": RUN, "rows": rows, "logs": [], **more}))
        return path

    def run(self) -> RunRow:
        found = self.store.runs.get(RUN)
        assert found
        return found


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    left = Left(tmp_path)
    yield left
    left.store.close()


def ended(status: str, seq: int = START + 3) -> Row:
    return seq, "", 0, "ended", 5.0, json.dumps({"status": status, "error": None})


def parked(wake_at: float | None, seq: int = START + 3) -> Row:
    return seq, "", 0, "parked", 5.0, json.dumps({"wake_at": wake_at})


DONE: Row = (START + 1, "a", 1, "succeeded", 4.0, '{"result": 1, "started_at": 3.0}')
SENT: Row = (START + 2, "b", 1, "succeeded", 4.5, '{"output": {"queue": "paid"}, "result": 2}')
WAITS: Row = (START + 2, "ask", 1, "waiting", 4.5, '{"kind": "signal", "signal": "go"}')


def test_rows_and_status_are_taken_in_and_the_file_goes(left: Left) -> None:
    path = left.leave(DONE, ended("succeeded"), logs=[[START + 2, 4.0, "info", "a", "hello"]])
    assert left.handovers.take_in("w1")
    assert not path.exists()
    assert (left.run().status, left.run().ended_at) == (RunStatus.SUCCEEDED, 5.0)
    assert left.run().bytes > 0
    assert [line[4] for line in left.store.journal.log_lines(RUN, after=0, limit=9)] == ["hello"]
    assert not left.handovers.take_in("w1"), "there is nothing more"


def test_only_the_named_workers_file_is_taken_in(left: Left) -> None:
    other = left.leave(DONE, worker="w2")
    assert not left.handovers.take_in("w1")
    assert other.exists()
    left.handovers.take_in_all()
    assert not other.exists()
    assert len(left.store.journal.rows(RUN)) == 1


def test_a_run_that_was_parked_while_nobody_was_there_waits(left: Left) -> None:
    left.leave(DONE, WAITS, parked(99.0))
    left.handovers.take_in_all()
    assert (left.run().status, left.run().wake_at) == (RunStatus.WAITING, 99.0)


def test_what_it_waits_for_may_have_come_already(left: Left) -> None:
    """The signal was recorded while the worker was on its own: the run is due at once, not in a year."""
    left.store.writer.run(
        lambda connection: record_signal(connection, RUN, name="go", data=1, by="me", at=4.7)
    )
    left.leave(DONE, WAITS, parked(None))
    left.handovers.take_in_all()
    assert (left.run().status, left.run().wake_at) == (RunStatus.WAITING, 5.0)


def test_an_old_file_does_not_park_a_run_that_has_gone_on(left: Left) -> None:
    left.leave(DONE, WAITS, parked(99.0))
    left.handovers.take_in_all()
    left.move(RunStatus.RUNNING)
    left.leave((2 * DISPATCH_SPAN, "", 0, "dispatched", 6.0, '{"worker": "w2", "pid": 1}'))
    left.handovers.take_in_all()
    left.leave(DONE, WAITS, parked(99.0))
    left.handovers.take_in_all()
    assert left.run().status is RunStatus.RUNNING


def test_an_old_file_does_not_end_a_run_that_a_person_resumed(left: Left) -> None:
    left.leave(ended("interrupted"))
    left.handovers.take_in_all()
    assert left.run().status is RunStatus.INTERRUPTED
    resumed = left.store.writer.run(
        lambda connection: reopen_run(connection, RUN, by="me", steps=[], mode=None, value=None, at=7.0)
    )
    assert resumed
    left.leave(ended("interrupted"))
    left.handovers.take_in_all()
    assert left.run().status is RunStatus.QUEUED


def test_taking_in_twice_is_taking_in_once(left: Left) -> None:
    for _ in range(2):
        left.leave(DONE, ended("failed"))
        left.handovers.take_in_all()
    assert len(left.store.journal.rows(RUN)) == 2
    assert left.run().status is RunStatus.FAILED


@pytest.mark.parametrize(
    "content",
    ["", '{"run_id": "2026', "[]", "7", '{"run_id": 1, "rows": [], "logs": []}', '{"rows": [], "logs": []}']
    + [
        json.dumps({"run_id": RUN, "rows": [row], "logs": []})
        for row in ([], [1], [1, "a", 1, "x", 1.0, None])
    ]
    + [json.dumps({"run_id": RUN, "rows": [], "logs": [["1", 2, "a", "b", "c"]]})],
)
def test_a_file_that_is_no_handover_is_left_alone(left: Left, content: str) -> None:
    path = left.leave()
    path.write_text(content)
    left.leave(DONE, worker="w2")
    left.handovers.take_in_all()
    assert path.exists()
    assert len(left.store.journal.rows(RUN)) == 1, "the files beside it are taken in"


@pytest.mark.parametrize(
    "row",
    [(START + OUTSIDE_SPAN**3, "a", 1, "started", 1.0, None), (START, "\ud800", 1, "started", 1.0, None)],
)
def test_rows_that_no_store_takes_are_set_aside(left: Left, row: Row) -> None:
    path = left.leave(row)
    left.handovers.take_in_all()
    assert not path.exists()
    assert path.with_suffix(".rejected").exists()
    assert left.store.journal.rows(RUN) == []


def test_what_is_to_be_sent_is_noted_with_its_row_and_never_again(left: Left) -> None:
    """The worker did not hear that the daemon had committed a row, whose result is long on its queue."""
    left.leave(DONE, SENT)
    left.handovers.take_in_all()
    (note,) = left.store.outbox.oldest("paid", 9)
    assert (note.run_id, note.seq, note.at) == (RUN, START + 2, 4.5)
    left.store.writer.run(lambda connection: forget_notes(connection, [note]))
    later = (START + 3, "c", 1, "succeeded", 4.6, '{"output": {"queue": "paid"}, "result": 3}')
    left.leave(DONE, SENT, later)
    left.handovers.take_in_all()
    assert [note.seq for note in left.store.outbox.oldest("paid", 9)] == [START + 3]


def test_a_file_that_names_what_is_no_queue_is_not_taken_in(left: Left) -> None:
    path = left.leave(
        (START + 2, "b", 1, "succeeded", 4.5, '{"output": {"queue": "../../etc"}, "result": 2}')
    )
    left.handovers.take_in_all()
    assert path.exists()
    assert left.store.outbox.queues() == []
