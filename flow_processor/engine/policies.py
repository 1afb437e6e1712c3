"""What follows from a failed attempt: pure functions of (step, attempt, error), so that a replay of the journal
comes to the same decision."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from flow_processor.errors import ENDED_FROM_OUTSIDE, StepError
from flow_processor.expressions import patterns
from flow_processor.factory import step_type_of
from flow_processor.spec.step import RetrySpec, StepSpec


class Then(StrEnum):
    """What the flow does after a failed attempt."""

    RETRY = "retry"
    IGNORE = "ignore"
    GOTO = "goto"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Decision:
    """The policy's answer to one failed attempt."""

    then: Then
    delay_seconds: float = 0.0
    """With `retry`: the pause before the next attempt."""
    pattern: str | None = None
    """With `ignore`: the pattern of ignore_errors that matched."""
    target: str | None = None
    """With `goto`: the step to go on at."""


def error_text(error: StepError) -> str:
    """What patterns are searched in: message and details."""
    details = f" {json.dumps(error.details, ensure_ascii=False)}" if error.details else ""
    return f"{error.message}{details}"


def decide(step: StepSpec, attempt: int, error: StepError, *, had_begun: bool = False) -> Decision:
    """Retry while the step has tries left, then ignore, then go elsewhere, else fail.

    `had_begun`: something inside was done that no other attempt may begin anew.
    """
    if error.code in ENDED_FROM_OUTSIDE:
        return Decision(Then.FAIL)
    text = error_text(error)
    retry = _retry_of(step)
    # A step that may have done its work although it failed, or has done a part of it, must not silently do it twice;
    # the same holds for the steps around it, whose error this becomes.
    was_done = had_begun or error.details.get("outcome") in ("unknown", "partial")
    if retry is not None and attempt <= retry.attempts and not was_done and _is_retried(retry, text):
        return Decision(Then.RETRY, delay_seconds=retry_delay(retry, attempt))
    pattern = patterns.first_match(step.ignore_errors, text)
    if pattern is not None:
        return Decision(Then.IGNORE, pattern=pattern)
    if step.on_error_goto is not None:
        return Decision(Then.GOTO, target=step.on_error_goto)
    return Decision(Then.FAIL)


def _retry_of(step: StepSpec) -> RetrySpec | None:
    if not step_type_of(step).retried(step.options):
        return None
    retry: RetrySpec | None = step.retry or getattr(step.options, "retry", None)
    return retry


def _is_retried(retry: RetrySpec, text: str) -> bool:
    return retry.on is None or patterns.first_match(retry.on, text) is not None


def retry_delay(retry: RetrySpec, attempt: int) -> float:
    """Seconds between the failed `attempt` (1 is the first) and the next."""
    return min(retry.delay_seconds * retry.backoff ** (attempt - 1), retry.max_delay_seconds)
