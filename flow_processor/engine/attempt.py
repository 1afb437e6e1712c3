"""One attempt of one step: started in the journal, run, its outcome in the journal."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from flow_processor.engine.outputs import to_send, where_sent
from flow_processor.engine.policies import Decision, Then, decide
from flow_processor.engine.row_text import storable
from flow_processor.engine.signals import FlowFailed, Orphaned, Stopped
from flow_processor.errors import ENDED_FROM_OUTSIDE, StepError
from flow_processor.expressions.when import holds
from flow_processor.factory import step_type_of
from flow_processor.journal import Event
from flow_processor.run_state import StepRecord, StepStatus, is_part
from flow_processor.spec.step import OnInterrupt, StepSpec
from flow_processor.step import Exit, Goto, StepContext, StepResult
from flow_processor.wait import Wait

if TYPE_CHECKING:
    from flow_processor.engine.context import AttemptContext
    from flow_processor.engine.step_list import StepList


class Attempt:
    """Runs a step once; whatever happens comes back as the record that the journal has of it."""

    def __init__(
        self,
        steps: StepList,
        step: StepSpec,
        *,
        path: str,
        number: int,
        data: dict[str, Any],
        deadline: float | None,
        key: str | None,
        record: StepRecord | None = None,
    ) -> None:
        """`data` is what the step sees; `record` is what an earlier worker left of it."""
        self._steps = steps
        self._journal = steps.journal
        self._clock = steps.clock
        self._step = step
        self._kind = step_type_of(step)
        self._path = path
        self._number = number
        self._data = data
        self._key = key
        self._record = record
        self._goes_on = record is not None and (record.waiting is not None or record.parked)
        """It was left to wait: it goes on, and does not begin anew."""
        since = record.started_at if record is not None and self._goes_on else None
        self._deadline = steps.deadline_of(step, deadline, since=since)
        self._once = not self._kind.repeatable(step.options)
        self._is_final = self._kind.is_final(step.options)
        self._errors: list[dict[str, Any]] = []
        self._context: AttemptContext | None = None

    def run(self) -> StepRecord:
        """Do it. Only the signals that end a whole run pass through."""
        record = self._record
        started_at = self._clock.now().timestamp()
        if record is not None and record.started_at is not None and self._goes_on:
            started_at = record.started_at
        try:
            if self._goes_on:
                self._announce_again(started_at)
            elif not self._begins():
                return self._skipped(started_at)
            result, value = self._call()
            return self._succeeded(result, value, started_at)
        except StepError as error:
            return self.fail(error, started_at)
        except FlowFailed as inside:  # a step that stands inside this one
            cause = inside.error
            failure = StepError(cause["message"], code=cause["code"], details=cause["details"])
            return self.fail(failure, started_at)
        except Stopped as stopped:  # what stands inside this step was ended; it ends with that
            self.fail(stopped.reason, started_at)
            raise
        except MemoryError:
            message = "the worker reached its memory limit (WORKER_MEMORY_MB, in MiB)"
            return self.fail(StepError(message, code="out_of_memory"), started_at)
        except Exception as error:  # noqa: BLE001  a defect in a step must not take the run down without a record
            self._journal.log(self._path, "error", traceback.format_exc())
            crash = StepError(f"{type(error).__name__}: {error}", code="step_crashed")
            return self.fail(crash, started_at)

    def _begins(self) -> bool:
        """Say that it begins, and ask `when`; False if that does not hold."""
        if self._was_lost():
            text = "begun again: its worker died while it was under way"
            self._journal.log(self._path, "warning", text)
        asks_when = self._number == 1 and self._step.when is not None
        self._announce(once=self._once and not asks_when)
        if asks_when and not holds(self._step.when, self._data, self._steps.templates):
            return False
        if asks_when and self._once:
            self._announce(once=True)
        return True

    def _was_lost(self) -> bool:
        """Did it die with its worker? A step around others did not: it goes on at the one that was under way."""
        before, path = self._journal.before, self._path
        if self._record is None or not before.losses[path] + before.crashes[path]:
            return False
        return not any(other.path.startswith((path + "/", path + "[")) for other in before.steps)

    def _was_begun(self) -> bool:
        """May it have been done, by an earlier worker or in the run that this one tries again?

        Not if a person has said that it is to be made all the same; then it is not `once` any more.
        """
        if self._record is None:
            return self._number == 1 and self._path in self._journal.before.begun
        return self._record.once and not self._goes_on

    def _announce_again(self, started_at: float) -> None:
        """The daemon must watch over a step that goes on around a wait; over the wait its `waiting` row watches."""
        if self._record is not None and self._record.waiting is None:
            self._journal.append(self._path, self._number, Event.STARTED, self._time_limit(), at=started_at)
            self._journal.flush()

    def _time_limit(self) -> dict[str, Any]:
        if self._deadline is None:
            return {}
        return {"timeout_seconds": max(0.0, round(self._deadline - self._clock.monotonic(), 3))}

    def _announce(self, *, once: bool) -> None:
        """The row that says it begins. A step that may run only once waits until that is durable."""
        data = self._time_limit()
        if once:
            data["once"] = True
            if self._is_final:
                data["final"] = True
            if self._step.on_interrupt is OnInterrupt.RERUN:
                data["rerun"] = True
            if self._key is not None:  # a person may have to give its result
                data["key"] = self._key
            if self._step.output is not None:
                data["output"] = where_sent(self._step.output)
        self._journal.append(self._path, self._number, Event.STARTED, data)
        if not once:
            self._journal.flush()
            return
        try:
            self._journal.barrier()
        except Orphaned:
            # It has not begun, so what was said is taken back: the last STARTED row of an attempt counts.
            self._journal.append(self._path, self._number, Event.STARTED)
            raise

    def _call(self) -> tuple[StepResult, Any]:
        waiting = None if self._record is None or not self._goes_on else self._record.waiting
        context = self._steps.context(
            self._step,
            path=self._path,
            attempt=self._number,
            data=self._data,
            deadline=self._deadline,
            begun_wait=None if waiting is None else Wait.from_record(waiting),
            begun_before=self._was_begun(),
        )
        self._context = context
        self._errors = context.errors
        context.check_allowed()
        as_contract: StepContext = context
        result = self._kind.run(self._step.options, as_contract)
        value = result.value
        if self._step.jq_expression is not None:
            value = context.jq(self._step.jq_expression, value)
        return result, value

    def _succeeded(self, result: StepResult, value: Any, started_at: float) -> StepRecord:
        # Redacted once, for the journal and for the steps to come: a resumed run must see the same data.
        clean = self._journal.redacted({"result": value, "errors": self._errors})
        control = _as_record(result.control)
        data = to_send(where_sent(self._step.output), clean["result"], self._steps.max_item_bytes)
        data |= {"result": clean["result"], "started_at": started_at}
        if self._key is not None:
            data["key"] = self._key
        if control is not None:
            data["control"] = control
        if clean["errors"]:
            data["errors"] = clean["errors"]
        if self._context is not None and self._context.signal is not None:
            data["signal"] = self._context.signal
        if self._is_final:
            data["final"] = True
            self._journal.keep_done(self._path)
        self._journal.append(self._path, self._number, Event.SUCCEEDED, data)
        if self._once or (self._context is not None and self._context.has_waited):
            self._journal.flush()
        return StepRecord(
            path=self._path,
            attempt=self._number,
            status=StepStatus.SUCCEEDED,
            started_at=started_at,
            result=clean["result"],
            control=control,
            key=self._key,
            errors=clean["errors"],
        )

    def _skipped(self, started_at: float) -> StepRecord:
        self._journal.append(self._path, self._number, Event.SKIPPED, {"started_at": started_at})
        return StepRecord(self._path, self._number, StepStatus.SKIPPED, started_at=started_at)

    def fail(self, error: StepError, started_at: float | None) -> StepRecord:
        """Record a failed attempt together with what the step's policy makes of it."""
        error = self._with_outcome(self._why_ended(error))
        had_begun = self._journal.has_final_inside(self._path, self._number)
        decision = decide(self._step, self._number, error, had_begun=had_begun)
        record = storable(self._journal.redacted(error.as_record()))
        errors = storable(self._journal.redacted({"errors": self._errors}))["errors"]
        if decision.then is not Then.RETRY:
            errors = [*errors, self._entry(record, decision)]
        control = None if decision.target is None else {"goto": decision.target}
        data: dict[str, Any] = {
            "error": record,
            "started_at": started_at,
            "then": decision.then.value,
            "errors": errors,
        }
        if control is not None:
            data["control"] = control
        if error.details.get("outcome") == "unknown":  # a person may have to give its result
            if self._key is not None:
                data["key"] = self._key
            if self._step.output is not None:
                data["output"] = where_sent(self._step.output)
        if self._context is not None and self._context.signal is not None:
            data["signal"] = self._context.signal
        self._journal.append(self._path, self._number, Event.FAILED, data)
        level = "error" if decision.then is Then.FAIL else "warning"
        text = f"attempt {self._number} failed ({decision.then.value}): {record['code']}: {record['message']}"
        self._journal.log(self._path, level, text)
        self._journal.flush()
        return StepRecord(
            path=self._path,
            attempt=self._number,
            status=StepStatus.IGNORED if decision.then is Then.IGNORE else StepStatus.FAILED,
            started_at=started_at,
            ended_at=self._clock.now().timestamp(),
            error=record,
            control=control,
            then=decision.then.value,
            errors=errors,
        )

    def _why_ended(self, error: StepError) -> StepError:
        """`error`; of an attempt that was ended, why it was: what the step makes of that is no failure of its own."""
        reason = self._steps.stop_reason()
        if reason is None:
            return error
        if error.code not in ENDED_FROM_OUTSIDE:
            self._journal.log(self._path, "warning", f"failed as it was ended: {error.code}: {error.message}")
        return StepError(reason.message, code=reason.code, details={**error.details, **reason.details})

    def _with_outcome(self, error: StepError) -> StepError:
        """`error`; where something inside must not be begun anew, it says that a part was done."""
        if is_part({"details": error.details}):
            self._journal.keep_done(self._path)
        elif "run_id" not in error.details and self._journal.has_final_inside(self._path, self._number):
            # Of elements that are runs of their own a retry of the run takes over what went well.
            return StepError(error.message, code=error.code, details={**error.details, "outcome": "partial"})
        return error

    def _entry(self, record: dict[str, Any], decision: Decision) -> dict[str, Any]:
        """What `__errors__` gets."""
        entry = {
            "step": self._steps.handler + self._step.name,
            "code": record["code"],
            "error": record["message"],
            "details": record["details"],
        }
        return entry if decision.pattern is None else {**entry, "ignored": decision.pattern}


def _as_record(control: Goto | Exit | None) -> dict[str, Any] | None:
    if isinstance(control, Goto):
        return {"goto": control.step}
    if isinstance(control, Exit):
        return {"exit": control.message}
    return None


def control_of(record: StepRecord) -> Goto | Exit | None:
    """The control flow that a record stands for."""
    if record.control is None:
        return None
    if "goto" in record.control:
        return Goto(record.control["goto"])
    return Exit(record.control["exit"])
