"""The steps jq, jinja and set_fact: what each makes of the flow data."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from flow_processor.errors import DataKeyMissing, StepError
from flow_processor.step import StepResult

RunStep = Callable[..., StepResult]


@pytest.fixture(autouse=True)
def data(context: Any) -> None:
    context.data = {
        "tickets": [{"key": "A-1", "status": "open"}, {"key": "A-2", "status": "done"}],
        "ticket": {"key": "A-1", "status": "open", "name": "from the ticket"},
        "name": "from the flow",
        "text": "{{ name }}",
        "number": 7,
    }


# jq


def test_jq_transforms_the_value_of_data_key(run_step: RunStep) -> None:
    result = run_step(type="jq", jq={"expression": "[.[].key]", "data_key": "tickets"})
    assert result == StepResult(["A-1", "A-2"])


def test_jq_without_data_key_sees_the_whole_data(run_step: RunStep) -> None:
    assert run_step(type="jq", jq={"expression": ".number + (.tickets | length)"}).value == 9
    assert run_step(type="jq", jq={"expression": ".number", "data_key": "."}).value == 7


@pytest.mark.parametrize(
    ("expression", "value"), [("empty", None), (".[0].key", "A-1"), (".[].key", ["A-1", "A-2"])]
)
def test_jq_outputs(run_step: RunStep, expression: str, value: Any) -> None:
    assert run_step(type="jq", jq={"expression": expression, "data_key": "tickets"}).value == value


def test_jq_with_a_missing_data_key_names_what_there_is(run_step: RunStep) -> None:
    with pytest.raises(DataKeyMissing, match="data_key 'nope' not found; there are: name, number, text"):
        run_step(type="jq", jq={"expression": ".", "data_key": "nope"})


def test_a_template_in_a_jq_expression_is_not_rendered(run_step: RunStep) -> None:
    """jq has its own braces, and data must not become code."""
    assert run_step(type="jq", jq={"expression": '"{{ name }}"'}).value == "{{ name }}"


# jinja


def jinja(run_step: RunStep, **options: Any) -> Any:
    return run_step(type="jinja", jinja=options).value


def test_jinja_sees_the_flow_data(run_step: RunStep) -> None:
    assert jinja(run_step, template="{{ name }}: {{ tickets | length }}") == "from the flow: 2"


def test_jinja_lays_the_keys_of_a_mapping_on_top(run_step: RunStep) -> None:
    text = jinja(run_step, template="{{ key }} {{ name }} {{ number }} {{ data.status }}", data_key="ticket")
    assert text == "A-1 from the ticket 7 open"


def test_jinja_gives_any_value_as_data(run_step: RunStep) -> None:
    template = "{% for ticket in data %}{{ ticket.key }};{% endfor %}{{ name }}"
    assert jinja(run_step, template=template, data_key="tickets") == "A-1;A-2;from the flow"


def test_jinja_gives_text_unless_told_to_read_it(run_step: RunStep) -> None:
    assert jinja(run_step, template="{{ number }}") == "7"


@pytest.mark.parametrize(
    ("parse", "template", "value"),
    [
        ("json", '{"n": {{ number }}, "f": 1.5}', {"n": 7, "f": 1.5}),
        (
            "json",
            "{{ tickets | tojson }}",
            [{"key": "A-1", "status": "open"}, {"key": "A-2", "status": "done"}],
        ),
        ("json", "12345678901234567890", 12345678901234567890),
        ("yaml", "n: {{ number }}\non: no", {"n": 7, "on": "no"}),
        ("yaml", "", None),
    ],
)
def test_jinja_reads_what_it_wrote(run_step: RunStep, parse: str, template: str, value: Any) -> None:
    assert jinja(run_step, template=template, parse=parse) == value


@pytest.mark.parametrize(
    ("parse", "template", "code"),
    [
        ("json", "{\n nope}", "json_invalid"),
        ("json", "", "json_invalid"),
        ("json", "NaN", "json_invalid"),
        ("json", "1e999", "json_invalid"),
        ("json", "[" * 100_000, "json_invalid"),
        ("yaml", "a: [", "yaml_invalid"),
        ("yaml", "!!python/name:os.system", "yaml_invalid"),
    ],
)
def test_jinja_text_that_cannot_be_read_fails(
    run_step: RunStep, parse: str, template: str, code: str
) -> None:
    with pytest.raises(StepError) as caught:
        jinja(run_step, template=template, parse=parse)
    assert caught.value.code == code


def test_jinja_tells_the_place_in_broken_json(run_step: RunStep) -> None:
    with pytest.raises(StepError) as caught:
        jinja(run_step, template="{\n nope}", parse="json")
    assert caught.value.details == {"line": 2, "column": 2}


def test_jinja_renders_a_file_with_includes(context: Any, run_step: RunStep) -> None:
    (context.folders.templates / "sub").mkdir()
    (context.folders.templates / "a.j2").write_text("<{% include 'sub/b.j2' %}>")
    (context.folders.templates / "sub" / "b.j2").write_text("{{ key }}")
    assert jinja(run_step, path="a.j2", data_key="ticket") == "<A-1>"


def test_jinja_does_not_render_data_again(run_step: RunStep) -> None:
    assert jinja(run_step, template="{{ text }}") == "{{ name }}"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"path": "a.j2", "template": "x"},
        {"template": "x", "parse": "xml"},
        {"path": "../a.j2"},
        {"path": "/etc/passwd"},
    ],
)
def test_jinja_options_that_are_refused_at_load(step: Callable[..., Any], options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        step(type="jinja", jinja=options)


# set_fact


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("{{ tickets }}", [{"key": "A-1", "status": "open"}, {"key": "A-2", "status": "done"}]),
        ("{{ number }}", 7),
        ("n={{ number }}", "n=7"),
        ({"a": ["{{ number }}", "{{ name }}"]}, {"a": [7, "from the flow"]}),
        ("{{ text }}", "{{ name }}"),
        ("plain", "plain"),
        (None, None),
        (False, False),
        (1.0, 1.0),
        ([], []),
    ],
)
def test_set_fact_keeps_native_types(run_step: RunStep, value: Any, result: Any) -> None:
    found = run_step(type="set_fact", set_fact={"value": value}).value
    assert found == result
    assert type(found) is type(result)


def test_set_fact_does_not_change_the_flow_file(step: Callable[..., Any], run_step: RunStep) -> None:
    """A spec is never changed: the same step may run many times."""
    raw = {"a": ["{{ number }}"]}
    run_step(type="set_fact", set_fact={"value": raw})
    assert raw == {"a": ["{{ number }}"]}
