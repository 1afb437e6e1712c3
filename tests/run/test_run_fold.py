"""The state of a run is the fold of its journal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_processor.flow_data import first_data, fold_data
from flow_processor.journal import DISPATCH_SPAN, Event, JournalRow, from_wire, to_wire
from flow_processor.run import TERMINAL_STATUSES, RunStatus
from flow_processor.run_state import RunState, StepStatus, fold
from flow_processor.store import Store
from flow_processor.store.journal import history_rows
from tests.run.journals import TICK, Story, journals, stories


def row(
    seq: int, path: str, event: Event, data: dict[str, Any] | None = None, *, attempt: int = 1
) -> JournalRow:
    """A row of the first dispatch, `seq` seconds after noon."""
    return JournalRow(DISPATCH_SPAN + seq, path, attempt if path else 0, event, 1000.0 + seq, data or {})


DISPATCHED = row(0, "", Event.DISPATCHED)


def check_legal(state: RunState) -> None:
    """What holds of every state, wherever its journal was cut."""
    assert state.status is None or state.status in TERMINAL_STATUSES
    assert (state.status is None) is (state.ended_at is None)
    keys = [(step.path, step.attempt) for step in state.steps]
    assert len(keys) == len(set(keys))
    for step in state.steps:
        assert (step.ended_at is None) is step.is_under_way
        assert step.waiting is not None or step.status is not StepStatus.WAITING
        assert step.result is None or step.result_file is None
    if state.status is not None:
        assert not state.under_way()
    check_signals(state)


def check_signals(state: RunState) -> None:
    """Each signal was taken by one step at most, and is open or taken, never both."""
    taken = [step.signal for step in state.steps if step.signal is not None]
    assert len(taken) == len(set(taken))
    sent = [signal.seq for signal in state.signals]
    still_open = [signal.seq for signal in state.open_signals()]
    assert still_open == [seq for seq in sent if seq not in taken]


@given(journals(), st.data())
def test_every_prefix_of_a_journal_is_a_legal_state(rows: list[JournalRow], data: st.DataObject) -> None:
    """A crash may cut the journal anywhere."""
    cut = data.draw(st.integers(0, len(rows)))
    state = fold(rows[:cut])
    assert state.last_seq == max((row.seq for row in rows[:cut]), default=0)
    check_legal(state)


@given(stories(), st.data())
def test_what_was_written_before_a_crash_is_a_legal_state(story: Story, data: st.DataObject) -> None:
    """Daemon, worker and people number their rows apart: what was written first need not come first."""
    cut = data.draw(st.integers(0, len(story.written)))
    check_legal(fold(sorted(story.written[:cut], key=lambda row: row.seq)))


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


@settings(max_examples=50, deadline=None)
@given(rows=journals())
def test_folding_is_the_same_after_a_restart(
    rows: list[JournalRow], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Written by one daemon, read by the next one."""
    url = f"sqlite:///{tmp_path_factory.mktemp('restart') / 'octospool.db'}"
    written = Store(url)
    written.writer.submit(lambda _connection: None, rows=history_rows("r", map(to_wire, rows))).result()
    written.close()
    read = Store(url)
    found = read.journal.rows("r")
    read.close()
    assert fold(map(from_wire, found)) == fold(rows)


@given(stories())
def test_only_time_in_workers_hands_counts(story: Story) -> None:
    """Neither parked time nor downtime; at most the moment in which a worker was lost is not seen."""
    dispatches = [row for row in story.written if row.event is Event.DISPATCHED]
    worked = fold(story.rows).worked_seconds
    assert story.held_seconds - 2 * TICK * len(dispatches) <= worked <= story.held_seconds


@given(stories())
def test_a_signal_is_taken_at_most_once(story: Story) -> None:
    """And the others stay for steps that are still to come, in the order in which they were sent."""
    state = fold(story.rows)
    assert [(signal.seq, signal.name) for signal in state.open_signals()] == story.sent
    check_signals(state)


@given(stories(), st.data())
def test_a_signal_that_was_taken_is_never_open_again(story: Story, data: st.DataObject) -> None:
    rows = story.rows
    cut = data.draw(st.integers(0, len(rows)))
    taken = {step.signal for step in fold(rows[:cut]).steps if step.signal is not None}
    assert not taken & {signal.seq for signal in fold(rows).open_signals()}


@given(stories())
def test_a_run_has_a_status_only_if_nobody_resumed_it_since(story: Story) -> None:
    state = fold(story.rows)
    assert (state.status is not None) is story.has_ended
    assert (state.error, state.ended_at) == (None, None) or story.has_ended


@given(stories())
def test_a_resumed_run_counts_anew(story: Story) -> None:
    """Up to the row with which a person lets it go on: no end, no doubt, no loss, no time. A cancel stands."""
    for resumed in [row for row in story.written if row.event is Event.RESUMED]:
        rows = [row for row in story.rows if row.seq <= resumed.seq]
        state = fold(rows)
        assert (state.status, state.error, state.ended_at, state.worked_seconds) == (None, None, None, 0.0)
        stops = [row for row in rows if row.event in (Event.CANCEL_REQUESTED, Event.FLOW_TIMED_OUT)]
        assert state.cancel_requested is any(row.event is Event.CANCEL_REQUESTED for row in stops)
        assert state.flow_timed_out is any(row.event is Event.FLOW_TIMED_OUT for row in stops)
        assert (state.stop_reason, state.stopped_at) == (
            ("it was to end", stops[0].at) if stops else ("", None)
        )
        assert not state.losses
        assert not state.crashes
        ((path, attempt),) = resumed.data["steps"]
        (step,) = [step for step in state.under_way() if (step.path, step.attempt) == (path, attempt)]
        assert not step.once
        assert (step.decision is None) is (resumed.data["mode"] == "rerun")


@given(stories())
def test_a_run_knows_whom_it_tries_again_and_what_it_kept(story: Story) -> None:
    state = fold(story.rows)
    kept = [row for row in story.written if row.seq < DISPATCH_SPAN]
    assert (state.retry_of is not None) is bool(kept)
    succeeded = {step.path for step in state.steps if step.status is StepStatus.SUCCEEDED}
    assert {row.path for row in kept if row.path} <= succeeded


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
        (Event.FAILED, {"error": {"code": "sibling_failed"}, "then": "fail"}, StepStatus.CANCELLED),
        (Event.FAILED, {"error": {"code": "sibling_exited"}, "then": "fail"}, StepStatus.CANCELLED),
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


def test_deaths_that_only_the_next_daemon_saw_are_counted_apart() -> None:
    """Not the step but the machine may be to blame."""
    lost = {"worker": "w", "exit_code": None, "under_way": [["post", 1]], "restart": True}
    state = fold([DISPATCHED, row(1, "", Event.WORKER_LOST, lost)])
    assert (state.losses, state.crashes) == ({}, {"": 1, "post": 1})


def test_a_step_that_waits_is_under_way_with_what_it_waits_for() -> None:
    wait = {"kind": "signal", "signal": "paid", "until": None}
    state = fold([DISPATCHED, row(1, "pay", Event.STARTED), row(3, "pay", Event.WAITING, wait)])
    (step,) = state.under_way()
    assert (step.status, step.waiting, step.started_at) == (StepStatus.WAITING, wait, 1001.0)


def test_a_parked_run_has_no_worker_until_it_is_handed_out_again() -> None:
    parked = [
        DISPATCHED,
        row(1, "nap", Event.STARTED),
        row(2, "nap", Event.WAITING, {"kind": "sleep", "until": 9000.0}),
        row(3, "", Event.PARKED, {"wake_at": 9000.0}),
    ]
    state = fold(parked)
    assert (state.is_parked, state.wake_at) == (True, 9000.0)
    assert state.under_way()[0].parked
    again = fold([*parked, JournalRow(2 * DISPATCH_SPAN, "", 0, Event.DISPATCHED, 9000.0)])
    assert (again.is_parked, again.wake_at) == (False, None)
    assert again.under_way()[0].parked, "its time limit counts from its begin"


def test_an_outcome_names_the_file_of_a_large_result_and_the_signal_that_it_took() -> None:
    data = {"result_file": "0" * 32 + ".json", "signal": 77}
    (step,) = fold([DISPATCHED, row(1, "a", Event.SUCCEEDED, data)]).steps
    assert (step.result, step.result_file, step.signal) == (None, "0" * 32 + ".json", 77)


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
        "__item__": None,
        "params": {"p": 2},
    }


def test_a_step_that_was_not_started_stands_where_that_was_said() -> None:
    """Behind the steps before, before those that follow on the end; and it may begin after all."""
    told = [row(1, "a", Event.SUCCEEDED, {"started_at": 1000.5}), row(2, "b", Event.NOT_STARTED)]
    steps = fold([DISPATCHED, *told, row(3, "finally/x", Event.SUCCEEDED, {"started_at": 1002.5})]).steps
    assert [(step.path, step.status.value) for step in steps] == [
        ("a", "succeeded"),
        ("b", "not_started"),
        ("finally/x", "succeeded"),
    ]
    assert fold([DISPATCHED, *told, row(3, "b", Event.STARTED)]).under_way()[0].path == "b"


@pytest.mark.parametrize(
    ("cancelled_at", "asked"), [(None, ["m", "close"]), (1002.5, ["close"]), (5000.0, ["m", "close"])]
)
def test_of_what_a_cancel_has_cut_off_nobody_is_asked(cancelled_at: float | None, asked: list[str]) -> None:
    """Only of what closes the run; of all where the clock was set back meanwhile, for then it cannot be told apart."""
    rows = [
        DISPATCHED,
        row(2, "m", Event.STARTED, {"once": True}),
        row(3, "close", Event.STARTED, {"once": True}),
    ]
    if cancelled_at is not None:
        cancel = {"reason": "cancelled by ann"}
        rows.append(JournalRow(2 * DISPATCH_SPAN - 1, "", 0, Event.CANCEL_REQUESTED, cancelled_at, cancel))
    assert [step.path for step in fold(rows).in_doubt()] == asked
