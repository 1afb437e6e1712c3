"""What can be told of a flow before it runs; in this process, for nothing here is a user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flow_processor.expressions.jinja import Templates
from flow_processor.flow_files import parse_flow
from flow_processor.rehearsal.flows import Rehearsed, Rehearser
from flow_processor.rehearsal.unknown import Data, Renderer
from flow_processor.step import Folders

START: dict[str, Any] = {
    "__input__": {"who": "Ada"}, "__errors__": [], "__loop_index__": None, "__timestamp__": "20261121000000",
    "__run_id__": "r", "__job_id__": "r", "__flow_path__": "a.yml", "__api_url__": "http://a",
}  # fmt: skip

FETCH = "  - {name: fetch, type: rest, rest: {uri: 'http://a/{{ __input__.who }}'}}\n"


def rehearsed(steps: str, *, head: str = "", templates: Path | None = None, **flows: str) -> list[Rehearsed]:
    """Of a flow with these steps; `flows` are its sub-flows by name."""
    texts = {f"{name}.yml": text for name, text in flows.items()}
    folder = templates or Path("/nowhere")
    rehearser = Rehearser(
        Renderer(Templates(folder)),
        Folders(data=folder, templates=folder),
        lambda path: parse_flow(texts[path], path),
    )
    return rehearser.flow(parse_flow(f"{head}\nsteps:\n{steps}", "a.yml"), Data(dict(START)))


def test_options_are_rendered_with_what_is_known() -> None:
    (step,) = rehearsed(FETCH)
    assert (step.options, step.has_result, step.problem) == ({"uri": "http://a/Ada"}, False, None)


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{{ fetch }}", "<result of fetch>"),
        ("{{ fetch.id }}", "<result of fetch.id>"),
        ("{{ fetch['a b'].c }}", "<result of fetch.a b.c>"),
        ("http://a/{{ fetch.id }}/{{ __input__.who }}", "http://a/<result of fetch.id>/Ada"),
        ("{{ fetch.count + 1 }}", "<unknown: needs the result of fetch.count>"),
        ("{{ fetch.count | int }}", "<unknown: needs the result of fetch.count>"),
        ("{{ fetch | length }}", "<unknown: needs the result of fetch>"),
        ("{{ fetch == 1 }}", "<unknown: needs the result of fetch>"),
        ("{{ fetch is none }}", "<unknown: needs the result of fetch>"),
        ("{{ fetch | tojson }}", "<unknown: needs the result of fetch>"),
        ("{{ fetch.items() }}", "<unknown: needs the result of fetch>"),
        ("{% for one in fetch %}{{ one }}{% endfor %}", "<unknown: needs the result of fetch>"),
        ("{% if fetch.ok %}a{% endif %}", "<unknown: needs the result of fetch.ok>"),
        ("{{ fetch.a ~ '!' }}", "<result of fetch.a>!"),
        ("{{ __input__.who | upper }}", "ADA"),
    ],
)
def test_what_depends_on_an_earlier_result_says_so(template: str, shown: str) -> None:
    quoted = template.replace("'", "''")
    last = rehearsed(FETCH + f"  - {{name: s, type: set_fact, set_fact: {{value: '{quoted}'}}}}\n")[-1]
    assert (last.options, last.problem) == ({"value": shown}, None)
    assert last.has_result is ("<" not in shown)


@pytest.mark.parametrize(
    ("when", "told", "is_skipped"),
    [
        ("__input__.who == 'Ada'", "holds", False),
        ("'{{ __input__.who == \"Bob\" }}'", "does not hold", True),
        ("false", "does not hold", True),
        ("fetch.ok", "unknown: needs the result of fetch", False),
        ("[__input__.who, fetch.ok]", "unknown: needs the result of fetch", False),
        ("prefetch is defined", "does not hold", True),
    ],
)
def test_conditions_are_looked_at_as_far_as_they_can_be_known(
    when: str, told: str, *, is_skipped: bool
) -> None:
    step = rehearsed(FETCH + f"  - {{name: s, type: set_fact, when: {when}, set_fact: {{value: 1}}}}\n")[-1]
    assert step.when == told
    assert (step.options is None) is is_skipped


def test_what_only_calculates_is_calculated_and_used_further(tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text("{{ n }} of {{ __input__.who }}")
    steps = rehearsed(
        """
  - {name: list, type: set_fact, set_fact: {value: [1, 2, 3]}}
  - {name: n, type: jq, jq: {data_key: list, expression: add}, jq_expression: ". * 2"}
  - {name: text, type: jinja, jinja: {path: t.j2}}
  - {name: call, type: rest, rest: {uri: "http://a/{{ text }}"}}
""",
        templates=tmp_path,
    )
    assert [step.result for step in steps[:3]] == [[1, 2, 3], 12, "12 of Ada"]
    assert steps[3].options == {"uri": "http://a/12 of Ada"}


def test_a_result_under_an_uncertain_condition_is_not_relied_on() -> None:
    steps = FETCH + "  - {name: a, type: set_fact, when: fetch, set_fact: {value: 1}}\n"
    last = rehearsed(steps + "  - {name: b, type: set_fact, set_fact: {value: '{{ a }}'}}\n")[-1]
    assert last.options == {"value": "<result of a>"}


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("{name: s, type: set_fact, set_fact: {value: '{{ fecth.id }}'}}", "'fecth' is undefined"),
        ("{name: s, type: set_fact, set_fact: {value: '{{ 1 / 0 }}'}}", "division by zero"),
        ("{name: s, type: jq, jq: {data_key: nothing, expression: .}}", "data_key 'nothing' not found"),
        ("{name: s, type: jq, jq: {data_key: __input__, expression: .who + 1}}", "cannot be added"),
        ("{name: s, type: exit, when: \"'maybe'\"}", "neither true nor false"),
        (
            "{name: s, type: foreach, foreach: {items: \"{{ 'abc' }}\", steps: [{name: x, type: exit}]}}",
            "not_a_list",
        ),
        (
            "{name: s, type: foreach, foreach: {data_key: no, steps: [{name: x, type: exit}]}}",
            "data_key 'no' not found",
        ),
        (
            "{name: s, type: matrix, matrix: {axes: {a: '{{ 1 }}'}, steps: [{name: x, type: exit}]}}",
            "not_a_list",
        ),
    ],
)
def test_what_would_fail_is_told_and_the_rest_goes_on(step: str, problem: str) -> None:
    _fetch, wrong, after = rehearsed(f"{FETCH}  - {step}\n  - {{name: after, type: exit}}\n")
    assert wrong.problem is not None
    assert problem in wrong.problem
    assert after.problem is None


def test_steps_inside_steps_sub_flows_and_handlers_are_gone_through() -> None:
    found = rehearsed(
        """
  - name: each
    type: foreach
    foreach:
      items: [1, 2]
      as: one
      steps: [{name: told, type: rest, rest: {uri: "http://a/{{ one }}/{{ __input__.who }}"}}]
  - name: pick
    type: switch
    switch: {data_key: each, cases: [{when: x, step: {type: set_fact, set_fact: {value: 5}}}]}
  - {name: sub, type: flow, flow: {path: b.yml, data_key: __input__}}
  - {name: subs, type: flow_loop, flow_loop: {path: b.yml, data_key: each}}
""",
        head="on_failure: [{name: tell, type: rest, rest: {uri: 'http://a/{{ __run__.status }}'}}]",
        b="steps: [{name: greet, type: set_fact, set_fact: {value: '{{ __input__.who }}'}}]",
    )
    inner = {step.name: [(one.title, one.options) for one in step.inner] for step in found}
    assert inner == {
        "each": [("", {"uri": "http://a/<element of each>/Ada"})],
        "pick": [("when x", {"value": 5})],
        "sub": [("b.yml", {"value": "Ada"})],
        "subs": [("b.yml", {"value": "<element of subs.who>"})],
        "tell": [],
    }
    assert (found[-1].title, found[-1].options) == ("on_failure", {"uri": "http://a/<run's end.status>"})


@pytest.mark.parametrize(
    ("step", "remarks"),
    [
        (
            "type: exit, when: fecth.id",
            [
                "when names 'fecth', which nothing has written before; it is empty there "
                "(did you mean 'fetch'?)"
            ],
        ),
        ("type: exit, when: nope is defined or fetch.id", []),
        (
            "type: until, until: {condition: x.ok and nope and __loop_index__, max_rounds: 2, "
            "steps: [{name: x, type: exit}]}",
            ["condition names 'nope', which nothing has written before; it is empty there"],
        ),
    ],
)
def test_a_name_that_is_not_there_is_remarked_in_a_condition(step: str, remarks: list[str]) -> None:
    last = rehearsed(f"{FETCH}  - {{name: s, {step}}}\n")[-1]
    assert (last.remarks, last.problem) == (remarks, None)


def test_a_list_that_only_a_run_can_tell_is_no_problem() -> None:
    last = rehearsed(
        FETCH + "  - {name: s, type: foreach, foreach: {data_key: fetch, steps: [{name: x, type: exit}]}}\n"
    )[-1]
    assert (last.problem, last.has_result) == (None, False)


def test_a_rendered_option_must_fit_as_it_must_in_a_run() -> None:
    """What a template gives is looked at again; what becomes text anyway, and what nobody knows, is no problem."""
    steps = rehearsed(
        """
  - {name: soon, type: set_fact, set_fact: {value: soon}}
  - {name: three, type: set_fact, set_fact: {value: 3}}
  - {name: wrong, type: sleep, sleep: {seconds: "{{ soon }}"}}
  - {name: call, type: rest, rest: {uri: "http://127.0.0.1/{{ three }}", headers: {X: "{{ three }}"}}}
  - {name: later, type: sleep, sleep: {seconds: "{{ call.pause }}"}}
"""
    )
    problems = {step.name: step.problem for step in steps if step.problem}
    assert list(problems) == ["wrong"]
    assert problems["wrong"].startswith("seconds: ")
    assert 'found "soon"' in problems["wrong"]


def test_the_params_of_each_element_are_no_problem() -> None:
    """`item` is what only the loop knows."""
    steps = rehearsed(
        "  - {name: all, type: flow_loop, flow_loop: {path: one.yml, data_key: ., params: {a: '{{ item.a }}'}}}\n",
        one="params: {a: str}\nsteps:\n  - {name: x, type: debug, debug: {}}\n",
    )
    assert steps[0].problem is None
    assert steps[0].options["params"] == {"a": "<element of all.a>"}


@pytest.mark.parametrize(
    ("value", "output", "sends", "problem"),
    [
        ("1", "paid", "1 item to the queue paid", None),
        ("[1, 2]", "{queue: paid, type: multiple}", "2 items to the queue paid", None),
        ("[]", "{queue: paid, type: multiple}", None, None),
        (
            "{a: 1}",
            "{queue: paid, type: multiple}",
            "each element of its result to the queue paid",
            "a mapping",
        ),
        ("'{{ fetch.n + 1 }}'", "paid", "its result to the queue paid", None),
    ],
)
def test_what_would_be_put_on_queues(value: str, output: str, sends: str | None, problem: str | None) -> None:
    last = rehearsed(
        FETCH + f"  - {{name: s, type: set_fact, set_fact: {{value: {value}}}, output: {output}}}\n"
    )[-1]
    assert last.sends == sends
    assert (problem is None and last.problem is None) or f"the result is {problem}" in str(last.problem)
