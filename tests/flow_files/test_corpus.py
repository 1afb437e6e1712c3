"""tests/flows/valid and tests/flows/invalid: what the loader takes and refuses, and the JSON Schema with it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from flow_processor.documents import parse
from flow_processor.errors import SpecError
from flow_processor.flow_files import FlowLibrary, parse_flow
from flow_processor.schema import flow_schema

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "flows"
VALID = sorted((CORPUS / "valid").glob("*.yml"))
INVALID = sorted((CORPUS / "invalid").glob("*.yml"))
EXAMPLES = sorted((ROOT / "data" / "flows").rglob("*.yml"))
ONLY_THE_LOADER_SEES = {
    "approval_default_is_no_answer",
    "absolute_sub_flow", "bad_cron", "bad_regex", "bad_retry_regex", "bad_switch_regex", "bad_template",
    "bad_when", "bad_zone", "both_rules", "both_schedules", "cron_never_comes", "duplicate_step",
    "escaping_sub_flow", "finally_nowhere", "goto_in_switch_nowhere", "goto_nowhere", "jq_imports",
    "jq_reads_environment", "on_error_goto_nowhere", "reserved_name", "unknown_filter",
    "duplicate_step_in_handler", "goto_in_graph", "goto_out_of_a_handler", "needs_in_a_circle", "needs_itself",
    "needs_nobody", "needs_twice", "result_key_of_two_beside", "step_named_like_a_handler",
}  # fmt: skip
"""Files that are right by their form; what is wrong is a name, a target, an expression or a date."""


@cache
def validator() -> jsonschema.Draft202012Validator:
    schema = flow_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_right_flow_is_loaded_and_passes_the_schema(path: Path) -> None:
    raw = path.read_bytes()
    parse_flow(raw, path.name)
    validator().validate(parse(raw, file=path.name).data)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_shipped_flow_is_right_with_its_sub_flows(path: Path) -> None:
    folder = ROOT / "data" / "flows"
    bundle = FlowLibrary(folder).bundle(path.relative_to(folder).as_posix())
    validator().validate(parse(bundle.flows[bundle.path], file=path.name).data)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_a_wrong_flow_is_refused_at_its_place(path: Path) -> None:
    raw = path.read_bytes()
    expected = re.match(rb"# expect: (\w+) (\d+)\n", raw)
    assert expected
    with pytest.raises(SpecError) as error:
        parse_flow(raw, path.name)
    (problem,) = error.value.problems
    assert (problem.code, problem.line or 0) == (expected[1].decode(), int(expected[2]))
    assert problem.file == path.name


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_the_schema_refuses_what_it_can_see(path: Path) -> None:
    try:
        data = parse(path.read_bytes(), file=path.name).data
    except SpecError:
        return  # not even YAML
    assert validator().is_valid(data) is (path.stem in ONLY_THE_LOADER_SEES)
