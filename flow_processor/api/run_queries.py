"""What callers say about runs: which ones, how much of them, and what is to become of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from flow_processor.api.handlers import Body, OptionalBody, Parameters
from flow_processor.api.waiting import MAX_WAIT_SECONDS
from flow_processor.run import LOWER_BOUNDS, RunStatus, Trigger
from flow_processor.run_state import StepStatus
from flow_processor.service.resumes import ResumeMode

MAX_FOLLOW_SECONDS = 30
"""The longest time that a call for log lines may wait for the next one."""


def _moment(value: Any) -> datetime:
    """ISO 8601; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        hint = "; a '+' in an address must be written as %2B" if " " in str(value) else ""
        raise ValueError(f"must be ISO 8601, such as 2026-11-21T07:40:06Z{hint}") from None
    try:
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("must be in the years 1 to 9999 in UTC") from None


def above_the_lower(value: Any, info: ValidationInfo) -> Any:
    """The upper bound; a lower one that is not less lets no run through, and an empty list would hide the mistake."""
    name = LOWER_BOUNDS[str(info.field_name)]
    lower = info.data.get(name)
    if lower is not None and lower >= value:
        raise ValueError(f"must be above '{name}', or no run fits")
    return value


def comma_texts(value: Any) -> Any:
    """The texts of a comma list."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _comma_list(of: type[RunStatus] | type[Trigger] | type[StepStatus]) -> WithJsonSchema:
    known = "|".join(of)
    return WithJsonSchema({"type": "string", "pattern": f"^({known})(,({known}))*$"})


Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
Until = Annotated[Moment, AfterValidator(above_the_lower)]
Statuses = Annotated[tuple[RunStatus, ...], BeforeValidator(comma_texts), _comma_list(RunStatus)]
StepStatuses = Annotated[tuple[StepStatus, ...], BeforeValidator(comma_texts), _comma_list(StepStatus)]
Triggers = Annotated[tuple[Trigger, ...], BeforeValidator(comma_texts), _comma_list(Trigger)]


By = Annotated[str, Field(min_length=1, max_length=100)]
"""Who says so: a person's name, or a program's."""


class OldRunsQuery(Parameters):
    """Which runs to delete; at least one of the two."""

    older_than_days: Annotated[float, Field(ge=0, le=36_500)] | None = None
    """Only runs that ended longer ago than so many days."""
    status: Statuses = ()
    """Only runs in one of these statuses, separated by commas."""


class RunPath(Parameters):
    """Which run."""

    run_id: str
    """The run's id."""


class RunQuery(Parameters):
    """How much of the run."""

    max_steps: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """How many attempts of steps to show."""
    steps_after: Annotated[int, Field(ge=0)] = 0
    """Leave out so many of them, in the order in which they began: with 1000, 2000, … a long run is read in pages."""
    path: Annotated[str, Field(max_length=1000)] = ""
    """Only attempts whose path begins so: `loop[3]/` for the third element of a loop, `both[left]/` for a branch."""
    step_status: StepStatuses = ()
    """Only attempts that stand so, separated by commas: with `failed` the failed ones of ten thousand."""
    results: bool = False
    """Show the attempts' results too."""
    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] = 0
    """Wait up to so many seconds for the end of the run."""


class CancelQuery(Parameters):
    """Who cancels."""

    by: Literal["api", "cli"] = "api"
    """For the history: a program, or a person with `octospool`."""


class LogsQuery(Parameters):
    """Which part of the log."""

    after: Annotated[int, Field(ge=0)] = 0
    """Only lines after this cursor: `next_cursor` of the answer before."""
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """How many lines at most."""
    wait: Annotated[float, Field(ge=0, le=MAX_FOLLOW_SECONDS)] = 0
    """Wait up to so many seconds for a line if there is none yet."""


class SignalBody(Body):
    """What a run is told."""

    name: Annotated[str, Field(min_length=1, max_length=500)]
    """The signal's name; for an approval its path, or its step's name where only one such step waits."""
    data: Any = None
    """Any JSON value. For an approval the answer: a text, or `{answer, form: {field: value}}`."""
    by: By = "api"
    """Who says so, for the history."""


class ResumeBody(OptionalBody):
    """How an interrupted run goes on."""

    mode: Annotated[ResumeMode, Field(strict=False)] | None = None
    """What is to become of the steps in doubt: `rerun` them, `skip` them, or take `value` as the result. Only
    needed if there are any."""
    step: str | None = None
    """Path or name of the step that is meant; default: every step in doubt."""
    value: Any = None
    """With `mode: value`: the step's result."""
    by: By = "api"
    """Who says so, for the history."""


class RetryBody(OptionalBody):
    """How a run is tried again."""

    from_step: Annotated[str | None, Field(alias="from")] = None
    """The step of the flow to begin at; default: the first that is not done."""
    use_current_flow: bool = False
    """True: with the flow file as it is now; else as it was at launch."""
    data: Any = None
    """The new run's `__input__`; left out: that of the old run."""
    params: dict[str, Any] | None = None
    """All values of the new run's parameters; left out: those of the old run."""
    until: str | None = None
    """The step of the flow to end after; left out: at its end."""
    mode: Annotated[ResumeMode, Field(strict=False)] | None = None
    """What is to become of steps that failed without anybody knowing whether they took effect: `rerun` them, `skip`
    them, or take `value` as the result. Only needed if there are any (409 `run_in_doubt`)."""
    step: str | None = None
    """Path or name of the step that `mode` is for; default: every such step. Others fail as they did."""
    value: Any = None
    """With `mode: value`: the step's result."""
    trigger: Literal["api", "cli"] = "api"
    """Who tries again, for the history: a program, or a person with `octospool`."""
    by: By = "api"
    """Who says so, for the history."""
