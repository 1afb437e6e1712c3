"""Runs in the store: transitions, the journal's rows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sqlalchemy import Connection

from flow_processor.journal import Event, from_wire
from flow_processor.run import (
    LEGAL_TRANSITIONS,
    LIVE_STATUSES,
    RunStatus,
)
from flow_processor.run_state import fold
from flow_processor.store import Store
from flow_processor.store.daemon_rows import end_run, record_signal, reopen_run, request_cancel
from flow_processor.store.journal import history_rows
from flow_processor.store.runs import (
    RunRow,
    count_bytes,
    insert_flow_version,
    move_run,
)
from tests.store.stored import NOON, a_run, insert_all


def ids(rows: list[RunRow]) -> list[str]:
    return [row.id for row in rows]


def test_a_run_is_read_as_it_was_written(store: Store) -> None:
    run = a_run(
        input={"list": [1, 2.5, "ü", None, True]},
        params={"day": 3},
        timeout_seconds=1.5,
        schedule_id="s1",
        slot=NOON.timestamp(),
        status=RunStatus.SKIPPED,
        ended_at=NOON.timestamp(),
        error={"code": "overlap", "message": "is running", "details": {}},
    )
    insert_all(store, [run])
    texts = [json.dumps(run.input), json.dumps(run.params)]
    assert store.runs.get(run.id) == replace(run, bytes=len("".join(texts)))
    assert store.runs.get("another") is None


def test_live_runs_come_oldest_first(store: Store) -> None:
    """In that order a restarted daemon goes on with them."""
    runs = [a_run(minute, status=status) for minute, status in enumerate(RunStatus)]
    insert_all(store, list(reversed(runs)))
    live = [run for run in runs if run.status in LIVE_STATUSES]
    waiting = [run.id for run in live if run.status is RunStatus.WAITING]
    assert ids(store.runs.under_way()) == [run.id for run in live if run.id not in waiting]
    assert [run.id for run in store.runs.parked()] == waiting


def test_the_text_of_a_flow_is_kept_once_for_its_runs(store: Store) -> None:
    for text in ("first", "second write of the same hash"):
        store.writer.run(
            lambda connection, text=text: insert_flow_version(
                connection, version="h", path="a.yml", flows={"a.yml": text}
            )
        )
    assert store.runs.flow_texts("h") == {"a.yml": "first"}
    assert store.runs.flow_texts("unknown") == {}


# Transitions.


@pytest.mark.parametrize("after", [status for status in RunStatus if status is not RunStatus.QUEUED])
def test_only_legal_transitions_are_written(store: Store, after: RunStatus) -> None:
    """From whatever status; nothing ever becomes queued, it begins so."""
    before = {status: a_run(status=status) for status in RunStatus}
    insert_all(store, [*before.values()])
    for status, run in before.items():
        moved = store.writer.run(lambda connection, run=run: move_run(connection, run.id, after, at=5.0))
        is_legal = after in LEGAL_TRANSITIONS[status]
        found = store.runs.get(run.id)
        assert found is not None
        assert moved is is_legal
        assert found.status is (after if is_legal else status)


def test_the_first_start_counts(store: Store) -> None:
    run = a_run()
    insert_all(store, [run])
    for status, at in [(RunStatus.RUNNING, 1.0), (RunStatus.WAITING, 2.0), (RunStatus.RUNNING, 3.0)]:
        store.writer.run(lambda connection, s=status, at=at: move_run(connection, run.id, s, at=at))
    found = store.runs.get(run.id)
    assert found is not None
    assert (found.status, found.started_at) == (RunStatus.RUNNING, 1.0)


@pytest.mark.parametrize("after", [RunStatus.RUNNING, RunStatus.CANCELLED])
def test_only_a_waiting_run_has_a_moment_to_go_on_at(store: Store, after: RunStatus) -> None:
    run = a_run(status=RunStatus.RUNNING)
    insert_all(store, [run])
    for status, at, wake_at in [(RunStatus.WAITING, 99.0, 99.0), (after, 5.0, None)]:
        store.writer.run(lambda connection, s=status, at=at: move_run(connection, run.id, s, at=at))
        found = store.runs.get(run.id)
        assert found is not None
        assert found.wake_at == wake_at


def test_an_end_is_a_status_and_a_journal_row_together(store: Store) -> None:
    """And it comes once: who ends a run a second time changes nothing."""
    run = a_run()
    insert_all(store, [run])
    error = {"code": "cancelled", "message": "by a person", "details": {}}
    for expected in (True, False):
        ended = store.writer.run(
            lambda connection: end_run(connection, run.id, RunStatus.CANCELLED, at=9.0, error=error)
        )
        assert ended is expected
    state = fold(from_wire(row) for row in store.journal.rows(run.id))
    found = store.runs.get(run.id)
    assert found is not None
    assert (found.status, found.error, found.ended_at) == (RunStatus.CANCELLED, error, 9.0)
    assert (state.status, state.error) == (RunStatus.CANCELLED, error)
    assert len(store.journal.rows(run.id)) == 1


def test_what_a_run_takes_is_added_up(store: Store) -> None:
    """A run that is gone meanwhile takes nothing."""
    run = a_run()
    insert_all(store, [run])
    for more in (100, 20):
        for run_id in (run.id, "gone"):
            store.writer.run(lambda connection, r=run_id, m=more: count_bytes(connection, r, m))
    found = store.runs.get(run.id)
    assert found is not None
    assert found.bytes == len("null") + 120


def test_what_a_run_is_told_counts_too(store: Store) -> None:
    """A signal or a given result may be as large as anything a step says."""
    run = a_run()
    insert_all(store, [run])
    text = "x" * 1000

    def tell(connection: Connection) -> None:
        record_signal(connection, run.id, name="paid", data=text, by="erp", at=1.0)
        request_cancel(connection, run.id, reason=text, by="ann", at=2.0)
        end_run(connection, run.id, RunStatus.INTERRUPTED, at=3.0, error={"message": text})
        assert reopen_run(connection, run.id, by="ann", steps=[("a", 1)], mode="value", value=text, at=4.0)

    store.writer.run(tell)
    found = store.runs.get(run.id)
    assert found is not None
    assert 4000 < found.bytes < 4500


# The journal.


def test_rows_that_are_handed_over_twice_count_once(store: Store) -> None:
    """What was committed and what a worker wrote down when its daemon died may overlap."""
    rows = [(seq, "a", 1, Event.STARTED.value, float(seq), None) for seq in (3, 1, 2)]
    for part in (rows[:2], rows):
        store.writer.submit(None, rows=history_rows("r", part)).result()
    assert [row[0] for row in store.journal.rows("r")] == [1, 2, 3]


def test_log_lines_are_read_from_a_cursor(store: Store) -> None:
    lines = [(seq, float(seq), "info", "a", f"line {seq}") for seq in range(1, 8)]
    store.writer.submit(None, rows=history_rows("r", [], lines)).result()
    first = store.journal.log_lines("r", after=0, limit=3)
    rest = store.journal.log_lines("r", after=first[-1][0], limit=100)
    assert [*first, *rest] == lines
    assert store.journal.log_lines("r", after=7, limit=100) == []
