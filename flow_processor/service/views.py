"""What the service answers: the shapes that API, CLI and pages show, and OpenAPI describes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, PlainSerializer

from flow_processor.clock import to_text
from flow_processor.documents.described import Described
from flow_processor.journal import Event
from flow_processor.own_code.registration import Kind
from flow_processor.run import RunStatus, Trigger
from flow_processor.run_state import StepStatus
from flow_processor.step import WaitKind

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


class AddedFlow(View):
    """A flow in the scheduler."""

    flow_id: str
    """The id to remove it by."""
    path: str
    """The flow file below the flows folder."""
    origin: str
    """`flow`: it was added by a call, with the schedule of its file. `autostart`: config.yml names it."""
    cron: str | None
    """The cron rule in force."""
    every_seconds: float | None
    """The interval in force, in seconds."""
    timezone: str
    """The zone in which cron is read."""
    params: dict[str, Any] = {}
    """What its runs are given for the flow's parameters; those left out have their defaults."""
    next_run: Moment | None
    """The next slot; null if there is none, or the flow file is invalid."""
    last_run: Moment | None
    """The last slot that was handled."""
    last_run_id: str | None
    """The run that the last started slot became."""
    running: bool
    """Is a run of this flow live now?"""
    problem: str | None
    """Why it does not run, or which last good version it runs on; null if all is well."""


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


class FlowFileView(View):
    """A flow file."""

    path: str
    """Path below the flows folder."""
    valid: bool
    """False: it cannot be launched (or the last good version is in force)."""
    name: str | None
    """The flow's title."""
    description: str | None
    """What the flow is for."""
    cron: str | None
    """Its own cron rule."""
    every_seconds: float | None
    """Its own interval, in seconds."""
    problems: list[dict[str, Any]]
    """Everything wrong with it: `{code, file, line, column, key, message, hint}`."""
    last_good_in_force: bool
    """True: the file is broken now, and runs use the version from before."""
    webhook: str | None = None
    """Name of the webhook that starts it: `POST /hooks/NAME`."""
    queue: str | None = None
    """The queue whose items start it."""
    files: str | None = None
    """Pattern of the files that start it, below the data folder."""


class FlowFileDetail(FlowFileView):
    """A flow file, and what a launch of it takes."""

    params: dict[str, Any] | None
    """JSON Schema (2020-12) of the `params` of a launch, of the version in force; null if there has never been a good
    one."""
    text: str | None = None
    """What the file says; null where it cannot be read."""
    etag: str | None = None
    """What tells this text from others: send it as `If-Match` with a change of it."""


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


class FunctionView(View):
    """A function of own code, as flows can use it."""

    kind: Kind
    """`caller`: for the python step; `step`: a step type; `filter`: a template filter."""
    name: str
    """What flows call it."""
    file: str
    """Where it stands, below the data folder: `callers/mail.py`."""
    description: str | None
    """Its docstring."""
    arguments: dict[str, Any]
    """JSON Schema of its arguments, or of the step type's options; empty for a filter."""
    secrets: list[str]
    """Parameters that take a secret."""


class CodeFileView(View):
    """One file of own code."""

    file: str
    """Below the data folder: `callers/mail.py`."""
    valid: bool
    """True: what it registers can be used."""
    functions: list[str]
    """Names of what it registers."""
    problem: str | None
    """Why nothing of it can be used."""
    line: int | None
    """The line of the file that is to blame, from 1, where there is one."""
    traceback: str | None
    """What Python said, in several lines."""


class SwitchView(View):
    """Something that config.yml can switch off."""

    enabled: bool
    """False: flows that use it are refused."""


class OwnCodeView(View):
    """Own code, and what may be run on this machine at all."""

    own_code: SwitchView
    """The python step, and step types and template filters of one's own."""
    shell: SwitchView
    """The shell step."""
    docker: SwitchView
    """The docker step."""
    functions: list[FunctionView]
    """What flows can use."""
    files: list[CodeFileView]
    """Every file, good or broken."""
