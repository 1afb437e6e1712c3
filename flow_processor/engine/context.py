"""What a step sees of the run it is part of: the one implementation of `StepContext`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from flow_processor.documents import json_copy
from flow_processor.engine.child_runs import Ask, ChildRuns
from flow_processor.engine.lines import Lines
from flow_processor.engine.run_journal import RunJournal
from flow_processor.engine.step_waits import StepWaits
from flow_processor.engine.surroundings import Surroundings, Tools
from flow_processor.errors import StepError
from flow_processor.expressions import data_key, jq, when
from flow_processor.own_code.printing import printing_to
from flow_processor.run_state import Signal
from flow_processor.spec.docker import DockerAccess
from flow_processor.spec.step import StepSpec
from flow_processor.step import (
    Block,
    BlockOutcome,
    Element,
    FlowOutcome,
    Folders,
    OnFailure,
    Secret,
    StepResult,
)
from flow_processor.wait import Wait


class AttemptContext:
    """The context of one attempt of one step."""

    def __init__(
        self,
        steps: Surroundings,
        step: StepSpec,
        *,
        path: str,
        attempt: int,
        data: dict[str, Any],
        deadline: float | None,
        stop: threading.Event,
        begun_wait: Wait | None,
        begun_before: bool,
        lines: Lines,
        journal: RunJournal,
        tools: Tools,
        fetch_secret: Callable[[str], Secret],
        ask_children: Ask,
    ) -> None:
        self._steps = steps
        self._step = step
        self._path = path
        self._attempt = attempt
        self._data = data
        self._below = path if attempt == 1 else f"{path}[attempt {attempt}]"
        """What the paths of inner steps begin with; each attempt has its own, for it begins anew."""
        self._deadline = deadline
        self._stop = stop
        self._begun_wait = begun_wait
        self._begun_before = begun_before
        self._lines = lines
        self._journal = journal
        self._tools = tools
        self._fetch_secret = fetch_secret
        self._ask_children = ask_children
        self._own_data: dict[str, Any] | None = None
        self.errors: list[dict[str, Any]] = []
        """What the step added to `__errors__`."""
        self._waits = StepWaits(
            step,
            path=path,
            attempt=attempt,
            deadline=deadline,
            begun=begun_wait,
            lines=lines,
            journal=journal,
            clock=tools.clock,
            stop_reason=steps.stop_reason,
        )

    @property
    def signal(self) -> int | None:
        """seq of the signal that ended its wait."""
        return self._waits.signal

    @property
    def has_waited(self) -> bool:
        """Does a row say that it waits?"""
        return self._waits.has_waited

    @property
    def data(self) -> Mapping[str, Any]:
        """The flow's shared data; a copy for own code, which may change what it is given."""
        if not self._step.is_own:
            return self._data
        if self._own_data is None:
            self._own_data = json_copy(self._data)
        return self._own_data

    @property
    def step_name(self) -> str:
        """The step's name."""
        return self._step.name

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self._journal.run_id

    @property
    def path(self) -> str:
        """Which visit of which step this is."""
        return self._path

    @property
    def attempt(self) -> int:
        """1 for the first try."""
        return self._attempt

    @property
    def folders(self) -> Folders:
        """Where files and templates lie."""
        return self._tools.folders

    @property
    def docker(self) -> DockerAccess:
        """Which containers may be run, and where."""
        if self._tools.docker is None:
            raise StepError("config.yml switches no containers on (docker.enabled)", code="step_switched_off")
        return self._tools.docker

    @property
    def stop(self) -> threading.Event:
        """Set when the run is cancelled or its time is up."""
        return self._stop

    def remaining_seconds(self) -> float | None:
        """Seconds left of the time limit; None without one."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self._tools.clock.monotonic())

    def now(self) -> datetime:
        """The wall clock."""
        return self._tools.clock.now()

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which moments without one are meant."""
        return self._tools.zone

    @property
    def begun_wait(self) -> Wait | None:
        """The wait that had begun when the worker before left."""
        return self._begun_wait

    @property
    def begun_before(self) -> bool:
        """Was this attempt cut off in the middle before?"""
        return self._begun_before

    def wait_for(self, wait: Wait) -> Signal | None:
        """Wait; the signal that ended it, or None."""
        return self._waits.wait_for(wait)

    def pause(self, seconds: float, *, since: float | None) -> None:
        """Wait until so many seconds have passed."""
        self._waits.pause(seconds, since=since)

    def side_by_side(self, works: Sequence[Callable[[], None]], *, limit: int) -> None:
        """Do the works in up to `limit` lines."""
        self._lines.side_by_side(works, limit=limit)

    def lookup(self, key: str) -> Any:
        """The value of a `data_key`."""
        return data_key.lookup(self.data, key)

    def render(self, value: Any, *, extra: Mapping[str, Any] | None = None) -> Any:
        """Templates in `value` rendered once against the data, with `extra` on top of it."""
        data = {**self._data, **extra} if extra else self._data
        return self._tools.templates.render(value, data)

    def render_template(self, *, path: str | None, text: str | None, extra: Mapping[str, Any]) -> str:
        """A template file or text, rendered with `extra` on top of the data."""
        data = {**self._data, **extra}
        return self._tools.templates.render_template(path=path, text=text, data=data)

    def jq(self, expression: str, value: Any) -> Any:
        """A jq expression applied to `value`."""
        return jq.run(expression, value)

    def secret(self, name: str) -> Secret:
        """The named secret."""
        return self._fetch_secret(name)

    def run_flow(
        self,
        path: str,
        *,
        payload: Any,
        params: Mapping[str, Any] | None = None,
        loop_index: int | None = None,
    ) -> FlowOutcome:
        """Run a sub-flow in this run."""
        return self._steps.run_child(
            path,
            payload=payload,
            params=params or {},
            loop_index=loop_index,
            below=self._below,
            data=self._data,
            deadline=self._deadline,
        )

    def run_apart(
        self, path: str, elements: Sequence[Element], *, limit: int, ends_on_failure: bool
    ) -> dict[int, FlowOutcome]:
        """Run a flow for each element in a run of its own."""
        children = ChildRuns(
            self._ask_children, self._waits, below=self._below, keep_done=self._journal.keep_done
        )
        return children.run(
            path, self._steps.params_of(path), elements, limit=limit, ends_on_failure=ends_on_failure
        )

    def run_nested(self, step: StepSpec, label: str) -> StepResult:
        """Run a step that stands inside this one."""
        path = f"{self._below}/{label}"
        return self._steps.run_inside(
            step, path=path, data=self._data, deadline=self._deadline, errors=self.errors
        )

    def run_blocks(
        self, blocks: Sequence[Block], *, limit: int = 1, on_failure: OnFailure = OnFailure.GO_ON
    ) -> list[BlockOutcome | None]:
        """Run lists of steps that stand inside this one."""
        return self._steps.run_blocks(
            blocks,
            below=self._below,
            data=self._data,
            deadline=self._deadline,
            errors=self.errors,
            begin=self._waits.check_time,
            limit=limit,
            on_failure=on_failure,
        )

    def holds(self, condition: Any, *, extra: Mapping[str, Any] | None = None, word: str = "when") -> bool:
        """Whether a condition holds."""
        return when.holds(condition, {**self._data, **(extra or {})}, self._tools.templates, word=word)

    def call(self, function: str, arguments: Any, *, secrets: Mapping[str, Secret] | None = None) -> Any:
        """What a function of callers/ gives."""
        with printing_to(self.log):
            return self._tools.code.call(
                function, json_copy(arguments), secrets or {}, redacted=self.redacted
            )

    def run_own(self, step_type: str, options: Any) -> StepResult:
        """Run a step type of steps/, with its options rendered."""
        with printing_to(self.log):
            return self._tools.code.run_step(step_type, json_copy(self.render(options)), self)

    def check_allowed(self) -> None:
        """Raises StepError where the step's type has been switched off since the run was launched."""
        key = self._tools.switched_off.get("python" if self._step.is_own else self._step.options_key)
        if key is not None:
            message = f"steps of the type '{self._step.type}' are switched off in config.yml ({key}: false)"
            raise StepError(message, code="step_switched_off")

    def redacted(self, text: str) -> str:
        """The text without secrets."""
        return str(self._journal.redacted({"text": text})["text"])

    def add_error(self, error: Mapping[str, Any]) -> None:
        """Append to the flow's `__errors__` without failing."""
        self.errors.append(dict(error))

    def log(self, message: str, *, level: str = "info") -> None:
        """A line in the run's own log."""
        self._journal.log(self._path, level, message)
