"""`octospool run --until` and `--from-run`: a flow written and tried step by step."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Octospool = Callable[..., Result]
WriteFlow = Callable[[str, str], Path]

STEP = "  - {{name: {0}, type: set_fact, set_fact: {{value: '{{{{ __run_id__ }}}}'}}}}\n"


def test_a_flow_is_run_up_to_a_step_and_then_from_there(octospool: Octospool, flow: WriteFlow) -> None:
    flow("a.yml", "steps:\n" + STEP.format("one") + STEP.format("two"))
    flow("b.yml", "steps:\n" + STEP.format("one"))
    first = octospool("run", "a", "--until", "one")
    assert first.exit_code == 0
    assert "ended after step 'one', as asked (until)" in first.stderr
    data = json.loads(first.stdout)
    assert "two" not in data

    (run_id,) = set(re.findall(r"^run (\S+)", first.stderr, re.MULTILINE))
    second = octospool("run", "a.yml", "--from-run", run_id)
    assert second.exit_code == 0, second.stderr
    assert json.loads(second.stdout)["one"] == data["one"] == run_id
    assert json.loads(second.stdout)["two"] != run_id

    other = octospool("run", "b", "--from-run", run_id)
    assert (other.exit_code, other.stdout) == (2, "")
    assert f"run {run_id} is one of a.yml, not of b" in other.stderr


@pytest.mark.parametrize(
    "options",
    [("--from", "one"), ("--dry", "--until", "one"), ("--dry", "--from-run", "x"), ("--until", "onne")],
)
def test_options_that_do_not_fit_are_refused(
    octospool: Octospool, flow: WriteFlow, options: tuple[str, ...]
) -> None:
    flow("a.yml", "steps:\n" + STEP.format("one"))
    result = octospool("run", "a", *options)
    assert (result.exit_code, result.stdout) == (2, "")
