"""How a wait ended: what the run's own log says, and what catches one that nobody ended."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.engine.world import World, until

ROOT = Path(__file__).parents[2]
EXPIRE = [
    ("{signal: {name: paid, expires_seconds: 0.1}}", "signal_expired"),
    ("{approval: {prompt: 'Sure?', expires_seconds: 0.1}}", "approval_expired"),
]
"""Waits that fail."""


def said(world: World, run_id: str, step: str) -> list[str]:
    return [line.message for line in world.service.run_logs(run_id).lines if line.step == step]


def test_the_log_says_how_each_wait_ended_and_who_ended_it(world: World) -> None:
    paid = "  - {name: paid, type: wait, wait: {signal: paid}}\n"
    ask = "  - {name: ask, type: wait, wait: {approval: {prompt: 'Sure?'}}}\n"
    late = "{signal: {name: late, expires_seconds: 0.1, default: unpaid}}"
    unasked = "{approval: {prompt: 'Sure?', expires_seconds: 0.1, default: reject}}"
    run_id = world.launch(
        "steps:\n" + paid + ask + f"  - {{name: late, type: wait, wait: {late}}}\n"
        f"  - {{name: unasked, type: wait, wait: {unasked}}}\n"
        "  - {name: nap, type: wait, wait: {for_seconds: 0.1}}\n"
    )
    world.service.signal_run(run_id, "paid", by="ann")
    until(lambda: [wait.path for wait in world.service.run(run_id).waiting] == ["ask"], "the question")
    world.service.signal_run(run_id, "ask", data={"answer": "approve"}, by="ann")
    world.wait(run_id)
    assert said(world, run_id, "paid")[-1] == "goes on: signal 'paid' has come, sent by ann"
    assert said(world, run_id, "ask")[-1] == "answered by ann: approve"
    assert said(world, run_id, "late")[-1].startswith("signal 'late' has not come by 20")
    assert said(world, run_id, "late")[-1].endswith('the default holds: "unpaid"')
    assert said(world, run_id, "unasked")[-1].startswith("nobody has answered by 20")
    assert said(world, run_id, "nap")[-1] == "goes on: its moment has come"


@pytest.mark.parametrize(("wait", "code"), EXPIRE)
def test_the_pattern_in_the_docs_catches_a_wait_that_nobody_ended(world: World, wait: str, code: str) -> None:
    """As docs/steps/wait.md says: the text of both ends so."""
    page = (ROOT / "docs" / "steps" / "wait.md").read_text(encoding="utf-8")
    (policy,) = re.findall(r"`(ignore_errors: \w+)`", page)
    data = world.succeed(f"steps:\n  - name: late\n    type: wait\n    {policy}\n    wait: {wait}\n")
    assert [error["code"] for error in data["__errors__"]] == [code]
