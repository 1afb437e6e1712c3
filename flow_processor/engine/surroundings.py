"""What the context of an attempt is made of: what a worker's runs share, and the list of steps around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from flow_processor.clock import Clock
from flow_processor.errors import StepError
from flow_processor.expressions.jinja import Templates
from flow_processor.own_code.calls import NO_OWN_CODE, OwnCode
from flow_processor.spec.docker import DockerAccess
from flow_processor.spec.params import ParamSpec
from flow_processor.spec.step import StepSpec
from flow_processor.step import Block, BlockOutcome, FlowOutcome, Folders, OnFailure, StepResult


@dataclass(frozen=True, slots=True)
class Tools:
    """What all runs of a worker share."""

    templates: Templates
    folders: Folders
    clock: Clock
    zone: ZoneInfo
    """In which moments without a zone are meant."""
    code: OwnCode = NO_OWN_CODE
    """The own code that the run takes along."""
    switched_off: Mapping[str, str] = field(default_factory=dict)
    """Step type -> the key of config.yml that switches it off."""
    max_item_bytes: Mapping[str, int] = field(default_factory=dict)
    """Queue -> the largest item that may be put there, in bytes; DEFAULTS stands for the queues that are not named."""
    docker: DockerAccess | None = None
    """None: there are no containers."""


class Surroundings(Protocol):
    """The list of steps that an attempt belongs to, as far as its context needs it."""

    def stop_reason(self) -> StepError | None:
        """Why steps must end now (cancel, the flow's time limit); None while they need not."""

    def run_child(
        self,
        path: str,
        *,
        payload: Any,
        params: Mapping[str, Any],
        loop_index: int | None,
        below: str,
        data: dict[str, Any],
        deadline: float | None,
    ) -> FlowOutcome:
        """Run a sub-flow; `below` is the path of the step that calls it, and `data` what that step sees."""

    def params_of(self, path: str) -> Mapping[str, ParamSpec]:
        """The parameters of a flow."""

    def run_inside(
        self,
        step: StepSpec,
        *,
        path: str,
        data: dict[str, Any],
        deadline: float | None,
        errors: list[dict[str, Any]],
    ) -> StepResult:
        """Run one step that stands inside another; what it adds to `__errors__` goes to `errors`."""

    def run_blocks(
        self,
        blocks: Sequence[Block],
        *,
        below: str,
        data: dict[str, Any],
        deadline: float | None,
        errors: list[dict[str, Any]],
        begin: Callable[[], None],
        limit: int,
        on_failure: OnFailure,
    ) -> list[BlockOutcome | None]:
        """Run lists of steps that stand inside a step."""
