"""The state of a run is the fold of its journal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.flow_data import first_data, fold_data
from flow_processor.journal import DISPATCH_SPAN, Event, JournalRow, StepStatus, fold, from_wire, to_wire
from flow_processor.run import TERMINAL_STATUSES, RunStatus
from tests.run.journals import journals


def row(
    seq: int, path: str, event: Event, data: dict[str, Any] | None = None, *, attempt: int = 1
) -> JournalRow:
    """A row of the first dispatch, `seq` seconds after noon."""
    return JournalRow(DISPATCH_SPAN + seq, path, attempt if path else 0, event, 1000.0 + seq, data or {})


DISPATCHED = row(0, "", Event.DISPATCHED)


@given(journals(), st.data())
def test_every_prefix_of_a_journal_is_a_legal_state(rows: list[JournalRow], data: st.DataObject) -> None:
    """A crash may cut the journal anywhere."""
    cut = data.draw(st.integers(0, len(rows)))
    state = fold(rows[:cut])
    assert state.status is None or state.status in TERMINAL_STATUSES
    assert state.last_seq == max((row.seq for row in rows[:cut]), default=0)
    keys = [(step.path, step.attempt) for step in state.steps]
    assert len(keys) == len(set(keys))
    assert all((step.ended_at is None) is (step.status is StepStatus.RUNNING) for step in state.under_way())
    if state.status is not None:
        assert not state.under_way()


@given(journals(), st.data())
def test_what_has_ended_stays_ended_as_the_journal_grows(rows: list[JournalRow], data: st.DataObject) -> None:
    """An outcome that was durable is never taken back by a longer journal; only a kill waits for its policy."""
    cut = data.draw(st.integers(0, len(rows)))
    final = {(step.path, step.attempt): step for step in fold(rows).steps}
    for step in fold(rows[:cut]).steps:
        if step.status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED) or step.then is not None:
            assert final[step.path, step.attempt] == step


@given(journals())
def test_folding_is_deterministic_and_changes_nothing(rows: list[JournalRow]) -> None:
    before = [to_wire(row) for row in rows]
    assert fold(rows) == fold(rows)
    assert [to_wire(row) for row in rows] == before


@given(journals())
def test_a_journal_reads_the_same_from_the_wire(rows: list[JournalRow]) -> None:
    """As workers send it and the table keeps it: JSON text and back."""
    sent = json.loads(json.dumps([to_wire(row) for row in rows]))
    assert fold(from_wire(wire) for wire in sent) == fold(rows)


@given(journals())
def test_only_time_in_workers_hands_counts(rows: list[JournalRow]) -> None:
    moments = [row.at for row in rows]
    assert 0.0 <= fold(rows).worked_seconds <= max(moments) - min(moments)


def test_downtime_does_not_count_as_work() -> None:
    later = [
        JournalRow(2 * DISPATCH_SPAN, "", 0, Event.DISPATCHED, 9000.0),
        JournalRow(2 * DISPATCH_SPAN + 1, "a", 1, Event.SUCCEEDED, 9002.0),
    ]
    state = fold([DISPATCHED, row(5, "a", Event.STARTED), *later])
    assert state.worked_seconds == 7.0
    assert state.dispatches == 2


def test_an_empty_journal_is_a_run_that_has_not_begun() -> None:
    state = fold([])
    assert (state.steps, state.status, state.dispatches, state.last_seq) == ([], None, 0, 0)


def test_a_step_without_an_outcome_is_under_way() -> None:
    state = fold([DISPATCHED, row(1, "post", Event.STARTED, {"once": True})])
    (step,) = state.under_way()
    assert (step.path, step.once, step.started_at) == ("post", True, 1001.0)


def test_the_latest_word_on_once_counts() -> None:
    """A step with `when` begins as repeatable and says `once` when its condition held."""
    rows = [DISPATCHED, row(1, "post", Event.STARTED), row(2, "post", Event.STARTED, {"once": True})]
    assert fold(rows).under_way()[0].once


@pytest.mark.parametrize(
    ("event", "data", "status"),
    [
        (Event.SUCCEEDED, {"result": 1}, StepStatus.SUCCEEDED),
        (Event.SKIPPED, {}, StepStatus.SKIPPED),
        (Event.FAILED, {"error": {"code": "x"}, "then": "fail"}, StepStatus.FAILED),
        (Event.FAILED, {"error": {"code": "x"}, "then": "retry"}, StepStatus.FAILED),
        (Event.FAILED, {"error": {"code": "x"}, "then": "ignore"}, StepStatus.IGNORED),
        (Event.FAILED, {"error": {"code": "cancelled"}, "then": "fail"}, StepStatus.CANCELLED),
        (Event.KILLED, {"error": {"code": "step_timeout"}}, StepStatus.FAILED),
    ],
)
def test_an_outcome_gives_the_attempt_its_status(
    event: Event, data: dict[str, Any], status: StepStatus
) -> None:
    (step,) = fold([DISPATCHED, row(1, "a", Event.STARTED), row(2, "a", event, data)]).steps
    assert (step.status, step.ended_at) == (status, 1002.0)


@pytest.mark.parametrize(
    ("ended", "cut"),
    [
        (RunStatus.INTERRUPTED, StepStatus.INTERRUPTED),
        (RunStatus.CANCELLED, StepStatus.CANCELLED),
        (RunStatus.FAILED, StepStatus.CANCELLED),
    ],
)
def test_what_was_under_way_at_the_end_was_cut_off(ended: RunStatus, cut: StepStatus) -> None:
    end = row(2, "", Event.ENDED, {"status": ended.value, "error": None})
    (step,) = fold([DISPATCHED, row(1, "a", Event.STARTED), end]).steps
    assert step.status is cut


def test_lost_workers_are_counted_for_each_step_under_way() -> None:
    lost = {"worker": "w", "exit_code": -9, "under_way": [["loop", 1], ["loop[3]/post", 1]]}
    losses = fold(
        [DISPATCHED, row(1, "", Event.WORKER_LOST, lost), row(2, "", Event.WORKER_LOST, lost)]
    ).losses
    assert losses == {"": 2, "loop": 2, "loop[3]/post": 2}


@given(journals())
def test_flow_data_follows_from_the_steps_alone(rows: list[JournalRow]) -> None:
    """Folding the same steps into the same first data gives the same data: live, in history, after a restart."""

    def data() -> dict[str, Any]:
        first = first_data(
            run_id="r", flow="a.yml", timestamp="20261121074006", api_url="http://h", payload=1, params=None
        )
        for step in fold(rows).steps:
            fold_data(first, step)
        return first

    assert data() == data()


def test_the_first_data_of_a_flow() -> None:
    data = first_data(
        run_id="r1",
        flow="a.yml",
        timestamp="20261121074006",
        api_url="http://127.0.0.1:5000",
        payload={"n": 1},
        params={"p": 2},
    )
    assert data == {
        "__input__": {"n": 1},
        "__errors__": [],
        "__loop_index__": None,
        "__timestamp__": "20261121074006",
        "__run_id__": "r1",
        "__job_id__": "r1",
        "__flow_path__": "a.yml",
        "__api_url__": "http://127.0.0.1:5000",
        "params": {"p": 2},
    }
