"""A StepContext for step tests: real expressions, folders below tmp_path, everything else in memory.

Tests take the fixture `context` (an empty FakeContext) and set what they need on it, and `step` / `run_step`
to validate and run a step as a flow file would have it. Test files here are called `test_<type>_step.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from flow_processor import factory
from flow_processor.errors import StepCancelled, StepError, StepTimeout
from flow_processor.expressions import data_key, jq
from flow_processor.expressions.jinja import Templates
from flow_processor.spec.step import StepSpec
from flow_processor.step import FlowOutcome, Folders, Secret, StepResult

ChildFlow = Callable[[Any, int | None], FlowOutcome]
"""(payload, loop index) -> what the sub-flow came to."""


class FakeContext:
    """StepContext in memory. Set `data`, `secrets`, `flows`, `seconds_left`; read `errors`, `lines`, `waits`."""

    def __init__(self, root: Path):
        self.data: dict[str, Any] = {}
        self.step_name = "step"
        self.attempt = 1
        self.folders = Folders(data=root / "data", templates=root / "data" / "templates")
        self.folders.templates.mkdir(parents=True)
        self.stop = threading.Event()
        self.seconds_left: float | None = None
        self.secrets: dict[str, Secret] = {}
        self.flows: dict[str, ChildFlow] = {}
        self.errors: list[dict[str, Any]] = []
        self.lines: list[tuple[str, str]] = []
        """(level, message)"""
        self.waits: list[float] = []
        """Seconds of each wait; nothing is really waited for."""
        self.nested: list[str] = []
        """Labels of the nested steps that were run."""
        self.templates = Templates(self.folders.templates)

    def remaining_seconds(self) -> float | None:
        return self.seconds_left

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self.stop.is_set():
            raise StepCancelled("the run was cancelled")
        if self.seconds_left is not None and seconds > self.seconds_left:
            raise StepTimeout("the step's time is up")

    def lookup(self, key: str) -> Any:
        return data_key.lookup(self.data, key)

    def render(self, value: Any) -> Any:
        return self.templates.render(value, self.data)

    def render_template(self, *, path: str | None, text: str | None, extra: Mapping[str, Any]) -> str:
        return self.templates.render_template(path=path, text=text, data={**self.data, **extra})

    def jq(self, expression: str, value: Any) -> Any:
        return jq.run(expression, value)

    def secret(self, name: str) -> Secret:
        if name not in self.secrets:
            raise StepError(f"no secret '{name}'", code="secret_not_found")
        return self.secrets[name]

    def run_flow(self, path: str, *, payload: Any, loop_index: int | None = None) -> FlowOutcome:
        if path not in self.flows:
            raise StepError(f"there is no flow '{path}'", code="flow_not_found")
        return self.flows[path](payload, loop_index)

    def run_nested(self, step: Any, label: str) -> StepResult:
        self.nested.append(label)
        return factory.step_type_of(step).run(step.options, self)

    def add_error(self, error: Mapping[str, Any]) -> None:
        self.errors.append(dict(error))

    def log(self, message: str, *, level: str = "info") -> None:
        self.lines.append((level, message))


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
