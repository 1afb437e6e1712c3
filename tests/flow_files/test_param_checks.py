"""What is wrong about the parameters of a flow is told when its file is read, at its place."""

from __future__ import annotations

import pytest

from flow_processor.errors import SpecError
from flow_processor.flow_files import parse_flow
from tests.flow_files.folder import FlowsFolder

STEPS = "steps: [{name: a, type: exit}]\n"


def problems(text: str) -> list[str]:
    """`code line: key: message (hint)` of all problems."""
    with pytest.raises(SpecError) as error:
        parse_flow(text, "f.yml")
    return [f"{one.code} {str(one).removeprefix('f.yml:')}" for one in error.value.problems]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{type: int, min: 5, default: 3}", "the default 3 must be at least 5"),
        ("{type: choice}", "'options' and the type 'choice' belong together"),
        ("{type: choice, options: [a, a]}", "'options' names one twice"),
        ("{type: int, min: 5, max: 2}", "'min' is greater than 'max'"),
        ("{type: date, min: soon}", "'min' must be a date such as 2026-11-21, found \"soon\""),
        ("{type: bool, min: 1}", "'min' is for numbers and dates, not for 'bool'"),
        ("{type: int, min_length: 1}", "'min_length' is for str, list and map, not for 'int'"),
        ("{type: list, items: map}", "'items' says what the elements of a list are"),
        ("{pattern: '(?=a)'}", "'pattern' is no regular expression: look-around"),
        ("{pattern: '['}", "'pattern' is no regular expression"),
        ("{type: int, pattern: a}", "'pattern' is for str, not for 'int'"),
        ("{required: true, default: a}", "a value that is required has no default"),
        ("integer", "must be one of str, int, float, bool, date, datetime, choice, list, map"),
        ("{typ: int}", "unknown key 'typ' (did you mean 'type'?)"),
        ("5", "must be a mapping (key: value); found 5"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(spec: str, said: str) -> None:
    (problem,) = problems(f"params:\n  p: {spec}\n{STEPS}")
    assert " 2:" in problem
    assert said in problem


def test_a_parameter_whose_entry_is_wrong_is_there_nevertheless() -> None:
    found = problems(
        "params: {a: {type: int, default: ten}, g: str}\nschedule: {cron: '0 2 * * *', params: {a: 1}}\n"
        "steps: [{name: s, type: set_fact, set_fact: {value: '{{ params.a + params.b }}'}}]\n"
    )
    assert [one.split(": ", 1)[1] for one in found] == [
        'params.a: the default "ten" must be a whole number',
        "steps[0].set_fact.value: there is no parameter 'b' (there are: a, g)",
    ]


def test_names_are_such_as_templates_can_name() -> None:
    (problem,) = problems(f"params:\n  bad-name: int\n{STEPS}")
    assert problem == (
        "invalid_value 2:13: params.bad-name: must be text that matches ^[A-Za-z_][A-Za-z0-9_]*$; "
        "found the text 'bad-name'"
    )
    assert "duplicate_key" in problems(f"params:\n  a: int\n  a: int\n{STEPS}")[0]


def test_a_schedule_has_nobody_to_ask() -> None:
    found = problems(f"cron: 0 2 * * *\nparams: {{day: {{type: date, required: true}}, n: int}}\n{STEPS}")
    assert found == [
        "missing_key 1:1: cron: the parameter 'day' of this flow is missing; it must be a date such as 2026-11-21 "
        "(give it under schedule.params, or a default: a schedule has nobody to ask)"
    ]
    found = problems(
        "schedule:\n  cron: 0 2 * * *\n  params:\n    n: many\n    m: 1\n    day: '{{ now }}'\n"
        f"params: {{day: date, n: int}}\n{STEPS}"
    )
    assert [one.split(":", 2)[0] for one in found] == ["invalid_value 4", "unknown_key 5", "invalid_value 6"]
    assert "a schedule renders no templates" in found[2]


@pytest.mark.parametrize(
    "text",
    [
        '{name: s, type: set_fact, set_fact: {value: "{{ params.dya }}"}}',
        "{name: s, type: set_fact, set_fact: {value: {a: [\"{{ params['dya'] }}\"]}}}",
        "{name: s, type: exit, when: params.dya > 2}",
        '{name: s, type: exit, when: "{{ params.dya }}"}',
        '{name: s, type: flow, flow: {path: x, params: {y: "{{ params.dya }}"}}}',
    ],
)
def test_a_parameter_that_is_not_there_is_told_where_it_is_used(text: str) -> None:
    (problem,) = problems(f"params: {{day: date}}\nsteps:\n  - {text}\n")
    assert problem.startswith("unknown_param 3:")
    assert problem.endswith("there is no parameter 'dya' (did you mean 'day'?)")


@pytest.mark.parametrize(
    "text",
    [
        "{% for params in __input__ %}{{ params.dya }}{% endfor %}",
        "{% set params = {'dya': 1} %}{{ params.dya }}",
        "{{ params.dya is defined }} {{ params.dya | default('x') }}",
        "{{ params.items() | list }} {{ params[__input__] }} {{ other.params.dya }}",
    ],
)
def test_nothing_is_told_where_a_template_may_be_right(text: str) -> None:
    parse_flow(
        f'params: {{day: date}}\nsteps:\n  - {{name: s, type: set_fact, set_fact: {{value: "{text}"}}}}\n',
        "f",
    )
    parse_flow(
        f'steps:\n  - {{name: s, type: set_fact, set_fact: {{value: "{text} {{{{ params.z }}}}"}}}}\n', "f"
    )


def test_no_step_may_write_over_the_parameters() -> None:
    (problem,) = problems("params: {day: date}\nsteps: [{name: params, type: exit}]\n")
    assert problem.startswith("reserved_key 2:")
    parse_flow("steps: [{name: params, type: exit}]\n", "f.yml")


def test_a_call_must_fit_the_parameters_of_the_flow_that_it_calls(flows: FlowsFolder) -> None:
    flows.write(
        "child.yml", f"params: {{day: {{type: date, required: true}}, n: {{type: int, max: 3}}}}\n{STEPS}"
    )
    flows.write(
        "a.yml",
        "steps:\n"
        "  - {name: one, type: flow, flow: {path: child, params: {n: 5, dya: x}}}\n"
        "  - {name: two, type: flow_loop, flow_loop: {path: child, data_key: ., params: {day: '{{ item }}'}}}\n"
        "  - {name: three, type: flow, flow: {path: child}}\n",
    )
    with pytest.raises(SpecError) as error:
        flows.library.bundle("a")
    found = [(one.code, one.line, one.key) for one in error.value.problems]
    assert sorted(found) == [
        ("invalid_value", 2, "steps[0].flow.params.n"),
        ("missing_key", 2, "steps[0].flow.params"),
        ("missing_key", 4, "steps[2].flow.path"),
        ("unknown_key", 2, "steps[0].flow.params.dya"),
    ]
    assert "'child.yml' has no parameter 'dya' (did you mean 'day'?)" in str(error.value)
