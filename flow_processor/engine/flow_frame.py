"""Runs a flow: its steps in order, each by its policy, every outcome in the journal.

The same code runs a flow for the first time and goes on with one that was cut off: before a step is run, the
journal is asked, and what it has of that step is taken as it is. So a run goes on after its last finished step,
in sub-flows and loops too.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from flow_processor.clock import Clock
from flow_processor.engine.attempt import Attempt, control_of
from flow_processor.engine.context import AttemptContext, earlier
from flow_processor.engine.policies import Then, decide
from flow_processor.engine.run_journal import RunJournal
from flow_processor.engine.signals import FlowFailed, Interrupted, Stopped
from flow_processor.errors import StepError
from flow_processor.expressions.jinja import Templates
from flow_processor.flow_data import child_data, fold_data
from flow_processor.run_state import StepRecord
from flow_processor.spec.step import OnInterrupt, StepSpec
from flow_processor.step import Exit, FlowOutcome, Goto, StepResult, Wait

if TYPE_CHECKING:
    from flow_processor.engine.interpreter import RunInterpreter

NAMED_IN_DOUBT = 3
"""So many steps in doubt are named; the others are counted."""

FINALLY_SECONDS = 60.0
"""Time limit of a finally_step that runs after a cancel or time limit and has none of its own."""


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
            if record is None or record.is_under_way:
                self._check(step, record)
                begun = Attempt(
                    self, step, path=path, number=attempt, deadline=deadline, key=key, record=record
                )
                record = begun.run()
            elif record.error is not None and record.then is None:
                # Ended from outside (a time limit, a lost worker): the policy has not been asked yet.
                ended = Attempt(self, step, path=path, number=attempt, deadline=deadline, key=key)
                record = ended.fail(_error_of(record), record.started_at)
            if key is not None:
                fold_data(self.data, record)
            if record.then == Then.RETRY:
                self._pause(step, record, deadline)
                attempt += 1
                continue
            if record.then == Then.FAIL:
                if self._run.reason is not None and not self._closing:
                    raise Stopped(self._run.reason)
                raise FlowFailed({**(record.error or {}), "step": path})
            return record

    def _check(self, step: StepSpec, record: StepRecord | None) -> None:
        """May an attempt begin, or go on?"""
        is_in_doubt = record is not None and record.once and step.on_interrupt is not OnInterrupt.RERUN
        if record is not None and not is_in_doubt and (record.waiting or record.parked):
            # If the run must end, what waits inside is to see that for itself: so sub-flows run their finally steps.
            self.journal.check_daemon()
            return
        self._check_run()
        if record is not None and is_in_doubt:
            raise Interrupted(record.path, self._doubt(record.path))

    def _doubt(self, path: str) -> str:
        """What the run's end says; of a loop several elements may have been under way."""
        others = [
            record.path for record in self.journal.before.under_way() if record.once and record.path != path
        ]
        named = ", ".join(f"'{one}'" for one in [path, *others][:NAMED_IN_DOUBT])
        more = len(others) + 1 - NAMED_IN_DOUBT
        return (
            f"in doubt: {named}{f' and {more} more' if more > 0 else ''}: under way when the worker died, so nobody "
            "knows whether it took effect. Look, then say so: octospool runs resume "
            f"{self._run.order.run_id} --mode rerun|skip|value (if repeating is always safe, say on_interrupt: rerun "
            "in the step)"
        )

    def _check_run(self) -> None:
        """Raises what ends the run, or its stay in this worker."""
        self.journal.check_daemon()
        reason = self.stop_reason()
        if reason is not None:
            raise Stopped(reason)

    def _pause(self, step: StepSpec, failed: StepRecord, deadline: float | None) -> None:
        """Wait before the next attempt; what has passed of the pause since the failure counts."""
        if self.journal.past(failed.path, failed.attempt + 1) is not None:
            return
        delay = decide(step, failed.attempt, _error_of(failed)).delay_seconds
        passed = self.clock.now().timestamp() - (failed.ended_at or 0.0)
        if delay > passed:
            end = self.clock.monotonic() + delay - max(0.0, passed)
            self._run.lines.wait(deadline=earlier(deadline, end), check=self._check_run)

    def stop_reason(self) -> StepError | None:
        """Why steps must end now."""
        return None if self._closing else self._run.reason

    def deadline_of(self, step: StepSpec, outer: float | None, *, since: float | None = None) -> float | None:
        """When an attempt must have ended (monotonic seconds) that begins now, or `since` (seconds since 1970)."""
        limit = step.timeout_seconds
        if limit is None and self._closing and self._run.reason is not None:
            limit, since = FINALLY_SECONDS, None
        if limit is None:
            return outer
        passed = 0.0 if since is None else max(0.0, self.clock.now().timestamp() - since)
        return earlier(self.clock.monotonic() + limit - passed, outer)

    def context(
        self,
        step: StepSpec,
        *,
        path: str,
        attempt: int,
        deadline: float | None,
        begun_wait: Wait | None,
    ) -> AttemptContext:
        """The context of an attempt."""
        return AttemptContext(
            self,
            step,
            path=path,
            attempt=attempt,
            deadline=deadline,
            # A cancel does not stop what finally steps do.
            stop=threading.Event() if self._closing else self._run.stop,
            begun_wait=begun_wait,
            lines=self._run.lines,
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
