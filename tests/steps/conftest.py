"""Steps validated and run as a flow file would have them, in a context that is in memory (fake_context.py).

Tests take the fixture `context` (an empty FakeContext) and set what they need on it, and `step` / `run_step`
to validate and run a step as a flow file would have it. Test files here are called `test_<type>_step.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from flow_processor import factory
from flow_processor.spec.step import StepSpec
from flow_processor.step import StepResult
from tests.steps.fake_context import FakeContext


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    """A context with empty data and folders below tmp_path."""
    return FakeContext(tmp_path)


def validate_step(raw: Mapping[str, Any]) -> StepSpec:
    """A step as a flow file has it, validated by the flow model; raises pydantic's ValidationError."""
    import flow_processor.steps  # noqa: F401  registers the step types

    return factory.flow_model().model_validate({"steps": [{"name": "step", **raw}]}).steps[0]


@pytest.fixture
def step() -> Callable[..., StepSpec]:
    """`step(type="jq", jq={...})` -> the validated step."""
    return lambda **raw: validate_step(raw)


@pytest.fixture
def run_step(context: FakeContext) -> Callable[..., StepResult]:
    """`run_step(type="jq", jq={...})` validates the step and runs it in `context`; gives its StepResult."""

    def run(**raw: Any) -> StepResult:
        spec = validate_step(raw)
        return factory.step_type_of(spec).run(spec.options, context)

    return run
