"""The contract of a step: what its `run` is given, and what it gives back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from flow_processor.errors import StepError
from flow_processor.run_state import Signal
from flow_processor.spec.docker import DockerAccess
from flow_processor.wait import Wait

JsonValue = Any
"""None, bool, int, float, str, list or dict with text keys: what flow data is made of."""


@dataclass(frozen=True, slots=True)
class Goto:
    """Go on at another step of the same flow, or `__start__`, `__end__`, `__exit__`."""

    step: str


@dataclass(frozen=True, slots=True)
class Exit:
    """End the whole run here, with status `exited`."""

    message: str | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step attempt came to. Control flow is returned, never thrown."""

    value: JsonValue = None
    control: Goto | Exit | None = None


@dataclass(frozen=True, slots=True)
class FlowOutcome:
    """What a sub-flow came to, as `flow` and `flow_loop` see it."""

    status: str
    """succeeded, failed or exited."""
    data: dict[str, Any]
    """The child's whole data."""
    error: dict[str, Any] | None = None
    """`{"code", "message", "details", "step"}` when it failed."""
    run_id: str | None = None
    """The run that it was, if one of its own."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a list, for a run of its own."""

    index: int
    """Which one, from 1."""
    payload: JsonValue
    """`__input__` of its run."""
    params: Mapping[str, JsonValue] = field(default_factory=dict)
    """Values for the flow's `params`."""


@dataclass(frozen=True, slots=True)
class Block:
    """A list of steps that stands inside a step, as it is to be run once."""

    label: str
    """What names it in the journal: `3` for `loop[3]/…`. Unlike those of the step's other blocks."""
    steps: Sequence[Any]
    """The steps, as the step's options hold them."""
    data: Mapping[str, JsonValue] = field(default_factory=dict)
    """What they see on top of the flow data."""


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What a block came to."""

    results: dict[str, JsonValue]
    """The results of its steps by their keys; of those that succeeded."""
    error: dict[str, Any] | None = None
    """`{"code", "message", "details", "step"}` when it failed; `step` is the path of the step that did."""
    control: Exit | None = None
    """What an `exit` inside said."""
    ended_at: float | None = None
    """When its last step ended, in seconds since 1970, if that was in an earlier worker."""

    def failure(self, **details: JsonValue) -> StepError:
        """Its error as that of the step around it, with `details` beside its own."""
        error = self.error or {}
        more = {**error["details"], **details, "step": error["step"]}
        return StepError(error["message"], code=error["code"], details=more)


class OnFailure(Enum):
    """What a block that fails does to those beside it."""

    GO_ON = "go_on"
    """Nothing."""
    BEGIN_NO_MORE = "begin_no_more"
    """Those under way end by themselves."""
    END_ALL = "end_all"
    """Those under way are ended."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A named secret as a step may use it. Its values are redacted wherever they would be shown."""

    name: str
    type: str
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """`username`, `password`, `token`, … by the secret's type."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of the data folder that steps may reach, as absolute paths."""

    data: Path
    templates: Path
    private: tuple[Path, ...] = ()
    """Files and folders below `data` that no step may read or write: flows, secrets, config, store, locks."""


class StepContext(Protocol):
    """All that a step may touch. One context per attempt; never kept after `run` has returned."""

    @property
    def data(self) -> Mapping[str, JsonValue]:
        """The flow's shared data. Read it; what a step gives back is its result."""

    @property
    def step_name(self) -> str:
        """The step's name, for messages."""

    @property
    def run_id(self) -> str:
        """Id of the run."""

    @property
    def path(self) -> str:
        """Which visit of which step this is, as the journal names it: `go_ahead`, `loop[3]/go_ahead#2`."""

    @property
    def attempt(self) -> int:
        """1 for the first try."""

    @property
    def folders(self) -> Folders:
        """Where files and templates lie."""

    @property
    def docker(self) -> DockerAccess:
        """Which containers may be run, and where; raises StepError `step_switched_off`."""

    @property
    def stop(self) -> threading.Event:
        """Set when the run is cancelled; waiting steps wait on it."""

    def remaining_seconds(self) -> float | None:
        """Seconds left of the step's time limit; None without one. Never below 0."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which moments without one are meant."""

    @property
    def begun_wait(self) -> Wait | None:
        """The wait of this attempt that had begun when its worker left; to be given to `wait_for` as it is."""

    @property
    def begun_before(self) -> bool:
        """Of a step that is not repeatable: was this attempt cut off in the middle before, by the death of a worker or,
        where its run is tried again, by that run's end? Then what it does may have been done."""

    def wait_for(self, wait: Wait) -> Signal | None:
        """Wait, at most once in an attempt. The signal that ended it; None when its moment has come.

        A wait of more than two seconds may leave this worker in the middle and go on in another one: then the
        step is run anew, with `begun_wait`. Raises StepCancelled or StepTimeout when that comes first.
        """

    def side_by_side(self, works: Sequence[Callable[[], None]], *, limit: int) -> None:
        """Do the works, begun in their order, at most `limit` at once; each may run flows and wait.

        Raises what a work raised; then no further one begins.
        """

    def lookup(self, data_key: str) -> JsonValue:
        """The value of a `data_key`: `.` is the whole data; raises DataKeyMissing."""

    def render(self, value: JsonValue, *, extra: Mapping[str, JsonValue] | None = None) -> JsonValue:
        """Templates in a text, or in all texts of a list or mapping, rendered once against the data, with `extra` on
        top of it.

        A text that is exactly one expression keeps the expression's type.
        """

    def render_template(self, *, path: str | None, text: str | None, extra: Mapping[str, JsonValue]) -> str:
        """A template file (relative to the templates folder) or text, rendered with `extra` on top of data."""

    def jq(self, expression: str, value: JsonValue) -> JsonValue:
        """One output → it; none → None; several → a list of them."""

    def secret(self, name: str) -> Secret:
        """The named secret; raises StepError `secret_not_found`."""

    def run_flow(
        self,
        path: str,
        *,
        payload: JsonValue,
        params: Mapping[str, JsonValue] | None = None,
        loop_index: int | None = None,
    ) -> FlowOutcome:
        """Run a sub-flow in this run, with `payload` as its `__input__`. Safe to call from threads.

        Values that its `params` do not take give a failed outcome, code `params_invalid`.
        """

    def run_apart(
        self, path: str, elements: Sequence[Element], *, limit: int, ends_on_failure: bool
    ) -> dict[int, FlowOutcome]:
        """Run a flow for each element in a run of its own, at most `limit` at once; to be called once in an attempt.

        Their outcomes by number. With `ends_on_failure` the first failure ends the others; those are left out.
        """

    def run_nested(self, step: Any, label: str) -> StepResult:
        """Run a step that stands inside this one (a case of `switch`); `label` names it in the journal."""

    def run_blocks(
        self, blocks: Sequence[Block], *, limit: int = 1, on_failure: OnFailure = OnFailure.GO_ON
    ) -> list[BlockOutcome | None]:
        """Run lists of steps that stand inside this one, begun in their order, at most `limit` at once.

        What they came to, in their order; None for those that never began or were ended by another's failure. What
        they added to `__errors__` joins the flow's, but for the failures in the outcomes. After an `exit` no further
        one begins; with END_ALL it ends those under way.
        """

    def holds(
        self, condition: Any, *, extra: Mapping[str, JsonValue] | None = None, word: str = "when"
    ) -> bool:
        """Whether a condition like `when` holds over the data, with `extra` on top; `word` names it in errors."""

    def pause(self, seconds: float, *, since: float | None) -> None:
        """Wait until so many seconds have passed since that moment (seconds since 1970; None: now).

        As often as needed, and unlike `wait_for` without telling people; a long one may leave this worker too.
        """

    def call(
        self, function: str, arguments: JsonValue, *, secrets: Mapping[str, Secret] | None = None
    ) -> JsonValue:
        """What a function of the data folder's callers/ gives; raises StepError. What it prints is logged."""

    def run_own(self, step_type: str, options: JsonValue) -> StepResult:
        """Run a step type of the data folder's steps/, with its options as the flow file has them."""

    def redacted(self, text: str) -> str:
        """The text with `***` in place of secrets. Whatever is shown or kept is redacted anyway; who cuts a text does
        this first, or cuts it by `shortened`: half of a secret is found only before the mark of that."""

    def add_error(self, error: Mapping[str, Any]) -> None:
        """Append to the flow's `__errors__` without failing."""

    def log(self, message: str, *, level: str = "info") -> None:
        """A line in the run's own log. level: debug, info, warning or error."""
