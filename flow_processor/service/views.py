"""What the service answers about runs, locks and itself: what API, CLI and pages show, and OpenAPI describes.

Answers about flows, own code, schedules and queues stand in modules of their own (`*_views.py`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, PlainSerializer

from flow_processor.clock import to_text
from flow_processor.documents.described import Described
from flow_processor.journal import Event
from flow_processor.run import RunStatus, Trigger
from flow_processor.run_state import StepStatus
from flow_processor.wait import WaitKind

Moment = Annotated[datetime, PlainSerializer(to_text, return_type=str, when_used="json")]
"""ISO 8601, UTC, milliseconds."""


class View(Described):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class ErrorView(View):
    """An error: in history of a step or a run."""

    code: str
    """Stable code."""
    message: str
    """For people."""
    details: dict[str, Any] = {}
    """Whatever the error knows, bounded; secrets redacted."""
    step: str | None = None
    """Path of the step that failed, where there is one."""


class RunSummary(View):
    """One run, as lists show it."""

    run_id: str
    """The run's id; sorts by time."""
    flow: str
    """Path of the flow below the flows folder."""
    status: RunStatus
    """Where the run stands."""
    trigger: Trigger
    """What caused the run."""
    by: str = ""
    """Who or what, by name: the caller, the schedule's id, the webhook."""
    created_at: Moment
    """When the run was accepted."""
    started_at: Moment | None
    """When a worker began it."""
    ended_at: Moment | None
    """When it reached its terminal status."""
    duration_seconds: float | None
    """From started_at to ended_at, or to now."""
    reason: str | None
    """Why it was skipped, failed, cancelled or interrupted, or what its `exit` step said; null otherwise."""
    schedule_id: str | None = None
    """The added flow whose schedule started it."""
    slot: Moment | None = None
    """The moment of the schedule that it stands for."""
    wake_at: Moment | None = None
    """When a waiting run goes on by itself; null: only when it is told something (or it does not wait)."""
    retry_of: str | None = None
    """The run that this one tries again."""
    attempt: int = 1
    """1 for a first try; one more than that of `retry_of`."""
    parent: str | None = None
    """The run that it is part of: an element of a `flow_loop` with `spread`."""
    parent_path: str | None = None
    """The step of that run."""
    parent_index: int | None = None
    """Which element, from 1; null: the step went on, or ended, without it."""


class SentView(View):
    """Where the result of a step went, beside the flow data."""

    queue: str
    """The queue's name. While it takes nothing, the items wait in the store (`unsent` of the queue)."""
    items: int | None
    """As how many items; null where that was not written down."""


class StepView(View):
    """One attempt of one step."""

    path: str
    """Which visit of which step: `fetch`, `fetch#2`, `tickets[7]/render`."""
    attempt: int
    """1 for the first try."""
    status: StepStatus
    """Where the attempt stands."""
    started_at: Moment | None
    """When it began; null for a skipped step."""
    ended_at: Moment | None
    """When it ended."""
    duration_seconds: float | None
    """Null while it is under way, and for a skipped step."""
    error: ErrorView | None = None
    """Why it failed."""
    then: str | None = None
    """What its failure leads to: `fail`, `retry`, `ignore` or `goto`; null while a worker has yet to say."""
    kept: bool = False
    """True: it was not run here, but in the run that this one tries again."""
    sent: SentView | None = None
    """Where its `output` sent its result; null where it has none, has not succeeded, gave `[]`, or was kept."""
    result: Any = None
    """Its result, where results are asked for."""


class WaitView(View):
    """Something that a run waits for."""

    path: str
    """The step that waits, as `steps` names it. An answer or signal goes to `POST /api/runs/{id}/signal`."""
    kind: WaitKind
    """`sleep`, `moment`, `signal`, `approval`, or `children`: the runs that are part of this one."""
    since: Moment | None
    """When the step began."""
    until: Moment | None
    """When the wait ends by itself; null: never."""
    signal: str | None
    """Name of the signal that ends it. An approval is answered by its path."""
    prompt: str | None
    """What an approval asks."""
    answers: tuple[str, ...] = ()
    """What may be answered."""
    form: dict[str, Any] = {}
    """What else is asked for: name of the field → `{type, required, default, options, description}`."""
    default: Any = None
    """What holds if nobody answers until then."""


class RunEvent(View):
    """Something that happened to the run itself."""

    at: Moment
    """When."""
    event: Event
    """What kind of thing."""
    by: str | None
    """Who did it, where somebody did."""
    text: str
    """What happened, for people."""


class RunDetail(RunSummary):
    """One run with its steps and data."""

    params: dict[str, Any] | None = None
    """The values of the flow's parameters, defaults included; null for a flow that declares none."""
    flow_hash: str
    """SHA-256 of the flow's (and its sub-flows') text as it was at launch."""
    error: ErrorView | None
    """Why the run did not succeed."""
    steps: list[StepView]
    """Every attempt of every step, in the order in which they began."""
    steps_total: int
    """How many there are of those asked for; `steps` shows the first 1,000 of them unless asked for more, or for those
    after some."""
    steps_by_status: dict[StepStatus, int] = {}
    """How many attempts there are below the path asked for, by where they stand."""
    waiting: list[WaitView] = []
    """What it waits for now."""
    events: list[RunEvent] = []
    """What happened to the run itself, oldest first: the newest 200."""
    children: dict[RunStatus, int] = {}
    """How many runs are part of it, by where they stand; `GET /api/runs?parent=ID` lists them."""
    retried_by: list[str] = []
    """Ids of the runs that try this one again."""
    data: dict[str, Any] | None
    """The flow data as far as it has come; null for a run that never started."""


class RunPage(View):
    """A page of runs, newest first unless asked otherwise."""

    runs: list[RunSummary]
    """At most `limit` runs. There may be fewer, or none, although there are more: see `next_cursor`."""
    next_cursor: str | None
    """Give it as `cursor` to get the next page; null on the last one."""
    total: int | None = None
    """How many runs there are on all pages, up to 10,000; null unless asked for, and where they would have to be
    looked for one by one."""
    total_is_exact: bool | None = None
    """False: there are more than `total`."""


class LogLine(View):
    """A line of the run's own log."""

    cursor: int
    """Position in the run's log."""
    at: Moment
    """When it was written."""
    level: str
    """debug, info, warning or error."""
    step: str
    """Path of the step that wrote it; empty for the run itself."""
    message: str
    """The text."""


class LogPage(View):
    """A part of a run's log."""

    lines: list[LogLine]
    """Lines after the cursor."""
    next_cursor: int
    """Give it as `after` to go on from here."""
    complete: bool
    """True when the run has ended and nothing more will come."""


class LockView(View):
    """A lock that is held."""

    filename: str
    """The lock file below LOCK_PATH."""
    flow: str
    """The flow it guards."""
    timestamp: Moment
    """Since when."""
    run_id: str
    """The run that holds it."""


class Check(View):
    """One thing that readiness looks at."""

    name: str
    """accepting, store, data, scheduler, workers; and what is told, but does not count: autostart, webhooks, runs,
    queues, outbox."""
    ok: bool
    """False: see `message`."""
    message: str
    """What was found."""


class Readiness(View):
    """Can the daemon do its work?"""

    ready: bool
    """True when every check is ok (but those that are only told)."""
    checks: list[Check]
    """What was looked at."""
