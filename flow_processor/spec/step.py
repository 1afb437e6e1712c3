"""What every step may say, whatever its type."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from flow_processor.spec.base import Seconds, Spec, Texts
from flow_processor.spec.output import Output

STEP_NAME_PATTERN = r"^[^/\[\]#\x00-\x1f]+$"


class RetrySpec(Spec):
    """Further tries after a failure."""

    attempts: Annotated[int, Field(ge=0, le=100)] = 0
    """Extra tries after the first one."""
    delay_seconds: Annotated[float, Field(ge=0, le=86_400)] = 1.0
    """Pause before the first extra try, in seconds."""
    backoff: Annotated[float, Field(ge=1, le=10)] = 1.0
    """Each further pause is this many times the one before."""
    max_delay_seconds: Seconds = 300.0
    """No pause is longer, in seconds."""
    on: Texts | None = None
    """Regular expressions searched in the error's text; only a failure that one of them matches is tried
    again. Absent: every failure."""


class OnInterrupt(StrEnum):
    """What to do with a step that was under way when its worker died."""

    FAIL = "fail"
    RERUN = "rerun"


def _named(value: str) -> str:
    if value.startswith("__"):
        raise ValueError("names starting with '__' are the product's own")
    return value


StepName = Annotated[
    str, Field(min_length=1, max_length=100, pattern=STEP_NAME_PATTERN), AfterValidator(_named)
]


class StepSpec(Spec):
    """One step of a flow. Its own options stand under a key that is named like its type."""

    options_key: ClassVar[str] = ""
    is_own: ClassVar[bool] = False
    """Is its type one of the data folder's own? Then its options are a plain mapping."""
    step_type: ClassVar[Any] = None
    """The factory's StepType."""

    name: StepName
    """The step's name; goto, journal and messages use it. Unique in its flow."""
    type: str
    """The step's type."""
    description: str | None = None
    """For people."""
    needs: Texts | None = None
    """Names of steps of the same list that must have ended well before this one begins. If any step of a list has
    `needs` (`[]` too), its steps run by that and beside each other, no longer one after the other."""
    when: bool | Texts | None = None
    """Looked at before anything else of the step: an expression, a {{ template }}, or a list of which all must
    hold. If it does not hold the step is recorded as skipped. A name that is not there is empty, no error."""
    result_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Key of the flow data that takes the result; default: the step's name."""
    jq_expression: str | None = None
    """A last transformation of the result. Several outputs become a list."""
    ignore_errors: Texts = ()
    """Regular expressions searched in the error's text (message and details); a match lets the flow go on."""
    on_error_goto: str | None = None
    """The step (or __start__, __end__, __exit__) at which the flow goes on after a failure."""
    retry: RetrySpec | None = None
    """Further tries after a failure."""
    timeout_seconds: Seconds | None = None
    """Time limit of one attempt, in seconds; the attempt is ended when it is over."""
    on_interrupt: OnInterrupt = OnInterrupt.FAIL
    """For a step that must not silently run twice: what to do if its worker died while it was under way."""
    output: Output | None = None
    """The queue that gets the result once the step has succeeded: its name, or more about it."""

    @property
    def key(self) -> str:
        """The key of the flow data that takes the result."""
        return self.result_key or self.name

    @property
    def options(self) -> Any:
        """The step type's own options (the value under the key named like the type)."""
        return getattr(self, self.options_key)


def is_graph(steps: Iterable[StepSpec]) -> bool:
    """Do the steps of this list run by what they need? Else they run in order."""
    return any(step.needs is not None for step in steps)
