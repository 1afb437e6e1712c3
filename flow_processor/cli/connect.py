"""Who does a command's work: the daemon that has the data folder, or this process by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from flow_processor import logs
from flow_processor.cli.daemon import Daemon
from flow_processor.cli.options import start_log
from flow_processor.cli.output import say
from flow_processor.errors import DataFolderInUse
from flow_processor.locks import DataFolderLock
from flow_processor.run import RunFilter, Trigger
from flow_processor.run_state import StepStatus
from flow_processor.service import Service

if TYPE_CHECKING:
    from flow_processor.cli.daemon_queues import QueueCalls
    from flow_processor.cli.daemon_schedules import ScheduleCalls
    from flow_processor.service.edit_views import FlowFileEdited, FlowVersionDetail, FlowVersions
    from flow_processor.service.flow_edits import Expected
    from flow_processor.service.flow_stats import FlowStats
    from flow_processor.service.flow_views import AddedFlow, FlowFileDetail, FlowFileView
    from flow_processor.service.queue_verbs import QueueVerbs
    from flow_processor.service.resumes import ResumeMode
    from flow_processor.service.retries import RetryWish
    from flow_processor.service.schedules import Schedules
    from flow_processor.service.views import LockView, LogPage, RunDetail, RunPage, RunSummary
    from flow_processor.settings import Settings

TURN_SECONDS = 0.3
"""How often a waiting `octospool run` looks whether its turn has come, in seconds."""
START_SECONDS = 5.0
"""How long a daemon that has the data folder may take until it answers, in seconds."""


class Spooler(Protocol):
    """The verbs that commands need; Service has them, and Daemon has them over HTTP."""

    def launch(
        self,
        path: str,
        *,
        data: Any = None,
        params: dict[str, Any] | None = None,
        until: str | None = None,
        trigger: Trigger = Trigger.CLI,
        by: str = "cli",
    ) -> RunSummary:
        """Start a run."""

    def wait_for_run(self, run_id: str, seconds: float) -> RunDetail:
        """The run when it has ended, or as it is after `seconds`."""

    def run(
        self,
        run_id: str,
        *,
        max_steps: int = 1000,
        steps_after: int = 0,
        path: str = "",
        step_status: Sequence[StepStatus] = (),
        results: bool = False,
    ) -> RunDetail:
        """The run as it is, with its steps: those after the first `steps_after` whose path begins with `path`."""

    def runs(self, wanted: RunFilter, *, limit: int = 50, cursor: str | None = None) -> RunPage:
        """A page of runs."""

    def run_logs(self, run_id: str, *, after: int = 0, limit: int = 1000, wait_seconds: float = 0) -> LogPage:
        """Lines of the run's log after a cursor."""

    def cancel_run(self, run_id: str, *, by: str) -> RunSummary:
        """Ask for the run's end."""

    def signal_run(self, run_id: str, name: str, *, data: Any = None, by: str) -> RunSummary:
        """Send a signal or an answer."""

    def resume_run(
        self,
        run_id: str,
        *,
        mode: ResumeMode | None = None,
        step: str | None = None,
        value: Any = None,
        by: str,
    ) -> RunSummary:
        """Let an interrupted run go on."""

    def retry_run(
        self, run_id: str, wish: RetryWish, *, trigger: Trigger = Trigger.CLI, by: str
    ) -> RunSummary:
        """Try a run again."""

    def locks(self) -> list[LockView]:
        """The locks that are held."""

    def remove_lock(self, name: str) -> LockView:
        """Remove one lock."""

    def remove_locks(self) -> list[LockView]:
        """Remove all locks."""

    def flow_files(self) -> list[FlowFileView]:
        """Every flow file."""

    def flow_file(self, path: str) -> FlowFileDetail:
        """One flow file, and what a launch of it takes."""

    def flow_stats(
        self, path: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> FlowStats:
        """How a flow has been doing."""

    def write_flow_file(
        self, path: str, content: bytes, expected: Expected, *, by: str, dry: bool = False
    ) -> FlowFileEdited:
        """Write a flow file if it is right."""

    def restore_flow_file(self, path: str, version: int, expected: Expected, *, by: str) -> FlowFileEdited:
        """Write an earlier version again."""

    def flow_versions(self, path: str) -> FlowVersions:
        """The kept versions of a flow file."""

    def flow_version(self, path: str, version: int) -> FlowVersionDetail:
        """One of them, with its text."""

    def added_flows(self) -> list[AddedFlow]:
        """The flows in the scheduler."""

    @property
    def schedules(self) -> ScheduleCalls | Schedules:
        """The verbs of schedules."""

    @property
    def queues(self) -> QueueCalls | QueueVerbs:
        """The verbs of queues."""


def daemon_of(settings: Settings) -> Daemon | None:
    """The daemon that has the data folder; None if none has, or an `octospool run`.

    Raises Unavailable if there is one that does not answer.
    """
    holder = DataFolderLock(settings.data_path).holder()
    if holder is None or holder.get("kind") != "serve":
        return None
    daemon = Daemon(str(holder["url"]), settings.api_token, certificate=settings.tls_cert)
    daemon.wait_until_up(START_SECONDS)
    return daemon


def way_to_a_daemon(settings: Settings) -> str:
    """What a person does, where no daemon has the folder, so that one has it and runs can be told something."""
    holder = DataFolderLock(settings.data_path).holder()
    start = "start a daemon (octospool serve)"
    if holder is None:
        return start
    # Ctrl-C would cancel the run that the process shows.
    pid = holder.get("pid", "unknown")
    return f"end the `octospool run` that has the folder (kill -9 {pid}; its run stays as it is), {start}"


@contextmanager
def reading(settings: Settings) -> Iterator[Spooler]:
    """The daemon, or the store read by a service that is not started: no scheduler, no workers."""
    spooler = daemon_of(settings) or Service(settings)
    try:
        yield spooler
    finally:
        _leave(spooler)


@contextmanager
def looking_ahead(settings: Settings) -> Iterator[Spooler]:
    """As `reading`, with what the scheduler would do next."""
    with reading(settings) as spooler:
        if isinstance(spooler, Service):
            spooler.scheduler.load()  # what the store remembers; nothing is fired
        yield spooler


@contextmanager
def changing(settings: Settings) -> Iterator[Spooler]:
    """The daemon, or a service started here that has the data folder. Raises DataFolderInUse."""
    # Results of runs that wait for their queue are no news to somebody who changes something else.
    with running(settings, wait=False, gave_up=lambda: False, tells_unsent=False) as spooler:
        if spooler is not None:  # only who waits may give up
            yield spooler


@contextmanager
def running(
    settings: Settings, *, wait: bool, gave_up: Callable[[], bool], tells_unsent: bool = True
) -> Iterator[Spooler | None]:
    """The daemon, or a service started here that has the data folder for as long as the block lasts.

    While another `octospool run` has the folder this waits, until `gave_up()` is true (then None), or raises
    DataFolderInUse at once if `wait` is False. With `tells_unsent` it says at the end which queues took no results.
    """
    told = False
    spooler: Daemon | Service | None = None
    while spooler is None and not gave_up():
        try:
            spooler = daemon_of(settings) or _started(settings)
        except DataFolderInUse as busy:
            if not wait:
                raise
            if not told:
                say(f"{busy.message}; waiting for its turn (--no-wait leaves at once)")
                told = True
            threading.Event().wait(TURN_SECONDS)
    try:
        yield spooler
    finally:
        _leave(spooler, tells_unsent=tells_unsent)


def _started(settings: Settings) -> Service:
    """A service that has the data folder; its log goes where the daemon's goes, the terminal is for steps."""
    service = Service(settings)
    service.start(schedule=False)
    start_log(settings, to_stderr=False)
    return service


def _leave(spooler: Daemon | Service | None, *, tells_unsent: bool = False) -> None:
    if isinstance(spooler, Daemon):
        spooler.close()
    elif spooler is not None:
        spooler.stop()
        logs.release()
        for said in spooler.publisher.problems() if tells_unsent else ():
            say(f"{said} (kept for the next start)")
