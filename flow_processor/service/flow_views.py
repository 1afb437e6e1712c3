"""What the service answers about flows."""

from __future__ import annotations

from typing import Any

from flow_processor.service.views import Moment, View


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
