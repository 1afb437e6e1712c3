"""Live step lines: each attempt once, loops as a count, one rewritten line where there is a terminal."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import pytest

from flow_processor.cli.progress import Progress
from flow_processor.run import RunStatus, Trigger
from flow_processor.run_state import StepStatus
from flow_processor.service.views import ErrorView, RunDetail, StepView

NOW = datetime(2026, 11, 21, 7, 40, tzinfo=UTC)

TOTAL: int | None = 4
"""How many items a loop is said to have."""


def step(
    path: str,
    status: str = "succeeded",
    *,
    attempt: int = 1,
    error: str | None = None,
    then: str | None = "fail",
    ended_at: datetime | None = None,
) -> StepView:
    return StepView(
        path=path,
        attempt=attempt,
        status=StepStatus(status),
        started_at=NOW,
        ended_at=ended_at,
        duration_seconds=None if status == "skipped" else 0.0123,
        error=ErrorView(code="boom", message=error) if error else None,
        then=then if error else None,
    )


def run(*steps: StepView) -> RunDetail:
    return RunDetail(
        run_id="20261121T074006123-k7x2m9qa",
        flow="a.yml",
        status=RunStatus.RUNNING,
        trigger=Trigger.CLI,
        created_at=NOW,
        started_at=NOW,
        ended_at=None,
        duration_seconds=1.0,
        reason=None,
        flow_hash="",
        error=None,
        steps=list(steps),
        steps_total=len(steps),
        data={},
    )


def _word(path: str) -> str | None:
    return {"case": None, "poll": "round"}.get(path, "item")


def shown(capsys: pytest.CaptureFixture[str], *runs: RunDetail, live: bool = False) -> list[str]:
    progress = Progress(items_of=lambda path, run: TOTAL, word_of=_word, live=live)
    for one in runs:
        progress.show(one)
    progress.close()
    return capsys.readouterr().err.splitlines() if not live else [capsys.readouterr().err]


def test_an_attempt_is_told_once_when_it_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(
        capsys,
        run(step("a", "running")),
        run(step("a"), step("b", "running")),
        run(step("a"), step("b", "failed", error="no way"), step("b", attempt=2), step("c", "skipped")),
    )
    assert lines == [
        "  succeeded  a  12 ms",
        "  failed     b  12 ms  no way (boom)",
        "  succeeded  b (try 2)  12 ms",
        "  skipped    c",
    ]


def test_steps_of_a_sub_flow_are_told_under_their_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, run(step("sub/a"), step("sub"))) == [
        "  succeeded  sub/a  12 ms",
        "  succeeded  sub  12 ms",
    ]


def test_items_of_a_loop_are_counted_and_not_told_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    items = [step(f"loop[{i}]/x") for i in range(3)]
    lines = shown(
        capsys,
        run(step("loop", "running"), *items, step("loop[3]/x", "running")),
        run(step("loop"), *items, step("loop[3]/x", "failed", error="no"), step("loop[3]/inner[7]/y")),
    )
    assert lines == ["             loop: 4/4 items, 1 with a failed step", "  succeeded  loop  12 ms"]


def test_repetitions_have_their_own_word_and_a_case_of_a_switch_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "TOTAL", None)
    steps = [
        step("poll"),
        step("poll[1]/x"),
        step("case"),
        step("case[1]/x"),
        step("loop"),
        step("loop[1]/x"),
    ]
    assert shown(capsys, run(*steps)) == [
        "             poll: 1 round",
        "  succeeded  poll  12 ms",
        "  succeeded  case  12 ms",
        "             loop: 1 item",
        "  succeeded  loop  12 ms",
    ]


def test_a_step_that_was_killed_is_told_once_its_policy_has_been_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    killed = step("a", "failed", error="killed", then=None)
    lines = shown(capsys, run(killed), run(step("a", "ignored", error="killed", then="ignore")))
    assert lines == ["  ignored    a  12 ms  killed (boom)"]


def test_lines_come_in_the_order_in_which_steps_began(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, run(step("before"), step("loop"), step("loop[0]/x"), step("after")))
    assert [line.split()[1] for line in lines] == ["before", "1/4", "loop", "after"]


def test_a_long_loop_is_told_now_and_then_where_lines_cannot_be_rewritten(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flow_processor.cli.progress.LOOP_LINE_SECONDS", 0.0)
    under_way = run(step("loop", "running"), step("loop[0]/x"), step("loop[1]/x", "running"))
    assert shown(capsys, under_way, under_way) == ["             loop: 1/4 items"]


def test_the_count_does_not_go_back_between_two_steps_of_an_item(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(
        capsys,
        run(step("loop", "running"), step("loop[0]/x"), step("loop[1]/x", "running")),
        run(
            step("loop", "running"),
            step("loop[0]/x"),
            step("loop[0]/y", "running"),
            step("loop[1]/x", "running"),
        ),
        live=True,
    )[0]
    assert "0/4" not in out


def test_a_terminals_last_line_is_rewritten_and_left_clean(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, run(step("fetch", "running")), run(step("fetch")), live=True)[0]
    running, cleared, done = "  running    fetch  12 ms", " " * 25, "  succeeded  fetch  12 ms"
    assert text == f"\r{running}\r{cleared}\r{done}\n"


def test_an_error_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, run(step("a", "failed", error="\x1b[2J\nforged")))
    assert lines == [r"  failed     a  12 ms  \u001b[2J\nforged (boom)"]


def test_a_sub_flows_steps_are_told_before_the_step_that_runs_it(capsys: pytest.CaptureFixture[str]) -> None:
    later = NOW + timedelta(seconds=1)
    lines = shown(capsys, run(step("one", ended_at=later), step("one/inner", ended_at=NOW)))
    assert [line.split()[1] for line in lines] == ["one/inner", "one"]
