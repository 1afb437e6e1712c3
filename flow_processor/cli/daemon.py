"""The running daemon, over its HTTP API, with the verbs of the service that commands need."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flow_processor import errors
from flow_processor.cli.daemon_files import FlowFileCalls
from flow_processor.cli.daemon_link import DaemonLink
from flow_processor.cli.daemon_queues import QueueCalls
from flow_processor.cli.daemon_schedules import ScheduleCalls
from flow_processor.clock import to_text
from flow_processor.run import RunFilter, Trigger
from flow_processor.run_state import StepStatus
from flow_processor.service.flow_stats import FlowStats
from flow_processor.service.flow_views import AddedFlow, FlowFileDetail, FlowFileView
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retries import RetryWish
from flow_processor.service.views import LockView, LogPage, RunDetail, RunPage, RunSummary


class Daemon(FlowFileCalls):
    """Speaks to one daemon. Raises the errors that the service would raise, rebuilt from the answer."""

    def __init__(self, url: str, token: str, *, certificate: Path | None = None):
        super().__init__(DaemonLink(url, token, certificate=certificate))

    @property
    def url(self) -> str:
        """Where the daemon is."""
        return self._link.url

    @property
    def schedules(self) -> ScheduleCalls:
        """The verbs of schedules."""
        return ScheduleCalls(self._link)

    @property
    def queues(self) -> QueueCalls:
        """The verbs of queues."""
        return QueueCalls(self._link)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    def wait_until_up(self, seconds: float) -> None:
        """Return when the daemon answers (it may be starting); Unavailable if it does not in `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._link.call("GET", "/healthz")
                return
            except errors.Unavailable:
                if time.monotonic() >= deadline:
                    raise
                threading.Event().wait(0.1)

    def launch(
        self,
        path: str,
        *,
        data: Any = None,
        params: dict[str, Any] | None = None,
        until: str | None = None,
        trigger: Trigger = Trigger.CLI,
        by: str = "cli",  # the daemon tells this by the trigger
    ) -> RunSummary:
        """Start a run. Never sent twice: whether it was accepted is not known after a broken connection."""
        body = {"path": path, "data": data, "trigger": trigger.value}
        if params:
            body["params"] = params
        if until is not None:
            body["until"] = until
        return RunSummary.model_validate(self._link.call("POST", "/api/flows/launch", json=body))

    def wait_for_run(self, run_id: str, seconds: float) -> RunDetail:
        """The run when it has ended, or as it is after `seconds`."""
        query = {"wait": seconds}
        answer = self._link.call("GET", f"/api/runs/{quote(run_id)}", query=query, extra_seconds=seconds)
        return RunDetail.model_validate(answer)

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
        query = {
            "max_steps": max_steps,
            "steps_after": steps_after,
            "path": path,
            "step_status": [one.value for one in step_status],
            "results": "true" if results else "false",
        }
        answer = self._link.call("GET", f"/api/runs/{quote(run_id, safe='')}", query=query)
        return RunDetail.model_validate(answer)

    def runs(self, wanted: RunFilter, *, limit: int = 50, cursor: str | None = None) -> RunPage:
        """A page of runs."""
        given = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
        oldest_first = given.pop("oldest_first")
        query = {name: _query_value(value) for name, value in given.items()}
        query |= {"order": "oldest" if oldest_first else "newest", "limit": limit, "cursor": cursor}
        return RunPage.model_validate(self._link.call("GET", "/api/runs", query=query))

    def run_logs(self, run_id: str, *, after: int = 0, limit: int = 1000, wait_seconds: float = 0) -> LogPage:
        """Lines of the run's log after a cursor; waits until there are some or the run has ended."""
        query = {"after": after, "limit": limit, "wait": wait_seconds}
        path = f"/api/runs/{quote(run_id, safe='')}/logs"
        return LogPage.model_validate(self._link.call("GET", path, query=query, extra_seconds=wait_seconds))

    def cancel_run(self, run_id: str, *, by: str = "cli") -> RunSummary:
        """Ask for the run's end."""
        path = f"/api/runs/{quote(run_id, safe='')}/cancel"
        return RunSummary.model_validate(self._link.call("POST", path, query={"by": by}))

    def signal_run(self, run_id: str, name: str, *, data: Any = None, by: str) -> RunSummary:
        """Send a signal or an answer."""
        body = {"name": name, "data": data, "by": by}
        return self._post_to_run(run_id, "signal", body)

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
        body = {"mode": None if mode is None else mode.value, "step": step, "by": by}
        if mode is ResumeMode.VALUE:
            body["value"] = value
        return self._post_to_run(run_id, "resume", body)

    def retry_run(
        self, run_id: str, wish: RetryWish, *, trigger: Trigger = Trigger.CLI, by: str
    ) -> RunSummary:
        """Try a run again. Never sent twice, like `launch`."""
        body: dict[str, Any] = {
            "from": wish.from_step,
            "use_current_flow": wish.use_current_flow,
            "trigger": trigger.value,
            "by": by,
        }
        if wish.has_data:
            body["data"] = wish.data
        if wish.params is not None:
            body["params"] = wish.params
        if wish.until is not None:
            body["until"] = wish.until
        if wish.answer is not None:
            body |= {"mode": wish.answer.mode.value, "step": wish.answer.step}
            if wish.answer.mode is ResumeMode.VALUE:
                body["value"] = wish.answer.value
        return self._post_to_run(run_id, "retry", body)

    def _post_to_run(self, run_id: str, verb: str, body: dict[str, Any]) -> RunSummary:
        path = f"/api/runs/{quote(run_id, safe='')}/{verb}"
        return RunSummary.model_validate(self._link.call("POST", path, json=body))

    def locks(self) -> list[LockView]:
        """The locks that are held."""
        return [LockView.model_validate(lock) for lock in self._link.call("GET", "/api/locks")["locks"]]

    def remove_lock(self, name: str) -> LockView:
        """Remove one lock; its run goes on."""
        return LockView.model_validate(self._link.call("DELETE", f"/api/locks/{quote(name, safe='')}"))

    def remove_locks(self) -> list[LockView]:
        """Remove all locks; their runs go on."""
        return [LockView.model_validate(lock) for lock in self._link.call("DELETE", "/api/locks")["locks"]]

    def flow_files(self) -> list[FlowFileView]:
        """Every flow file, valid or not."""
        return [
            FlowFileView.model_validate(file) for file in self._link.call("GET", "/api/flows/files")["files"]
        ]

    def flow_file(self, path: str) -> FlowFileDetail:
        """One flow file, and what a launch of it takes."""
        return FlowFileDetail.model_validate(self._link.call("GET", f"/api/flows/files/{quote(path)}"))

    def flow_stats(
        self, path: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> FlowStats:
        """How a flow has been doing."""
        query = {"since": _query_value(since), "until": _query_value(until)}
        return FlowStats.model_validate(
            self._link.call("GET", f"/api/flows/files/{quote(path)}/stats", query=query)
        )

    def added_flows(self) -> list[AddedFlow]:
        """The flows in the scheduler."""
        return [AddedFlow.model_validate(flow) for flow in self._link.call("GET", "/api/flows")["flows"]]


def _query_value(value: Any) -> Any:
    """A part of a RunFilter as the address has it; None leaves it out."""
    if isinstance(value, datetime):
        return to_text(value)
    if isinstance(value, Mapping):
        return json.dumps(dict(value)) if value else None
    return [str(one) for one in value] if isinstance(value, tuple) else value
