"""tests/flows/valid and tests/flows/invalid: what the loader takes and refuses, and the JSON Schema with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from flow_processor.documents import parse
from flow_processor.errors import SpecError
from flow_processor.flow_files import FlowLibrary, parse_flow
from flow_processor.schema import flow_schema
from flow_processor.service.own_code import OwnCode, flow_library
from flow_processor.settings import Settings
from flow_processor.spec.docker import DockerSettings

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "flows"
VALID = sorted((CORPUS / "valid").glob("*.yml"))
INVALID = sorted((CORPUS / "invalid").glob("*.yml"))
EXAMPLES = sorted((ROOT / "data" / "flows").rglob("*.yml"))
EXPECTED = re.compile(rb"# expect: (\w+) (\d+)(?: ([^;\n]+))?(; only the loader sees it)?\r?\n")
"""Line one of a wrong flow: code, line and key of its problem. Only the loader sees what is right by its form: a name,
a target, an expression, a date."""


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


@pytest.fixture(scope="module")
def shipped_library() -> Iterator[FlowLibrary]:
    """The shipped flows, which use own code and containers."""
    docker = DockerSettings.model_validate({"enabled": True, "allow_images": "busybox:*"})
    settings = replace(Settings.load({"DATA_PATH": str(ROOT / "data")}), docker=docker)
    code = OwnCode(settings)
    yield flow_library(settings, code=code.use)
    code.close()


@pytest.fixture(scope="module")
def shipped_schema() -> jsonschema.Draft202012Validator:
    """The schema that lies beside them."""
    return jsonschema.Draft202012Validator(
        json.loads((ROOT / "data" / "flow.schema.json").read_text("utf-8"))
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_shipped_flow_is_right_with_its_sub_flows(
    path: Path, shipped_library: FlowLibrary, shipped_schema: jsonschema.Draft202012Validator
) -> None:
    bundle = shipped_library.bundle(path.relative_to(ROOT / "data" / "flows").as_posix())
    shipped_schema.validate(parse(bundle.flows[bundle.path], file=path.name).data)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_a_wrong_flow_is_refused_at_its_place(path: Path) -> None:
    raw = path.read_bytes()
    expected = EXPECTED.match(raw)
    assert expected
    with pytest.raises(SpecError) as error:
        parse_flow(raw, path.name)
    (problem,) = error.value.problems
    found = (problem.code, problem.line or 0, problem.key)
    assert found == (expected[1].decode(), int(expected[2]), (expected[3] or b"").decode())
    assert problem.file == path.name


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_the_schema_refuses_what_it_can_see(path: Path) -> None:
    try:
        data = parse(path.read_bytes(), file=path.name).data
    except SpecError:
        return  # not even YAML
    expected = EXPECTED.match(path.read_bytes())
    assert validator().is_valid(data) is bool(expected and expected[4])
