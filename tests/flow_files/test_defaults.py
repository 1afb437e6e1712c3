"""Defaults of steps: from a flow's own `defaults` and from defaults.yml, merged before the flow is validated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flow_processor.errors import SpecError
from flow_processor.flow_files import FlowLibrary
from flow_processor.flow_files.launched import launched_flow
from tests.flow_files.folder import FlowsFolder

FLOW = """
defaults:
  all: {on_interrupt: rerun}
  rest: {headers: {X-A: flow, X-B: flow}}
steps:
  - {name: a, type: rest, retry: {delay_seconds: 3}, rest: {uri: 'http://x', headers: {X-A: step}}}
  - {name: b, type: exit, timeout_seconds: 3, retry: null}
  - {name: loop, type: foreach, foreach: {items: [1], steps: [{name: i, type: rest, rest: {uri: 'http://x'}}]}}
  - name: s
    type: switch
    switch: {data_key: ., cases: [{when: a, step: {type: rest, rest: {uri: 'http://x', timeout_seconds: 1}}}]}
"""
FILE = """
all: {timeout_seconds: 20, retry: {attempts: 2, delay_seconds: 9}}
rest: {headers: {X-B: file, X-C: file}, timeout_seconds: 7}
"""


@pytest.fixture
def with_defaults(flows: FlowsFolder) -> FlowsFolder:
    """A folder whose library also follows `defaults.yml`, which lies beside the flows."""
    file = flows.folder.parent / "defaults.yml"
    flows.library = FlowLibrary(flows.folder, clock=flows.clock, defaults=file)
    return flows


def write_defaults(flows: FlowsFolder, text: str, *, age: float = 60) -> None:
    """data/defaults.yml, last modified `age` seconds ago."""
    flows.write("../defaults.yml", text, age=age)


def option(spec: Any, *path: str | int) -> Any:
    """A part of a spec."""
    for part in path:
        spec = spec[part] if isinstance(part, int) or isinstance(spec, dict) else getattr(spec, part)
    return spec


def test_the_step_wins_over_its_flow_and_the_flow_over_the_file(with_defaults: FlowsFolder) -> None:
    write_defaults(with_defaults, FILE)
    with_defaults.write("a.yml", FLOW, age=60)
    a, b, loop, switch = with_defaults.library.load("a").spec.steps
    assert option(a, "rest", "headers") == {"X-A": "step", "X-B": "flow", "X-C": "file"}
    assert (a.retry.attempts, a.retry.delay_seconds) == (2, 3)
    assert (a.rest.timeout_seconds, a.on_interrupt) == (7, "rerun")
    assert (b.timeout_seconds, b.retry, b.on_interrupt) == (3, None, "rerun")
    inner = option(loop, "foreach", "steps", 0)
    assert (inner.rest.headers["X-B"], inner.rest.timeout_seconds) == ("flow", 7)
    assert (loop.timeout_seconds, loop.retry.attempts) == (20, 2)
    case = option(switch, "switch", "cases", 0, "step")
    assert (case.rest.timeout_seconds, case.rest.headers["X-C"]) == (1, "file")


def test_only_what_looks_like_a_step_by_its_place_is_one(with_defaults: FlowsFolder) -> None:
    write_defaults(with_defaults, FILE)
    body = "{name: x, type: rest, rest: {uri: u}}"
    with_defaults.write("a.yml", f"steps: [{{name: a, type: set_fact, set_fact: {{value: {body}}}}}]\n")
    (step,) = with_defaults.library.load("a").spec.steps
    assert option(step, "set_fact", "value") == {"name": "x", "type": "rest", "rest": {"uri": "u"}}


def test_an_alias_of_yaml_does_not_carry_defaults_to_another_step(with_defaults: FlowsFolder) -> None:
    write_defaults(with_defaults, "jq: {retry: {attempts: 5}}")
    with_defaults.write(
        "a.yml",
        "steps:\n  - {name: a, type: jq, retry: &r {delay_seconds: 1}, jq: {expression: .}}\n"
        "  - {name: b, type: exit, retry: *r}\n",
    )
    first, second = with_defaults.library.load("a").spec.steps
    assert (first.retry.attempts, second.retry.attempts) == (5, 0)


def test_a_wrong_default_is_told_once_and_where_it_stands(with_defaults: FlowsFolder) -> None:
    write_defaults(with_defaults, "rest:\n  headers: {X-A: '{{ 1 +'}\n")
    with_defaults.write(
        "a.yml",
        "defaults:\n  all: {on_interrup: rerun}\n  rest: {headerz: 1, expect: [foo]}\n  resst: {}\nsteps:\n"
        "  - {name: a, type: rest, rest: {uri: 'http://x'}}\n  - {name: b, type: rest, rest: {uri: 'http://x'}}\n",
    )
    found = [(one.file, one.line, one.key, one.hint) for one in with_defaults.library.status("a").problems]
    assert sorted(found, key=str) == sorted(
        [
            ("flows/a.yml", 2, "defaults.all.on_interrup", "did you mean 'on_interrupt'?"),
            ("flows/a.yml", 3, "defaults.rest.headerz", "did you mean 'headers'?"),
            ("flows/a.yml", 3, "defaults.rest.expect[0]", None),
            ("flows/a.yml", 4, "defaults.resst", "did you mean 'rest'?"),
            ("defaults.yml", 2, "rest.headers.X-A", None),
        ],
        key=str,
    )


def test_an_edit_is_picked_up_and_a_broken_file_keeps_the_last_good_one(with_defaults: FlowsFolder) -> None:
    library = with_defaults.library
    with_defaults.write("a.yml", "steps: [{name: a, type: exit}]\n", age=60)
    before = library.launchable("a")
    assert before.spec.steps[0].timeout_seconds is None
    write_defaults(with_defaults, "all: {timeout_seconds: 20}\n", age=30)
    after = library.launchable("a")
    assert (after.spec.steps[0].timeout_seconds, after.hash != before.hash) == (20, True)
    assert launched_flow(after.flows, "a.yml") == after.spec
    assert launched_flow(before.flows, "a.yml") == before.spec

    write_defaults(with_defaults, "all: {timeout_seconds: 20, tries: 3}\n", age=20)
    assert library.launchable("a") is after
    assert library.status("a").valid
    (problem,) = library.new_defaults_problems()
    assert (problem.line, problem.key) == (1, "all.tries")
    assert library.new_defaults_problems() == ()

    (with_defaults.folder.parent / "defaults.yml").unlink()
    with_defaults.date(with_defaults.folder.parent, age=10)
    assert library.launchable("a").hash == before.hash


def test_a_half_written_edit_is_not_taken(with_defaults: FlowsFolder) -> None:
    write_defaults(with_defaults, "all: {timeout_seconds: 20}\n")
    with_defaults.write("a.yml", "steps: [{name: a, type: exit}]\n", age=60)
    before = with_defaults.library.launchable("a")
    write_defaults(with_defaults, "all: {timeout_seconds: 2}\n", age=0)
    assert with_defaults.library.launchable("a") is before
    with_defaults.clock.go(1.5)
    assert with_defaults.library.launchable("a").spec.steps[0].timeout_seconds == 2


def test_a_flow_that_new_defaults_make_wrong_keeps_its_last_good_version(with_defaults: FlowsFolder) -> None:
    library = with_defaults.library
    head = "{name: a, type: rest, rest: {uri: 'http://x', method: HEAD}}"
    with_defaults.write(
        "a.yml", f"steps:\n  - {head}\n  - {{name: f, type: flow, flow: {{path: b}}}}\n", age=60
    )
    with_defaults.write("b.yml", "steps: [{name: b, type: exit}]\n", age=60)
    before = library.launchable("a")
    write_defaults(with_defaults, "rest: {body: 1}\n", age=30)
    assert library.launchable("a") is before
    status = library.status("a")
    assert (status.valid, status.last_good_in_force) == (False, True)
    assert library.launchable("b").flows.keys() == {"b.yml", "own:defaults.yml"}


def test_defaults_that_were_never_right_let_no_flow_start(with_defaults: FlowsFolder) -> None:
    write_defaults(with_defaults, "all: 5\n")
    with_defaults.write("a.yml", "steps: [{name: a, type: exit}]\n", age=60)
    with pytest.raises(SpecError) as error:
        with_defaults.library.launchable("a")
    (problem,) = error.value.problems
    assert (Path(problem.file).name, problem.line, problem.key) == ("defaults.yml", 1, "all")
    write_defaults(with_defaults, "all: {timeout_seconds: 5}\n", age=10)
    assert with_defaults.library.launchable("a").spec.steps[0].timeout_seconds == 5
