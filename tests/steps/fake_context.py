"""A StepContext for step tests: real expressions, folders below a given root, everything else in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flow_processor import factory
from flow_processor.clock import SystemClock
from flow_processor.engine.lines import Lines
from flow_processor.errors import StepError
from flow_processor.expressions import data_key, jq, when
from flow_processor.expressions.jinja import Templates
from flow_processor.run_state import Signal
from flow_processor.spec.docker import DockerAccess
from flow_processor.step import Block, BlockOutcome, FlowOutcome, Folders, OnFailure, Secret, StepResult
from flow_processor.wait import Wait

NOW = datetime(2026, 11, 21, 7, 40, 6, tzinfo=UTC)
"""What every clock says here."""

ChildFlow = Callable[[Any, int | None], FlowOutcome]
"""(payload, loop index) -> what the sub-flow came to."""


class FakeContext:
    """StepContext in memory. Set `data`, `secrets`, `flows`, `signal`, …; read `errors`, `lines`, `waits`, …"""

    def __init__(self, root: Path):
        self.data: dict[str, Any] = {}
        self.step_name = self.path = "step"
        self.attempt = 1
        self.run_id = "run-of-a-test"
        self.containers: DockerAccess | None = None
        """None: there are none."""
        self.zone = ZoneInfo("Europe/Brussels")
        self.begun_wait: Wait | None = None
        self.begun_before = False
        self.signal: Signal | None = None
        """What ends the step's wait; None: its moment."""
        self.folders = Folders(data=root / "data", templates=root / "data" / "templates")
        self.folders.templates.mkdir(parents=True)
        self.stop = threading.Event()
        self.seconds_left: float | None = None
        self.secrets: dict[str, Secret] = {}
        self.flows: dict[str, ChildFlow] = {}
        self.errors: list[dict[str, Any]] = []
        self.lines: list[tuple[str, str]] = []
        """(level, message)"""
        self.waits: list[Wait] = []
        """What was waited for; nothing really is."""
        self.nested: list[str] = []
        """Labels of the nested steps that were run."""
        self.templates = Templates(self.folders.templates)
        self.run_lines = Lines(SystemClock(), signals=(), may_park=lambda: False)

    @property
    def docker(self) -> DockerAccess:
        assert self.containers is not None
        return self.containers

    def remaining_seconds(self) -> float | None:
        return self.seconds_left

    def now(self) -> datetime:
        return NOW

    def wait_for(self, wait: Wait) -> Signal | None:
        self.waits.append(wait)
        return self.signal

    def side_by_side(self, works: Sequence[Callable[[], None]], *, limit: int) -> None:
        self.run_lines.side_by_side(works, limit=limit)

    def lookup(self, key: str) -> Any:
        return data_key.lookup(self.data, key)

    def render(self, value: Any, *, extra: Mapping[str, Any] | None = None) -> Any:
        return self.templates.render(value, {**self.data, **(extra or {})})

    def render_template(self, *, path: str | None, text: str | None, extra: Mapping[str, Any]) -> str:
        return self.templates.render_template(path=path, text=text, data={**self.data, **extra})

    def jq(self, expression: str, value: Any) -> Any:
        return jq.run(expression, value)

    def secret(self, name: str) -> Secret:
        if name not in self.secrets:
            raise StepError(f"no secret '{name}'", code="secret_not_found")
        return self.secrets[name]

    def run_flow(
        self,
        path: str,
        *,
        payload: Any,
        params: Mapping[str, Any] | None = None,
        loop_index: int | None = None,
    ) -> FlowOutcome:
        if path not in self.flows:
            raise StepError(f"there is no flow '{path}'", code="flow_not_found")
        return self.flows[path](payload, loop_index)

    def run_nested(self, step: Any, label: str) -> StepResult:
        self.nested.append(label)
        return factory.step_type_of(step).run(step.options, self)

    def run_blocks(
        self, blocks: Sequence[Block], *, limit: int = 1, on_failure: OnFailure = OnFailure.GO_ON
    ) -> list[BlockOutcome | None]:
        """In order, one after the other; a failing step is a failing test."""
        return [self._run_block(block) for block in blocks]

    def _run_block(self, block: Block) -> BlockOutcome:
        outer, self.data = self.data, {**self.data, **block.data}
        results: dict[str, Any] = {}
        for step in block.steps:
            results[step.key] = factory.step_type_of(step).run(step.options, self).value
            self.data = {**self.data, **results}
        self.data = outer
        return BlockOutcome(results)

    def holds(self, condition: Any, *, extra: Mapping[str, Any] | None = None, word: str = "when") -> bool:
        return when.holds(condition, {**self.data, **(extra or {})}, self.templates, word=word)

    def pause(self, seconds: float, *, since: float | None) -> None:
        """Nothing is waited for."""

    def redacted(self, text: str) -> str:
        return text

    def add_error(self, error: Mapping[str, Any]) -> None:
        self.errors.append(dict(error))

    def log(self, message: str, *, level: str = "info") -> None:
        self.lines.append((level, message))
