"""The generated pages say what the code says, and leave nothing out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flow_processor.documents import parse
from flow_processor.documents.described import field_description
from flow_processor.factory import StepType, step_types
from flow_processor.flow_files import parse_flow
from flow_processor.schema import flow_schema, step_page
from flow_processor.settings import VARIABLES, Variable
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.step import StepSpec

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
KINDS = list(step_types().values())


def test_the_generated_pages_are_what_the_code_says() -> None:
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr


def test_the_schema_in_docs_is_the_one_the_command_prints() -> None:
    assert json.loads((DOCS / "flow.schema.json").read_text(encoding="utf-8")) == flow_schema()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_step_type_has_a_page_with_every_option(kind: StepType) -> None:
    page = (DOCS / "steps" / f"{kind.name}.md").read_text(encoding="utf-8")
    assert step_page(kind) in page
    for name, field in kind.options.model_fields.items():
        assert name == "root" or f"| `{field.alias or name}` |" in page
        assert field_description(kind.options, name), f"{kind.name}.{name} needs a docstring"
    assert kind.options.__doc__


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_example_of_a_step_type_is_a_right_step(kind: StepType) -> None:
    (example, *_) = re.findall(r"```yaml\n(.*?)```", step_page(kind), re.DOTALL)
    steps = parse(example, file="example").data
    assert steps[0]["type"] in (kind.name, *kind.aliases)
    targets = [step["goto"]["step_name"] for step in steps if "goto" in step]
    known = {step["name"] for step in steps}
    wanted = [name for name in targets if name not in known and not name.startswith("__")]
    filler = [f"- {{name: {name}, type: set_fact, set_fact: {{value: 1}}}}\n" for name in wanted]
    parse_flow("steps:\n" + example + "\n" + "".join(filler), "example")


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_every_setting_is_documented(variable: Variable) -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert f"| `{variable.name}` |" in page


def test_every_key_of_flows_and_steps_is_documented() -> None:
    page = (DOCS / "flow-file.md").read_text(encoding="utf-8")
    for name, field in (FlowSpec.model_fields | StepSpec.model_fields).items():
        assert f"| `{field.alias or name}` |" in page


def test_every_code_that_the_corpus_expects_is_documented() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    expected = {
        path.read_bytes().split(b"\n")[0].split()[2].decode()
        for path in (ROOT / "tests/flows/invalid").glob("*.yml")
    }
    missing = [code for code in expected if f"| `{code}` |" not in page]
    assert not missing


def test_every_code_that_a_test_meets_is_documented() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    compared = re.compile(r"""(?:\.code|\["code"\]) == "([a-z_]+)\"""")
    made_up = {"http_error", "too_much"}
    met = {
        code
        for path in (ROOT / "tests").rglob("test_*.py")
        for code in compared.findall(path.read_text(encoding="utf-8"))
    }
    assert len(met) > 30
    assert not [code for code in met - made_up if f"| `{code}` |" not in page]


def test_the_pages_link_to_files_that_are_there() -> None:
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
