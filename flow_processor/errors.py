"""Every error the product raises, with its stable code.

```
OctospoolError            code, message, details
├── InvalidRequest        a caller sent something wrong                      400
│   └── DeliveryTooLarge ItemTooLarge                                         413
├── Unauthorized          no token, or the wrong one                         401
├── Forbidden             the token is right, but not for this call             403
├── NotFound              FlowNotFound RunNotFound LockNotFound
│                         ScheduleNotFound SecretNotFound VersionNotFound
│                         QueueNotFound ItemNotFound                         404
├── Conflict              FlowRunning FlowAlreadyAdded RunIsLive RunHasEnded RunElsewhere
│                         RunNotInterrupted NothingFailed RunWasSkipped FlowLost
│                         NotWaiting AlreadyAnswered ScheduleFromFile
│                         ScheduleFinished ItemInWork ResultsUnsent
│                         IdempotencyConflict                                409
├── FlowChanged           the flow file is another one by now                412
├── PreconditionRequired  which version of the flow file was changed?        428
├── SpecError             a file says something wrong: a list of Problems    422
├── Unavailable           StoreUnavailable DiskFull ShuttingDown
│                         WebhookUnavailable QueueUnavailable                503 (507)
│   └── QueueFull                                                             429
├── SettingsError         the environment or config.yml stops the start
├── DataFolderInUse       another process has the data folder
└── StepError             one attempt of a step failed; recorded, never an HTTP answer
    └── StepTimeout PathRefused TemplateError JqError … (each step file has its own)
```

Codes are frozen once released. A code is looked up by machines, the message is read by people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


class OctospoolError(Exception):
    """Base of every error of the product; `code` is stable, `details` are JSON values."""

    code = "error"

    def __init__(self, message: str, *, code: str | None = None, details: Mapping[str, Any] | None = None):
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.details: dict[str, Any] = dict(details or {})

    def as_dict(self) -> dict[str, Any]:
        """The error as the API answers it: `{"error", "code", ...details}`."""
        return {"error": self.message, "code": self.code, **self.details}


class InvalidRequest(OctospoolError):
    """A caller sent something that cannot be understood."""

    code = "invalid_request"


class DeliveryTooLarge(InvalidRequest):
    """The body of a webhook's call is larger than its flow takes."""

    code = "delivery_too_large"


class ItemTooLarge(InvalidRequest):
    """The item is larger than its queue takes; it never will be taken."""

    code = "item_too_large"


class Unauthorized(OctospoolError):
    """A call without the token, or with another one."""

    code = "unauthorized"


class Forbidden(OctospoolError):
    """The token does not allow this call, or not for this flow; says which role it needs."""

    code = "forbidden"


class NotFound(OctospoolError):
    """Something named by the caller is not there."""

    code = "not_found"


class FlowNotFound(NotFound):
    """There is no flow file of that path."""

    code = "flow_not_found"


class RunNotFound(NotFound):
    """There is no run of that id (any more)."""

    code = "run_not_found"


class LockNotFound(NotFound):
    """No lock is held for that flow."""

    code = "lock_not_found"


class ScheduleNotFound(NotFound):
    """There is no schedule, and no added flow, of that id."""

    code = "schedule_not_found"


class SecretNotFound(NotFound):
    """No secret of that name is configured."""

    code = "secret_not_found"


class VersionNotFound(NotFound):
    """That version of the flow file is not kept (any more)."""

    code = "version_not_found"


class QueueNotFound(NotFound):
    """No flow listens to that queue, and nothing was ever put there."""

    code = "queue_not_found"


class ItemNotFound(NotFound):
    """The queue has no such failed item (any more)."""

    code = "item_not_found"


class Conflict(OctospoolError):
    """The call is right, but not now."""

    code = "conflict"


class FlowRunning(Conflict):
    """The flow's lock is held by another run."""

    code = "flow_running"


class FlowAlreadyAdded(Conflict):
    """The flow is in the scheduler already."""

    code = "flow_already_added"


class ScheduleFromFile(Conflict):
    """The schedule stands in a file; it is changed there, not by a call."""

    code = "schedule_from_file"


class ScheduleFinished(Conflict):
    """All moments of the schedule are past, so it cannot be switched on."""

    code = "schedule_finished"


class RunIsLive(Conflict):
    """The run has not ended, so it cannot be deleted."""

    code = "run_is_live"


class ResultsUnsent(Conflict):
    """Results of the run are still to be put on a queue, so it cannot be deleted yet."""

    code = "results_unsent"


class RunElsewhere(Conflict):
    """Another daemon on the same store has the run, and only that one can do this."""

    code = "run_elsewhere"


class RunHasEnded(Conflict):
    """The run has ended, so it cannot be cancelled, and no signal reaches it."""

    code = "run_has_ended"


class RunNotInterrupted(Conflict):
    """Only an interrupted run can be resumed."""

    code = "run_not_interrupted"


class RunInDoubt(Conflict):
    """Steps of the run are in doubt: a person has to say what came of them before it goes on, or is tried again."""

    code = "run_in_doubt"


class NothingFailed(Conflict):
    """The run came to its end, so there is nothing left for a retry unless it is told where to begin."""

    code = "nothing_failed"


class RunWasSkipped(Conflict):
    """The run never began, so it cannot be tried again; its flow can be launched."""

    code = "run_was_skipped"


class FlowLost(Conflict):
    """The flow as it was at the run's launch cannot be read any more."""

    code = "flow_lost"


class NotWaiting(Conflict):
    """The run waits for no such answer now."""

    code = "not_waiting"


class AlreadyAnswered(Conflict):
    """Somebody has answered before."""

    code = "already_answered"


class ItemInWork(Conflict):
    """One flow has given the item up, and another one still has it in work."""

    code = "item_in_work"


class IdempotencyConflict(Conflict):
    """The key came with other items before, and stands for those; nothing was put on the queue."""

    code = "idempotency_conflict"


class FlowChanged(OctospoolError):
    """The flow file is not the one that the caller has seen: somebody else changed it meanwhile."""

    code = "flow_changed"


class PreconditionRequired(OctospoolError):
    """An existing flow file is overwritten only by who says which version of it was changed."""

    code = "precondition_required"


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a file that a person wrote."""

    code: str
    """Stable: `unknown_key`, `missing_key`, `invalid_value`, `unknown_step_type`, `yaml_invalid`, …"""
    file: str
    """Path as the person knows it: `flows/sub/a.yml`, `config.yml`."""
    line: int | None
    """1-based; None where the file as a whole is meant."""
    column: int | None
    """1-based; None where the file as a whole is meant."""
    key: str
    """Where in the document: `steps[1].rest.uri`; empty for the whole document."""
    message: str
    hint: str | None = None
    """What to do next: `did you mean 'result_key'?`"""

    def __str__(self) -> str:
        place = self.file
        if self.line is not None:
            place += f":{self.line}"
            if self.column is not None:
                place += f":{self.column}"
        key = f"{self.key}: " if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}: {key}{self.message}{hint}"


class SpecError(OctospoolError):
    """A file says something wrong; holds every problem found in it, in file order."""

    code = "flow_invalid"

    def __init__(self, problems: Sequence[Problem], *, code: str | None = None):
        self.problems = tuple(problems)
        message = "; ".join(str(problem) for problem in self.problems)
        super().__init__(message, code=code, details={"problems": [asdict(p) for p in self.problems]})


class Unavailable(OctospoolError):
    """The product cannot do it now; the same call may succeed later."""

    code = "unavailable"


class StoreUnavailable(Unavailable):
    """The database cannot be read or written."""

    code = "store_unavailable"


class DiskFull(StoreUnavailable):
    """There is no space left to record the run, so it was not accepted."""

    code = "disk_full"


class ShuttingDown(Unavailable):
    """The daemon is stopping and accepts nothing new."""

    code = "shutting_down"


class WebhookUnavailable(Unavailable):
    """A webhook cannot be served until somebody mends its flow or its secret."""

    code = "webhook_unavailable"


class QueueUnavailable(Unavailable):
    """Items cannot be kept now: the spool folder cannot be written, or the broker is away."""

    code = "queue_unavailable"


class QueueFull(Unavailable):
    """As many items wait as the queue takes; nothing was put there. The same call works once some are gone."""

    code = "queue_full"


class SettingsError(OctospoolError):
    """The environment or config.yml says something that stops the start; all problems at once."""

    code = "settings_invalid"


class DataFolderInUse(OctospoolError):
    """Another process has the data folder; the message says which."""

    code = "data_folder_in_use"


ENDED_BESIDE = frozenset({"sibling_failed", "sibling_exited"})
"""Codes of the errors of steps that were ended because one beside them failed, or ended the flow by `exit`."""

ENDED_FROM_OUTSIDE = ENDED_BESIDE | {"cancelled", "flow_timeout"}
"""Codes of errors that come from outside the step. A step's own failure of such a code would be taken for an end."""


class StepError(OctospoolError):
    """One attempt of a step failed. Recorded in the journal with code, message and details."""

    code = "step_failed"

    def as_record(self) -> dict[str, Any]:
        """The error as journal and history keep it: `{"code", "message", "details"}`."""
        return {"code": self.code, "message": self.message, "details": self.details}


class StepTimeout(StepError):
    """The attempt did not end within its `timeout_seconds`."""

    code = "step_timeout"


class StepCancelled(StepError):
    """The run was cancelled while the step was under way."""

    code = "cancelled"


class PathRefused(StepError):
    """A path leaves the folder it must stay in."""

    code = "path_refused"


class DataKeyMissing(StepError):
    """`data_key` names something that is not in the flow data."""

    code = "data_key_missing"


class ExpressionError(StepError):
    """A jq expression, a template or a condition is wrong or failed."""

    code = "expression_failed"
