"""What a flow file may say."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from flow_processor.spec.base import Seconds, Spec
from flow_processor.spec.files import FilesSpec
from flow_processor.spec.on import OnSpec
from flow_processor.spec.params import Params
from flow_processor.spec.queue import QueueSpec
from flow_processor.spec.retention import RetentionSpec
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.spec.step import StepSpec
from flow_processor.spec.webhook import WebhookSpec

GOTO_MARKS = ("__start__", "__end__", "__exit__")
"""Targets of goto and on_error_goto that are no steps: first step, after the last step, end as `exited`."""

HANDLERS = ("on_success", "on_failure", "on_cancel", "finally")
"""Keys of the lists of steps that run when the flow has ended; the journal's paths of their steps begin with them."""


class OnConflict(StrEnum):
    """What happens to a launch while the flow's lock is taken."""

    REJECT = "reject"
    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"
    PARALLEL = "parallel"


class ConcurrencySpec(Spec):
    """How many runs of the flow at once, and what happens to one too many."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 1
    """Runs of this flow at once."""
    on_conflict: OnConflict = OnConflict.REJECT
    """`reject`: an API call is refused, a schedule's slot is recorded as skipped. `skip`: recorded as a skipped
    run. `queue`: waits for its turn. `replace`: the run under way is cancelled first. `parallel`: no lock. Items of
    queues and files wait for their turn, whatever stands here, unless it is `parallel`."""


class FlowSpec(Spec):
    """One flow: steps over shared data, what follows on their end, and perhaps a schedule."""

    model_config = ConfigDict(populate_by_name=False)

    name: str | None = None
    """The flow's title, for people; default: its path."""
    description: str | None = None
    """What the flow is for."""
    params: Params = Field(default_factory=dict)
    """What may be given at a launch, by name: `day: {type: date, required: true}`, or short `day: date`. The values
    stand under `params` in the flow data."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """What steps of this flow say where they do not say it themselves: for `all`, and for each type."""
    cron: str | None = None
    """Short for `schedule: {cron: …}`."""
    every_seconds: Annotated[float, Field(ge=1, le=366 * 86_400)] | None = None
    """Short for `schedule: {every_seconds: …}`."""
    schedule: ScheduleSpec | None = None
    """When the flow runs by itself, once it is added or in `autostart`."""
    on: OnSpec | None = None
    """What else starts the flow: a webhook, the items of a queue, files."""
    timeout_seconds: Seconds | None = None
    """Time limit of a run, in seconds; default: FLOW_TIMEOUT_SECONDS."""
    concurrency: ConcurrencySpec = ConcurrencySpec()
    """Runs of this flow at once; default: one."""
    retention: RetentionSpec = RetentionSpec()
    """How long runs of this flow are kept; default: as config.yml says."""
    max_jumps: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """How many times a run may jump by goto or on_error_goto."""
    finally_step: str | None = None
    """Name of a step that also runs after a failure, a cancel or a time limit. In a run without these it
    runs in its place; if it has not come by then, at the end."""
    max_parallel: Annotated[int, Field(ge=1, le=256)] = 8
    """How many steps of a list with `needs` are under way at once."""
    fail_fast: bool = True
    """In a list with `needs`: does a step that fails for good end those beside it? With `false` they go on, and
    only what needs the failed step is not started."""
    steps: Annotated[tuple[StepSpec, ...], Field(min_length=1)]
    """The steps. They run in order, or by `needs` where any of them has that."""
    on_success: tuple[StepSpec, ...] = ()
    """Steps to run when the flow has succeeded or exited. If they fail, the flow has failed."""
    on_failure: tuple[StepSpec, ...] = ()
    """Steps to run when the flow has failed, at its time limit too."""
    on_cancel: tuple[StepSpec, ...] = ()
    """Steps to run when the flow was cancelled."""
    finally_: Annotated[tuple[StepSpec, ...], Field(alias="finally")] = ()
    """Steps to run last, however the flow ended. If they fail, a flow that went well has failed."""

    @model_validator(mode="before")
    @classmethod
    def _short_schedule(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and raw.get("schedule") is not None:
            for key in ("cron", "every_seconds"):
                if raw.get(key) is not None:
                    raise ValueError(f"give '{key}' either at the top level or under 'schedule', not both")
        return raw

    @property
    def handlers(self) -> dict[str, tuple[StepSpec, ...]]:
        """The lists of steps that follow on the flow's end, by the names of HANDLERS."""
        lists = (self.on_success, self.on_failure, self.on_cancel, self.finally_)
        return dict(zip(HANDLERS, lists, strict=True))

    @property
    def schedule_rule(self) -> ScheduleSpec | None:
        """The schedule, wherever it stands."""
        if self.schedule is not None:
            return self.schedule
        if self.cron is None and self.every_seconds is None:
            return None
        return ScheduleSpec(cron=self.cron, every_seconds=self.every_seconds)

    @property
    def webhook(self) -> WebhookSpec | None:
        """The call from outside that starts the flow."""
        return None if self.on is None else self.on.webhook

    @property
    def queue(self) -> QueueSpec | None:
        """The queue whose items start the flow."""
        return None if self.on is None else self.on.queue

    @property
    def files(self) -> FilesSpec | None:
        """The files that start the flow."""
        return None if self.on is None else self.on.files
