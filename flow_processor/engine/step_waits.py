"""How an attempt of a step waits: written down where people are to see it, and ended by all that may end it."""

from __future__ import annotations

from collections.abc import Callable

from flow_processor.clock import Clock
from flow_processor.engine.lines import PARK_SECONDS, Lines
from flow_processor.engine.run_journal import RunJournal
from flow_processor.errors import StepError, StepTimeout
from flow_processor.journal import Event
from flow_processor.run_state import Signal
from flow_processor.spec.step import StepSpec
from flow_processor.wait import Wait, WaitKind


class StepWaits:
    """The waits of one attempt of one step."""

    def __init__(
        self,
        step: StepSpec,
        *,
        path: str,
        attempt: int,
        deadline: float | None,
        begun: Wait | None,
        lines: Lines,
        journal: RunJournal,
        clock: Clock,
        stop_reason: Callable[[], StepError | None],
    ) -> None:
        """`begun` is the wait that had begun when the worker before left; `deadline` is in monotonic seconds."""
        self._step = step
        self._path = path
        self._attempt = attempt
        self._deadline = deadline
        self._begun = begun
        self._lines = lines
        self._journal = journal
        self._clock = clock
        self._stop_reason = stop_reason
        self.signal: int | None = None
        """seq of the signal that ended the wait."""
        self.has_waited = begun is not None
        """A row says that it waits, and people look at it."""

    def wait_for(self, wait: Wait) -> Signal | None:
        """Wait; the signal that ended it, or None."""
        if self._begun is None and not self._is_short(wait):
            wait = self._record(wait)
        clock = self._clock
        own_end = None
        if wait.until is not None:
            own_end = clock.monotonic() + wait.until - clock.now().timestamp()
        # A length of time is not that of a clock that is set meanwhile; all else means what the clock says.
        is_length = wait.kind is WaitKind.SLEEP
        taken = self._lines.wait(
            until=None if is_length else wait.until,
            deadline=earlier(self._deadline, own_end) if is_length else self._deadline,
            signal=wait.signal,
            check=self._check,
        )
        if taken is not None:
            self.signal = taken.seq
        elif self._deadline is not None and earlier(self._deadline, own_end) == self._deadline:
            raise timeout_error(self._step)
        return taken

    def _is_short(self, wait: Wait) -> bool:
        """Not worth a row: after a crash it may as well begin anew."""
        if wait.signal is not None or wait.until is None:
            return False
        return wait.until < self._clock.now().timestamp() + PARK_SECONDS

    def _record(self, wait: Wait) -> Wait:
        """Write the wait down; given back as it is written, without the values of secrets."""
        self.has_waited = True
        record = self._journal.redacted(wait.as_record())
        self._journal.append(self._path, self._attempt, Event.WAITING, record)
        self._journal.flush()
        return Wait.from_record(record)

    def _check(self) -> None:
        """May the attempt go on waiting?"""
        self._journal.check_daemon()
        reason = self._stop_reason()
        if reason is not None:
            raise reason

    def pause(self, seconds: float, *, since: float | None) -> None:
        """Wait until so many seconds have passed."""
        clock = self._clock
        passed = 0.0 if since is None else max(0.0, clock.now().timestamp() - since)
        if seconds > passed:
            end = clock.monotonic() + seconds - passed
            self._lines.wait(deadline=earlier(self._deadline, end), check=self._check)
            self.check_time()

    def check_time(self) -> None:
        """Raises StepTimeout once the attempt's time is up."""
        if self._deadline is not None and self._clock.monotonic() >= self._deadline:
            raise timeout_error(self._step)


def earlier(one: float | None, other: float | None) -> float | None:
    """The earlier of two moments, of which None never comes."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def timeout_error(step: StepSpec) -> StepTimeout:
    """The error of an attempt whose time is up."""
    limit = "" if step.timeout_seconds is None else f" of {step.timeout_seconds:g} s"
    return StepTimeout(f"step '{step.name}' did not end within its time limit{limit}")
