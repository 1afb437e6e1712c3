"""What a retry keeps: as much as was done, nothing that was not, whatever was the moment at which the run ended.

A small flow interpreter with the rules of the real one (visits in order, each asks the journal first) runs random
flows, is cut off anywhere, and goes on with what was kept.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.errors import InvalidRequest
from flow_processor.journal import Event, JournalRow
from flow_processor.run_state import fold
from flow_processor.service.kept_rows import Kept, kept_rows


class CutOff(Exception):
    """The run ends here, whatever it was doing."""


class Failed(Exception):
    """A step failed for good."""


@dataclass(frozen=True)
class Step:
    """A leaf without `inner`; with it a sub-flow, or a loop if there are `items`."""

    name: str
    inner: tuple[Step, ...] = ()
    items: int = 0
    tries: int = 1


def flows(depth: int = 2) -> st.SearchStrategy[tuple[Step, ...]]:
    """Flows of up to four steps, with sub-flows and loops in them."""
    inner = st.just(()) if depth == 0 else st.just(()) | flows(depth - 1)
    step = st.builds(Step, name=st.just(""), inner=inner, items=st.integers(0, 3), tries=st.integers(1, 3))
    return st.lists(step, min_size=1, max_size=4).map(
        lambda steps: tuple(
            Step("abcd"[n], one.inner, one.items if one.inner else 0, one.tries)
            for n, one in enumerate(steps)
        )
    )


@dataclass
class Interpreter:
    """Runs a flow over what was kept."""

    kept: list[JournalRow] = field(default_factory=list)
    luck: Iterator[bool] = field(default_factory=lambda: itertools.repeat(True))
    """Does the next leaf succeed?"""
    cut_after: int | None = None
    rows: list[JournalRow] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    """Leaves that succeeded, by their path without attempts."""

    def __post_init__(self) -> None:
        self.rows += self.kept
        self._past = {(row.path, row.attempt): row for row in self.kept}

    def execute(self, steps: tuple[Step, ...], prefix: str = "", place: str = "") -> None:
        for step in steps:
            self._visit(step, prefix + step.name, place + step.name)

    def _visit(self, step: Step, path: str, place: str) -> None:
        for attempt in range(1, step.tries + 1):
            past = self._past.get((path, attempt))
            if past is None:
                past = self._attempt(step, path, attempt, place)
            if past.event is Event.SUCCEEDED:
                return
            if past.data["then"] == "fail":
                raise Failed

    def _attempt(self, step: Step, path: str, attempt: int, place: str) -> JournalRow:
        if attempt % 2:  # a quick step's begin may never be written
            self._write(path, attempt, Event.STARTED)
        below = path if attempt == 1 else f"{path}[attempt {attempt}]"
        try:
            if not step.inner:
                if not next(self.luck):
                    raise Failed
                self.done.append(place)
            for item in range(1, step.items + 1) if step.items else [0]:
                label = f"[{item}]" if item else ""
                self.execute(step.inner, f"{below}{label}/", f"{place}{label}/")
        except Failed:
            then = "fail" if attempt == step.tries else "retry"
            return self._write(path, attempt, Event.FAILED, then=then)
        return self._write(path, attempt, Event.SUCCEEDED, result=place)

    def _write(self, path: str, attempt: int, event: Event, **data: str) -> JournalRow:
        if self.cut_after is not None and len(self.rows) >= self.cut_after:
            raise CutOff
        row = JournalRow(len(self.rows) + 1, path, attempt, event, float(len(self.rows)), dict(data))
        self.rows.append(row)
        return row


def ended(steps: tuple[Step, ...], luck: list[bool], cut_after: int | None) -> Interpreter:
    """A run of the flow that failed, was cut off, or succeeded."""
    run = Interpreter(luck=itertools.chain(luck, itertools.repeat(True)), cut_after=cut_after)
    with contextlib.suppress(Failed, CutOff):
        run.execute(steps)
    return run


RUNS = st.builds(ended, flows(), st.lists(st.booleans(), max_size=8), st.none() | st.integers(0, 60))


def succeeded(rows: list[JournalRow]) -> set[str]:
    """Steps that a journal says succeeded."""
    return {row.data["result"] for row in rows if row.event is Event.SUCCEEDED}


def standing(rows: list[JournalRow]) -> set[str]:
    """Those of them that no later try of a step around them made undone."""
    last: Counter[str] = Counter()
    for row in rows:
        for visit, attempt in tries_of(row):
            last[visit] = max(last[visit], attempt)
    told = [row for row in rows if row.event is Event.SUCCEEDED]
    return {row.data["result"] for row in told if all(last[visit] == n for visit, n in tries_of(row))}


def tries_of(row: JournalRow) -> Iterator[tuple[str, int]]:
    """The step of the row and those around it, each with the number of its try."""
    yield row.path, row.attempt
    outer = row.path.rpartition("/")[0]
    while outer:
        found = re.fullmatch(r"(.*?)(?:\[attempt (\d+)\])?(?:\[\d+\])?", outer)
        assert found is not None
        yield found[1], int(found[2] or 1)
        outer = found[1].rpartition("/")[0]


@given(flow=flows(), luck=st.lists(st.booleans(), max_size=8), cut=st.none() | st.integers(0, 60))
def test_a_retry_does_what_is_left_and_nothing_that_is_kept(
    flow: tuple[Step, ...], luck: list[bool], cut: int | None
) -> None:
    first = ended(flow, luck, cut)
    kept = kept_rows(first.rows)
    second = Interpreter(kept=kept.rows)
    second.execute(flow)
    whole = Interpreter()
    whole.execute(flow)
    assert succeeded(second.rows) == succeeded(whole.rows), "it comes to the end"
    assert not standing(first.rows) & set(second.done), "what was done is not done again"
    assert len(set(second.done)) == len(second.done)


@given(run=RUNS)
def test_what_is_kept_is_a_journal_of_its_own(run: Interpreter) -> None:
    """Numbered from 1, each attempt once, none of them under way; and keeping again changes nothing."""
    kept = kept_rows(run.rows)
    assert [row.seq for row in kept.rows] == list(range(1, len(kept.rows) + 1))
    assert len({(row.path, row.attempt) for row in kept.rows}) == len(kept.rows)
    assert fold(kept.rows).under_way() == []
    assert kept_rows(kept.rows).rows == kept.rows


@given(run=RUNS, number=st.integers(0, 3))
def test_from_a_step_all_before_it_is_kept_and_nothing_of_it(run: Interpreter, number: int) -> None:
    name = "abcd"[number]
    reached = {row.path.split("/")[0].partition("[")[0] for row in run.rows}
    if name not in reached:
        with pytest.raises(InvalidRequest, match=f"never came to a step '{name}'"):
            kept_rows(run.rows, from_step=name)
        return
    kept = kept_rows(run.rows, from_step=name)
    assert kept.restart == name
    tops = {row.path.split("/")[0].partition("[")[0] for row in kept.rows}
    assert tops == {top for top in reached if top < name}


def rows_of(*told: tuple[str, int, Event, dict[str, object]]) -> list[JournalRow]:
    """A journal; each row a second after the one before."""
    return [
        JournalRow(10 + n, path, attempt, event, float(n), data)
        for n, (path, attempt, event, data) in enumerate(told)
    ]


def paths(kept: Kept) -> list[str]:
    """Paths of what is kept."""
    return [row.path for row in kept.rows]


OK = Event.SUCCEEDED, {"result": 1}
FAIL = Event.FAILED, {"error": {"code": "e"}, "then": "fail"}


def test_a_step_whose_failure_was_ignored_or_led_elsewhere_is_done() -> None:
    ignored = Event.FAILED, {"error": {"code": "e"}, "then": "ignore"}
    went = Event.FAILED, {"error": {"code": "e"}, "then": "goto", "control": {"goto": "c"}}
    kept = kept_rows(
        rows_of(("a", 1, *ignored), ("b", 1, *went), ("c", 1, Event.SKIPPED, {}), ("d", 1, *FAIL))
    )
    assert (paths(kept), kept.restart) == (["a", "b", "c"], "d")


def test_every_try_of_a_step_that_is_done_is_kept() -> None:
    retried = Event.FAILED, {"error": {"code": "e"}, "then": "retry"}
    kept = kept_rows(rows_of(("a", 1, *retried), ("a", 2, *OK), ("b", 1, *retried)))
    assert [(row.path, row.attempt) for row in kept.rows] == [("a", 1), ("a", 2)]
    assert kept.restart == "b", "the pause before its next try was cut off"


def test_what_a_daemon_ended_and_the_policy_took_up_is_kept_once() -> None:
    ignored = Event.FAILED, {"error": {"code": "worker_lost"}, "then": "ignore"}
    kept = kept_rows(rows_of(("a", 1, Event.KILLED, {"error": {"code": "worker_lost"}}), ("a", 1, *ignored)))
    assert [row.event for row in kept.rows] == [Event.FAILED]
    cut = kept_rows(rows_of(("a", 1, Event.KILLED, {"error": {"code": "worker_lost"}})))
    assert (cut.rows, cut.restart) == ([], "a")


def test_a_finally_step_that_only_ran_because_of_a_cancel_is_run_again() -> None:
    cancelled = "", 0, Event.CANCEL_REQUESTED, {"reason": "x"}
    journal = rows_of(("a", 1, *OK), cancelled, ("end", 1, *OK))
    assert paths(kept_rows(journal, finally_steps={"end"})) == ["a"]
    begun, resumed = ("end", 1, Event.STARTED, {"once": True}), {"steps": [["end", 1]], "mode": "rerun"}
    in_doubt = rows_of(("a", 1, *OK), cancelled, begun, ("", 0, Event.RESUMED, resumed), ("end", 1, *OK))
    assert paths(kept_rows(in_doubt, finally_steps={"end"})) == ["a"], (
        "a resume does not take the cancel back"
    )
    in_its_place = rows_of(("a", 1, *OK), ("end", 1, *OK), cancelled)
    assert paths(kept_rows(in_its_place, finally_steps={"end"})) == ["a", "end"]


def test_the_last_visit_of_a_step_is_where_from_begins() -> None:
    journal = rows_of(("a", 1, *OK), ("b", 1, *OK), ("a#2", 1, *OK), ("b#2", 1, *FAIL))
    kept = kept_rows(journal, from_step="a")
    assert (paths(kept), kept.restart) == (["a", "b"], "a#2")


def test_steps_that_the_flow_has_no_more_are_dropped() -> None:
    journal = rows_of(
        ("a", 1, *OK), ("gone", 1, *OK), ("b", 1, *OK), ("x/c", 1, *OK), ("x", 1, *FAIL), ("end", 1, *OK)
    )
    assert paths(kept_rows(journal, known_steps={"a", "b", "x", "end"})) == ["a", "b", "x/c"]
    assert paths(kept_rows(journal, known_steps={"a", "b", "end"})) == ["a", "b"]


def test_items_of_a_loop_are_kept_each_as_far_as_it_came() -> None:
    journal = rows_of(
        ("loop[2]/a", 1, *OK),
        ("loop[1]/a", 1, *OK),
        ("loop[2]/b", 1, *OK),
        ("loop[1]/b", 1, *FAIL),
        ("loop[3]/a", 1, Event.STARTED, {"once": True}),
        ("loop", 1, *FAIL),
    )
    assert paths(kept_rows(journal)) == ["loop[2]/a", "loop[1]/a", "loop[2]/b"]


def test_a_signal_that_a_step_took_stays_with_the_old_run() -> None:
    kept = kept_rows(rows_of(("a", 1, Event.SUCCEEDED, {"result": 1, "signal": 7}), ("b", 1, *FAIL)))
    assert kept.rows[0].data == {"result": 1}


def test_failed_elements_of_a_loop_that_went_on_are_run_again_when_asked() -> None:
    """With all that came after the loop, which had their places in its result."""
    journal = rows_of(
        ("a", 1, *OK),
        ("sub/loop[1]/x", 1, *OK),
        ("sub/loop[2]/x", 1, *OK),
        ("sub/loop[2]/y", 1, *FAIL),
        ("sub/loop", 1, *OK),
        ("sub/after", 1, *OK),
        ("sub", 1, *OK),
        ("end", 1, *OK),
    )
    assert kept_rows(journal).restart is None
    kept = kept_rows(journal, failed_items=True)
    assert (paths(kept), kept.restart) == (["a", "sub/loop[1]/x", "sub/loop[2]/x"], "sub")


def test_nothing_begins_behind_a_step_that_is_not_done() -> None:
    journal = rows_of(("a", 1, *OK), ("b", 1, *FAIL), ("end", 1, *OK))
    with pytest.raises(InvalidRequest, match="step 'b' is not done, and 'end' came after it; begin at 'b'"):
        kept_rows(journal, from_step="end")


def test_from_names_a_step_of_the_flow_itself() -> None:
    journal = rows_of(("loop[1]/a", 1, *OK), ("loop", 1, *FAIL))
    with pytest.raises(InvalidRequest, match=r"kept anyway. Say the step's name alone: loop"):
        kept_rows(journal, from_step="loop[1]/a")


BEFORE = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
"""A flow whose steps run by what they need."""


def test_in_a_graph_what_ran_beside_the_failure_stays_done() -> None:
    journal = rows_of(
        ("a", 1, *OK),
        ("b", 1, *FAIL),
        ("c", 1, *OK),
        ("d", 1, Event.NOT_STARTED, {}),
    )
    kept = kept_rows(journal, before=BEFORE)
    assert (paths(kept), kept.restart) == (["a", "c"], "b")
    assert paths(kept_rows(journal, before=None)) == ["a"], "in order nothing comes behind a failure"


def test_in_a_graph_from_keeps_what_does_not_need_it() -> None:
    ended = [(name, 1, *OK) for name in "abcd"]
    journal = rows_of(*ended)
    assert paths(kept_rows(journal, before=BEFORE, from_step="b")) == ["a", "c"]
    undone = rows_of(("a", 1, *FAIL), *ended[1:])
    with pytest.raises(InvalidRequest, match="step 'a' is not done"):
        kept_rows(undone, before=BEFORE, from_step="b")
    beside = rows_of(*ended[:2], ("c", 1, *FAIL))
    assert paths(kept_rows(beside, before=BEFORE, from_step="b")) == ["a"]


def test_in_a_graph_failed_items_cost_what_needs_their_loop() -> None:
    journal = rows_of(
        ("a", 1, *OK),
        ("b[1]/x", 1, *OK),
        ("b[2]/x", 1, *FAIL),
        ("b", 1, *OK),
        ("c", 1, *OK),
        ("d", 1, *OK),
    )
    assert paths(kept_rows(journal, before=BEFORE, failed_items=True)) == ["a", "b[1]/x", "c"]


def test_handlers_are_run_again_wherever_they_stand() -> None:
    journal = rows_of(
        ("a", 1, *OK),
        ("child/x", 1, *OK),
        ("child/y", 1, *FAIL),
        ("child/on_failure/tell", 1, *OK),
        ("child", 1, *FAIL),
        ("on_failure/tell", 1, *OK),
        ("finally/tell", 1, *OK),
    )
    kept = kept_rows(journal, handlers={"on_failure", "finally"})
    assert (paths(kept), kept.restart) == (["a", "child/x"], "child")


def test_a_step_may_be_named_like_a_handler() -> None:
    journal = rows_of(("finally/x", 1, *OK), ("finally", 1, *FAIL))
    assert paths(kept_rows(journal, handlers={"finally"})) == ["finally/x"]
