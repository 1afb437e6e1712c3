"""The attempts of one step: until it succeeds, or its policy has had enough.

Before an attempt is made the journal is asked, and what it has of it is taken as it is. So a run that was cut off
goes on after its last finished step, in sub-flows, loops and blocks too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow_processor.engine.attempt import Attempt
from flow_processor.engine.doubts import in_doubt
from flow_processor.engine.policies import Then, decide
from flow_processor.engine.signals import FlowFailed, Stopped
from flow_processor.engine.step_waits import earlier
from flow_processor.errors import ENDED_BESIDE, ENDED_FROM_OUTSIDE, StepError
from flow_processor.run_state import StepRecord
from flow_processor.spec.step import StepSpec

if TYPE_CHECKING:
    from flow_processor.engine.step_list import StepList


class Attempts:
    """The attempts of one visit of one step."""

    def __init__(
        self,
        steps: StepList,
        step: StepSpec,
        *,
        path: str,
        data: dict[str, Any],
        deadline: float | None,
        key: str | None,
    ) -> None:
        """`data` is what the step sees. `key` takes the result; None for a step that stands inside another
        (a case of `switch`), whose outcome is the outer step's business."""
        self._steps = steps
        self._step = step
        self._path = path
        self._data = data
        self._deadline = deadline
        self._key = key
        self._journal = steps.journal

    def run(self) -> StepRecord:
        """Try the step; its last attempt. Raises FlowFailed where the policy says so, and Stopped."""
        attempt = 1
        while True:
            record = self._journal.past(self._path, attempt)
            if record is None or record.is_under_way:
                self.check(record)
                record = self._attempt(attempt, record).run()
            elif record.error is not None and record.then is None:
                # Ended from outside (a time limit, a lost worker): the policy has not been asked yet.
                record = self._attempt(attempt, None).fail(_error_of(record), record.started_at)
            if self._key is not None:
                self._steps.take(self._step, record)
            if record.then == Then.RETRY:
                self._pause(record)
                attempt += 1
                continue
            if record.then == Then.FAIL:
                raise self._failure(record)
            return record

    def _attempt(self, number: int, record: StepRecord | None) -> Attempt:
        return Attempt(
            self._steps,
            self._step,
            path=self._path,
            number=number,
            data=self._data,
            deadline=self._deadline,
            key=self._key,
            record=record,
        )

    def _failure(self, record: StepRecord) -> FlowFailed | Stopped:
        error = _error_of(record)
        reason = self._steps.stop_reason()
        # By what the record says, so that the next worker, where nobody may have ended the steps yet, says the same.
        if error.code in ENDED_BESIDE:
            return Stopped(error)
        if reason is not None and error.code in ENDED_FROM_OUTSIDE:
            return Stopped(reason)
        told = record.errors[-1] if record.errors else None
        return FlowFailed({**(record.error or {}), "step": self._path}, told=told)

    def check(self, record: StepRecord | None) -> None:
        """May an attempt begin, or go on? `record` is what an earlier worker left of it."""
        is_in_doubt = record is not None and record.once and not record.rerun
        if record is not None and not is_in_doubt and (record.waiting or record.parked):
            # If the run must end, what waits inside is to see that for itself: so sub-flows run their finally steps.
            self._journal.check_daemon()
            return
        self._steps.check_run()
        if record is not None and is_in_doubt:
            # The run was to end, or this would have been asked before; but what closes it is run even so.
            raise in_doubt([record], run_id=self._journal.run_id)

    def _pause(self, failed: StepRecord) -> None:
        """Wait before the next attempt; what has passed of the pause since the failure counts."""
        if self._journal.past(failed.path, failed.attempt + 1) is not None:
            return
        steps = self._steps
        delay = decide(self._step, failed.attempt, _error_of(failed)).delay_seconds
        passed = steps.clock.now().timestamp() - (failed.ended_at or 0.0)
        if delay > passed:
            end = steps.clock.monotonic() + delay - max(0.0, passed)
            steps.lines.wait(deadline=earlier(self._deadline, end), check=steps.check_run)


def _error_of(record: StepRecord) -> StepError:
    """The recorded error as the error that it was."""
    error = record.error or {}
    return StepError(error.get("message", ""), code=error.get("code"), details=error.get("details"))
