"""What can be done with runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flow_processor.documents import to_json_value
from flow_processor.errors import InvalidRequest, StepError
from flow_processor.run import ALL_RUNS, RunFilter, RunStatus, Trigger
from flow_processor.run_state import StepStatus
from flow_processor.service.cause import Cause
from flow_processor.service.queue_parts import QueueParts
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.retries import RetryWish
from flow_processor.service.step_views import StepsWanted
from flow_processor.service.views import LogPage, RunDetail, RunPage, RunSummary
from flow_processor.service.webhook_proof import Headers
from flow_processor.service.webhooks import Received

MAX_STEPS = 1000
"""So many attempts of steps a run's answer shows unless asked for more."""


class RunVerbs(QueueParts):
    """Launch, find, follow, tell, cancel, resume, retry and delete runs."""

    def launch(
        self,
        path: str,
        *,
        data: Any = None,
        params: dict[str, Any] | None = None,
        until: str | None = None,
        trigger: Trigger = Trigger.API,
        by: str = "api",
    ) -> RunSummary:
        """Accept a run of a flow; durable when this returns. `data` becomes `__input__`; the run ends after the step
        `until`, if that is given.

        Raises FlowNotFound, SpecError, FlowRunning, InvalidRequest, ShuttingDown, StoreUnavailable.
        """
        payload, given = _json(data), None if params is None else _json(params)
        run = self.launcher.launch(path, payload=payload, params=given, until=until, cause=Cause(trigger, by))
        if run is None:
            raise InvalidRequest("nothing was started")
        return self.history.summary(run)

    def receive_webhook(self, name: str, headers: Headers, body: bytes, *, sender: str) -> Received:
        """Start the flow that has the webhook `name`, if the call proves that it may; durable when this returns.
        `sender` is the address that calls.

        Raises Unauthorized, WebhookUnavailable, DeliveryTooLarge, InvalidRequest, FlowRunning, ShuttingDown,
        StoreUnavailable.
        """
        return self.webhooks.receive(name, headers, body, sender=sender)

    def wait_for_run(self, run_id: str, seconds: float) -> RunDetail:
        """The run when it has ended, or as it is after `seconds`."""
        outcome = self.live.wait(run_id, seconds)
        if outcome is None:
            return self.run(run_id)
        return self.history.detail(*outcome, StepsWanted(limit=MAX_STEPS))

    def run(
        self,
        run_id: str,
        *,
        max_steps: int = MAX_STEPS,
        steps_after: int = 0,
        path: str = "",
        step_status: Sequence[StepStatus] = (),
        results: bool = False,
    ) -> RunDetail:
        """One run with its data and steps: those after the first `steps_after` whose path begins with `path` and which
        stand so, perhaps with their results. Raises RunNotFound."""
        wanted = StepsWanted(
            limit=max_steps, after=steps_after, path=path, status=step_status, results=results
        )
        return self.history.run(run_id, wanted)

    def run_summary(self, run_id: str) -> RunSummary:
        """One run as lists show it. Raises RunNotFound."""
        return self.history.summary(self.history.row(run_id))

    def runs(
        self,
        wanted: RunFilter = ALL_RUNS,
        *,
        limit: int = 50,
        cursor: str | None = None,
        count: bool = False,
    ) -> RunPage:
        """A page of runs; a flow may be given without its suffix. `count`: how many there are, where that is cheap.

        Raises InvalidRequest.
        """
        if wanted.flow is not None and wanted.flow_pattern is None:
            wanted = replace(wanted, flow=self.library.name_of(wanted.flow))
        return self.history.page(wanted, limit=limit, cursor=cursor, count=count)

    def run_logs(self, run_id: str, *, after: int = 0, limit: int = 1000, wait_seconds: float = 0) -> LogPage:
        """Lines of a run's own log after a cursor; waits up to `wait_seconds` for the first while it is live."""
        return self.history.logs(run_id, after=after, limit=limit, wait_seconds=wait_seconds)

    def cancel_run(self, run_id: str, *, by: str) -> RunSummary:
        """Ask for a run's end; the wish is durable when this returns. Raises RunNotFound, RunElsewhere, RunHasEnded."""
        self.history.row(run_id)
        self._check_has(run_id)
        self.cancels.cancel(run_id, by=by)
        return self.history.summary(self.history.row(run_id))

    def signal_run(self, run_id: str, name: str, *, data: Any = None, by: str) -> RunSummary:
        """Send a run a signal, or the answer to an approval (`name`: its path or step); durable on return.

        Raises RunNotFound, RunElsewhere, RunHasEnded, NotWaiting, AlreadyAnswered, InvalidRequest.
        """
        self._check_has(run_id)
        self.told.tell(run_id, name=name, data=_json(data), by=by)
        return self.history.summary(self.history.row(run_id))

    def resume_run(
        self,
        run_id: str,
        *,
        mode: ResumeMode | None = None,
        step: str | None = None,
        value: Any = None,
        has_value: bool | None = None,
        by: str,
    ) -> RunSummary:
        """Let an interrupted run go on; `mode` says what is to become of the steps that are in doubt.

        `has_value` tells whether `value` was given, for callers that cannot be trusted to mean a None.

        Raises RunNotFound, RunElsewhere, RunNotInterrupted, InvalidRequest, FlowLost, FlowRunning, ShuttingDown.
        """
        takes_value = mode is ResumeMode.VALUE
        if has_value is None:
            has_value = takes_value or value is not None
        if has_value != takes_value:
            raise InvalidRequest("mode value and 'value' belong together: the one needs the other")
        self._check_has(run_id)
        self.resumes.resume(run_id, mode=mode, step=step, value=_json(value), by=by)
        return self.history.summary(self.history.row(run_id))

    def retry_run(
        self, run_id: str, wish: RetryWish, *, trigger: Trigger = Trigger.API, by: str
    ) -> RunSummary:
        """Try a run again from where it failed; the new run, which is durable.

        Raises RunNotFound, RunIsLive, RunWasSkipped, RunInDoubt, NothingFailed, InvalidRequest, FlowLost,
        FlowNotFound, SpecError, FlowRunning, ShuttingDown, Conflict `result_lost`.
        """
        params = None if wish.params is None else _json(wish.params)
        said = None if wish.answer is None else replace(wish.answer, value=_json(wish.answer.value))
        wish = replace(wish, data=_json(wish.data), params=params, answer=said)
        return self.history.summary(self.retries.retry(run_id, wish, Cause(trigger, by)))

    def _check_has(self, run_id: str) -> None:
        """Raises RunElsewhere where another daemon has the run."""
        if self.daemons is not None and (row := self.store.runs.get(run_id)) is not None:
            self.daemons.check_has(row)

    def delete_run(self, run_id: str) -> None:
        """Delete a run that has ended. Raises RunNotFound, RunIsLive, ResultsUnsent."""
        self.history.delete(run_id)

    def delete_runs(self, *, older_than_days: float | None, status: Sequence[RunStatus]) -> int:
        """Delete ended runs; how many went. Raises InvalidRequest if neither filter is given."""
        return self.history.delete_many(older_than_days=older_than_days, status=status)


def _json(value: Any) -> Any:
    """What a caller gave, as flow data takes it. Raises InvalidRequest."""
    try:
        return to_json_value(value)
    except StepError as error:
        raise InvalidRequest(f"the data cannot be taken: {error.message}") from error
