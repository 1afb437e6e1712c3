"""Runs a flow: its steps in order, each by its policy, every outcome in the journal.

The same code runs a flow for the first time and goes on with one that was cut off: before a step is run, the
journal is asked, and what it has of that step is taken as it is. So a run goes on after its last finished step,
in sub-flows and loops too.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.attempt import Attempt, control_of
from flow_processor.engine.context import AttemptContext, Tools
from flow_processor.engine.order import RunOrder
from flow_processor.engine.policies import Then, decide
from flow_processor.engine.run_journal import RunJournal
from flow_processor.engine.signals import FlowFailed, InDoubt, Stopped
from flow_processor.errors import StepError
from flow_processor.expressions.jinja import Templates
from flow_processor.flow_data import child_data, fold_data
from flow_processor.journal import StepRecord, StepStatus
from flow_processor.run import RunStatus
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.step import OnInterrupt, StepSpec
from flow_processor.step import Exit, FlowOutcome, Goto, Secret, StepResult

FINALLY_SECONDS = 60.0
"""Time limit of a finally_step that runs after a cancel or time limit and has none of its own."""


class RunInterpreter:
    """One dispatch of one run, from its order to its terminal status."""

    def __init__(
        self,
        order: RunOrder,
        *,
        journal: RunJournal,
        tools: Tools,
        spec_of: Callable[[str], FlowSpec],
        fetch_secret: Callable[[str], Secret],
    ) -> None:
        self.order = order
        self.journal = journal
        self.tools = tools
        self.spec_of = spec_of
        self.fetch_secret = fetch_secret
        self.stop = threading.Event()
        """Set when steps must end."""
        self.wake = threading.Event()
        """Set when who waits must look up: steps must end, or the daemon is gone."""
        self.reason: StepError | None = None
        """Why: a cancel or the flow's time limit."""
        if journal.before.cancel_requested or journal.before.flow_timed_out:
            code = "cancelled" if journal.before.cancel_requested else "flow_timeout"
            self.stop_for(StepError(journal.before.stop_reason, code=code))

    def stop_for(self, reason: StepError) -> None:
        """End the steps under way and start no other; finally_step still runs."""
        if self.reason is None:
            self.reason = reason
            self.stop.set()
            self.wake.set()

    def execute(self) -> tuple[RunStatus, dict[str, Any] | None]:
        """Run to the end; the terminal status and, unless all went well, the error."""
        frame = FlowFrame(self, self.order.flow, prefix="", data=self.order.data, deadline=None)
        try:
            outcome = frame.execute()
        except Stopped as stopped:
            cancelled = stopped.reason.code == "cancelled"
            return RunStatus.CANCELLED if cancelled else RunStatus.FAILED, stopped.reason.as_record()
        except InDoubt as doubt:
            return RunStatus.INTERRUPTED, {
                "code": "interrupted",
                "message": f"step '{doubt.path}' was under way when its worker died, and whether it took effect "
                "is not known; it was not repeated. Say on_interrupt: rerun in the step if repeating is safe",
                "details": {},
                "step": doubt.path,
            }
        error = outcome.error
        if frame.exit_message is not None:
            error = {"code": "exited", "message": frame.exit_message, "details": {}}
        return RunStatus(outcome.status), error


class FlowFrame:
    """One execution of one flow file inside a run: the flow itself, a sub-flow, or one item of a loop."""

    def __init__(
        self,
        run: RunInterpreter,
        flow: str,
        *,
        prefix: str,
        data: dict[str, Any],
        deadline: float | None,
        closing: bool = False,
    ) -> None:
        """`prefix` stands before the paths of its steps; `data` is the flow data before the first of them."""
        self._run = run
        self.journal: RunJournal = run.journal
        self.clock: Clock = run.tools.clock
        self.templates: Templates = run.tools.templates
        self._spec = run.spec_of(flow)
        self._prefix = prefix
        self._deadline = deadline
        self._visits: Counter[str] = Counter()
        self._finished: set[str] = set()
        self._closing = closing
        """True while finally_step runs: then a cancel does not stop it."""
        self.data = data
        self.exit_message: str | None = None
        """What the `exit` step said that ended this flow."""

    def execute(self) -> FlowOutcome:
        """Run the steps, and finally_step whatever happened."""
        status, error, stopped = "succeeded", None, None
        try:
            status = self._run_in_order()
        except FlowFailed as failed:
            status, error = "failed", failed.error
        except Stopped as reason:
            stopped = reason
        try:
            self._finish()
        except FlowFailed as failed:
            if error is None:
                status, error = "failed", failed.error
        if stopped is not None:
            raise stopped
        return FlowOutcome(status, self.data, error)

    def _finish(self) -> None:
        """finally_step, unless it has run in its place."""
        name = self._spec.finally_step
        if name is None or name in self._finished:
            return
        self._closing = True
        if self._run.reason is not None:
            self.journal.flush(closing=True)
        self._visit(next(step for step in self._spec.steps if step.name == name))

    def _run_in_order(self) -> str:
        steps = self._spec.steps
        index = {step.name: number for number, step in enumerate(steps)}
        position, jumps = 0, 0
        while position < len(steps):
            step = steps[position]
            control = self._visit(step)
            position += 1
            if isinstance(control, Goto):
                if control.step == "__exit__":
                    return "exited"
                jumps += 1
                if jumps > self._spec.max_jumps:
                    raise FlowFailed(self._too_many_jumps(step))
                marks = {"__start__": 0, "__end__": len(steps)}
                position = marks.get(control.step, index.get(control.step, len(steps)))
            elif isinstance(control, Exit):
                self.exit_message = control.message
                return "exited"
        return "succeeded"

    def _too_many_jumps(self, step: StepSpec) -> dict[str, Any]:
        return {
            "code": "too_many_jumps",
            "message": f"the flow jumped more than {self._spec.max_jumps} times by goto (max_jumps)",
            "details": {},
            "step": self._prefix + step.name,
        }

    def _visit(self, step: StepSpec) -> Goto | Exit | None:
        """Run a step of this flow and take its outcome into the data."""
        number = self._visits[step.name] + 1
        path = self._prefix + step.name + (f"#{number}" if number > 1 else "")
        if self.journal.past(path, 1) is None:
            self._check(step, None)
        self._visits[step.name] = number
        try:
            record = self._attempts(step, path, deadline=self._deadline, key=step.key)
        except FlowFailed:
            self._finished.add(step.name)
            raise
        self._finished.add(step.name)
        return control_of(record)

    def _attempts(self, step: StepSpec, path: str, *, deadline: float | None, key: str | None) -> StepRecord:
        """Try the step until it succeeds or its policy has had enough.

        `key` takes the result; None for a step inside another, whose outcome is the outer step's business.
        """
        attempt = 1
        while True:
            record = self.journal.past(path, attempt)
            if record is None or record.status is StepStatus.RUNNING:
                self._check(step, record)
                record = Attempt(self, step, path=path, number=attempt, deadline=deadline, key=key).run()
            elif record.error is not None and record.then is None:
                # Ended from outside (a time limit, a lost worker): the policy has not been asked yet.
                ended = Attempt(self, step, path=path, number=attempt, deadline=deadline, key=key)
                record = ended.fail(_error_of(record), record.started_at)
            if key is not None:
                fold_data(self.data, record)
            if record.then == Then.RETRY:
                self._pause(step, record)
                attempt += 1
                continue
            if record.then == Then.FAIL:
                if self._run.reason is not None and not self._closing:
                    raise Stopped(self._run.reason)
                raise FlowFailed({**(record.error or {}), "step": path})
            return record

    def _check(self, step: StepSpec, record: StepRecord | None) -> None:
        """May an attempt begin?"""
        self.journal.check_daemon()
        if self._run.reason is not None and not self._closing:
            raise Stopped(self._run.reason)
        if record is not None and record.once and step.on_interrupt is not OnInterrupt.RERUN:
            raise InDoubt(record)

    def _pause(self, step: StepSpec, failed: StepRecord) -> None:
        """Wait before the next attempt; what has passed of the pause since the failure counts."""
        if self.journal.past(failed.path, failed.attempt + 1) is not None:
            return
        delay = decide(step, failed.attempt, _error_of(failed)).delay_seconds
        passed = self.clock.now().timestamp() - (failed.ended_at or 0.0)
        if delay > passed:
            self.clock.wait(self.events()[1], delay - max(0.0, passed))

    def events(self) -> tuple[threading.Event, threading.Event]:
        """`stop` and `wake` for a step; neither is set by a cancel while finally_step runs."""
        return (threading.Event(), threading.Event()) if self._closing else (self._run.stop, self._run.wake)

    def stop_reason(self) -> StepError | None:
        """Why steps must end now."""
        return None if self._closing else self._run.reason

    def deadline_of(self, step: StepSpec, outer: float | None) -> float | None:
        """When an attempt that begins now must have ended (monotonic seconds)."""
        limit = step.timeout_seconds
        if limit is None and self._closing and self._run.reason is not None:
            limit = FINALLY_SECONDS
        if limit is None:
            return outer
        own = self.clock.monotonic() + limit
        return own if outer is None else min(own, outer)

    def context(self, step: StepSpec, *, path: str, attempt: int, deadline: float | None) -> AttemptContext:
        """The context of an attempt."""
        stop, wake = self.events()
        return AttemptContext(
            self,
            step,
            path=path,
            attempt=attempt,
            deadline=deadline,
            stop=stop,
            wake=wake,
            journal=self.journal,
            tools=self._run.tools,
            fetch_secret=self._run.fetch_secret,
        )

    def run_child(
        self, path: str, *, payload: Any, loop_index: int | None, below: str, deadline: float | None
    ) -> FlowOutcome:
        """Run a sub-flow; `below` is the path of the step that calls it."""
        item = "" if loop_index is None else f"[{loop_index}]"
        frame = FlowFrame(
            self._run,
            path,
            prefix=f"{below}{item}/",
            data=child_data(self.data, flow=path, payload=payload, loop_index=loop_index),
            deadline=deadline,
            closing=self._closing,
        )
        return frame.execute()

    def run_inside(
        self, step: StepSpec, *, path: str, deadline: float | None, errors: list[dict[str, Any]]
    ) -> StepResult:
        """Run one step that stands inside another; its failure is the outer step's, and so are its `errors`."""
        record = self._attempts(step, path, deadline=deadline, key=None)
        errors.extend(record.errors)
        return StepResult(record.result, control_of(record))


def _error_of(record: StepRecord) -> StepError:
    """The recorded error as the error that it was."""
    error = record.error or {}
    return StepError(error.get("message", ""), code=error.get("code"), details=error.get("details"))
