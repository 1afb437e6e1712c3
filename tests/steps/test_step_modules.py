"""Every step module: registered, documented by an example that is valid, and told apart by its docstrings."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import flow_processor.steps
from flow_processor import factory
from flow_processor.documents import parse_data_yaml
from flow_processor.documents.described import field_description
from flow_processor.step import FlowOutcome

MODULES = sorted(
    path.stem for path in Path(flow_processor.steps.__path__[0]).glob("*.py") if not path.stem.startswith("_")
)


def examples(module: str) -> list[Any]:
    """The YAML blocks in the docstring of a step module, as data."""
    text = importlib.import_module(f"flow_processor.steps.{module}").__doc__ or ""
    return [parse_data_yaml(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


def test_every_file_of_the_folder_is_imported_and_nothing_else() -> None:
    assert sorted(flow_processor.steps.__all__) == MODULES


def test_every_module_registers_one_type_of_its_own_name() -> None:
    by_module = {kind.module.rpartition(".")[2]: kind.name for kind in factory.step_types().values()}
    assert {module: by_module.get(module) for module in MODULES} == {
        module: module.rstrip("_") for module in MODULES
    }


@pytest.mark.parametrize("module", MODULES)
def test_the_first_example_is_a_valid_step_of_its_type(module: str) -> None:
    blocks = examples(module)
    assert blocks, "the module docstring needs a ```yaml example"
    for block in blocks:
        steps = factory.flow_model().model_validate({"steps": block}).steps
        assert factory.step_type_of(steps[0]).name == module.rstrip("_")  # `raise_`, for `raise` is Python's


TICKETS = [{"key": "A-1", "status": "open"}, {"key": "A-2", "status": "done"}]
RESULTS: dict[str, tuple[dict[str, Any], Any]] = {
    "debug": ({"tickets": TICKETS}, None),
    "exit": ({"__input__": {"since": "May"}}, "no tickets since May"),
    "flow": ({"order": 5}, {"__input__": 5}),
    "flow_loop": ({"tickets": TICKETS}, [{"__input__": ticket} for ticket in TICKETS]),
    "foreach": ({"tickets": TICKETS}, ["A-1 IS OPEN", "A-2 IS DONE"]),
    "goto": ({}, None),
    "jinja": ({"ticket": TICKETS[0]}, "A-1 is open (2 fields)"),
    "jira_names_merge": (
        {
            "export": {
                "names": {"customfield_10016": "Story Points"},
                "issues": [{"fields": {"customfield_10016": 3}}],
            }
        },
        [{"fields": {"story_points": 3}}],
    ),
    "jq": ({"tickets": TICKETS}, ["A-1"]),
    "matrix": ({}, ["linux-3.11", "linux-3.12", "windows-3.12", "macos-3.12"]),
    "parallel": (
        {"__input__": {"name": "Ada"}},
        {"greeting": {"text": "hello Ada", "loud": "HELLO ADA"}, "size": {"letters": 3}},
    ),
    "set_fact": (
        {"__input__": {"project": "OPS", "labels": ["a"]}},
        {"days": 7, "project": "OPS", "labels": ["a"]},
    ),
    "sleep": ({}, None),
    "switch": ({"priority": "P4"}, "next week"),
}
"""What the example in a module's docstring gives, over which data. (file and rest run theirs in their own tests.)"""


@pytest.mark.parametrize("module", RESULTS)
def test_the_example_does_what_it_says(context: Any, module: str) -> None:
    context.data, expected = RESULTS[module]
    for path in ("sub/customer.yml", "sub/notify.yml"):
        context.flows[path] = lambda payload, index: FlowOutcome("succeeded", {"__input__": payload})
    (step,) = factory.flow_model().model_validate({"steps": examples(module)[0]}).steps
    assert factory.step_type_of(step).run(step.options, context).value == expected


@pytest.mark.parametrize("kind", factory.step_types().values(), ids=lambda kind: kind.name)
def test_every_option_is_described(kind: factory.StepType) -> None:
    assert kind.options.__doc__
    undescribed = [name for name in kind.options.model_fields if not field_description(kind.options, name)]
    assert not undescribed


@pytest.mark.parametrize("module", MODULES)
def test_no_step_imports_another(module: str) -> None:
    text = (Path(flow_processor.steps.__path__[0]) / f"{module}.py").read_text(encoding="utf-8")
    assert "flow_processor.steps" not in text


def test_the_schema_of_a_flow_can_be_made() -> None:
    """Also with switch, whose options hold steps."""
    schema = factory.flow_model().model_json_schema()
    assert {f"{name}_step" for name in factory.step_types()} <= set(schema["$defs"])
