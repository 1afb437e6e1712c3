"""The worker's end of a run's journal: what happened before, and a way to add to it."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.frames import Frame
from flow_processor.engine.order import RunOrder
from flow_processor.errors import StepError
from flow_processor.journal import (
    DISPATCH_SPAN,
    Event,
    RunState,
    StepRecord,
    WireLog,
    WireRow,
    fold,
    from_wire,
)
from flow_processor.secrets.redaction import Redactor

ACK_EVERY_ROWS = 256
"""After so many rows the daemon is asked to say what it has committed, so that a worker need not keep all."""

MAX_UNCOMMITTED_ROWS = 4096
"""With so many rows on their way the worker waits: a store that cannot be written must not fill its memory."""

MAX_RESULT_BYTES = 64 * 1024 * 1024
"""A larger result of one step is refused: it could not be kept."""

MAX_RESULT_DEPTH = 150
"""A result nested deeper is refused: who reads it later (JSON parsers, jq) could not. Flow data that comes from
outside may have 100 levels, and each sub-flow adds one."""

LOG_FLUSH_SECONDS = 0.2
"""How long a log line may wait for the next row to travel with."""

MAX_LOG_CHARACTERS = 16_384
"""A longer log line is cut, and says so."""


class Orphaned(BaseException):  # an order to leave, which no step may catch as its own failure
    """The daemon is gone: the worker ends here, and hands over what it has not delivered."""


class RunJournal:
    """Thread safe: parallel items of a loop write into one journal."""

    def __init__(
        self, order: RunOrder, send: Callable[[Frame], None], *, redactor: Redactor, clock: Clock
    ) -> None:
        self.run_id = order.run_id
        self.before: RunState = fold(from_wire(row) for row in order.rows)
        """What the journal said when this worker got the run."""
        self._past: dict[tuple[str, int], StepRecord] = {
            (record.path, record.attempt): record for record in self.before.steps
        }
        self._send = send
        self._redactor = redactor
        self._clock = clock
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._next_seq = order.dispatch * DISPATCH_SPAN + 1
        self._pending: list[WireRow] = []
        self._pending_logs: list[WireLog] = []
        self._uncommitted: deque[WireRow] = deque()
        self._uncommitted_logs: deque[WireLog] = deque()
        self._committed = 0
        self._since_ack = 0
        self._flushed_at = clock.monotonic()
        self.orphaned = False
        """The daemon is gone."""

    def past(self, path: str, attempt: int) -> StepRecord | None:
        """What an earlier worker recorded of this attempt."""
        return self._past.get((path, attempt))

    def redacted(self, data: dict[str, Any]) -> dict[str, Any]:
        """The data without the values of secrets: what a step gives back is kept, and used, like this."""
        clean: dict[str, Any] = self._redactor.value(data)
        return clean

    def append(self, path: str, attempt: int, event: Event, data: dict[str, Any] | None = None) -> None:
        """Add a row; it travels with the next `flush`. Raises StepError for a result that is too large."""
        text = self._as_text(data) if data else None
        with self._changed:
            row: WireRow = (self._take_seq(), path, attempt, event.value, self._now(), text)
            self._pending.append(row)
            self._uncommitted.append(row)

    def log(self, path: str, level: str, message: str) -> None:
        """Add a line to the run's own log; it travels soon."""
        # Half of a surrogate pair, which a server's text may hold, cannot be stored.
        message = self._redactor.text(message).encode("utf-8", "replace").decode()
        if len(message) > MAX_LOG_CHARACTERS:
            message = f"{message[:MAX_LOG_CHARACTERS]}… (cut: {len(message)} characters)"
        with self._changed:
            line: WireLog = (self._take_seq(), self._now(), level, path, message)
            self._pending_logs.append(line)
            self._uncommitted_logs.append(line)
        if self._clock.monotonic() - self._flushed_at > LOG_FLUSH_SECONDS:
            self.flush()

    def flush(self, *, ack: bool = False, ended: dict[str, Any] | None = None, closing: bool = False) -> None:
        """Send what is pending. `ack` asks the daemon to say when it is committed; `closing` says that the run
        was stopped and only finally steps are left."""
        with self._sending:  # one at a time, so that rows arrive in the order of their numbers
            with self._changed:
                rows, self._pending = self._pending, []
                logs, self._pending_logs = self._pending_logs, []
                self._since_ack += len(rows) + len(logs)
                ack = ack or self._since_ack >= ACK_EVERY_ROWS
                if ack:
                    self._since_ack = 0
                must_wait = len(self._uncommitted) > MAX_UNCOMMITTED_ROWS
            frame: Frame = {"rows": rows, "logs": logs, "ack": ack}
            if ended is not None:
                frame["ended"] = ended
            if closing:
                frame["closing"] = True
            self._flushed_at = self._clock.monotonic()
            try:
                self._send(frame)
            except OSError:
                self.lose_daemon()
        if must_wait:
            self._wait(lambda: len(self._uncommitted) <= MAX_UNCOMMITTED_ROWS // 2)

    def barrier(self) -> None:
        """Return when every row so far is durable. Raises Orphaned when nobody is there to make it so."""
        with self._changed:
            last = self._next_seq - 1
        self.flush(ack=True)
        self._wait(lambda: self._committed >= last)

    def _wait(self, is_done: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: is_done() or self.orphaned)
            if not is_done():
                raise Orphaned

    def committed(self, seq: int) -> None:
        """The daemon says: everything up to `seq` is durable."""
        with self._changed:
            self._committed = max(self._committed, seq)
            while self._uncommitted and self._uncommitted[0][0] <= seq:
                self._uncommitted.popleft()
            while self._uncommitted_logs and self._uncommitted_logs[0][0] <= seq:
                self._uncommitted_logs.popleft()
            self._changed.notify_all()

    def lose_daemon(self) -> None:
        """The pipe has ended: whoever waits for a commit is told."""
        with self._changed:
            self.orphaned = True
            self._changed.notify_all()

    def check_daemon(self) -> None:
        """Raises Orphaned once the daemon is gone; called before each new step."""
        if self.orphaned:
            raise Orphaned

    def uncommitted(self) -> tuple[Sequence[WireRow], Sequence[WireLog]]:
        """What no daemon has confirmed; to be handed over."""
        with self._changed:
            return list(self._uncommitted), list(self._uncommitted_logs)

    def _take_seq(self) -> int:
        seq = self._next_seq
        self._next_seq += 1
        return seq

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _as_text(self, data: dict[str, Any]) -> str:
        try:
            text = json.dumps(data, separators=(",", ":"))
        except RecursionError:
            raise _too_deep() from None
        # A text with few brackets cannot be deep, so most results need no second look.
        if text.count("[") + text.count("{") > MAX_RESULT_DEPTH and _is_deeper(data, MAX_RESULT_DEPTH):
            raise _too_deep()
        if "\\ud" in text:
            _refuse_surrogates(data)
        if len(text) > MAX_RESULT_BYTES:
            raise StepError(
                f"the result is too large: {len(text)} bytes, the limit is {MAX_RESULT_BYTES}; "
                "write it to a file, or let jq_expression pick what is needed",
                code="result_too_large",
            )
        return text


def _refuse_surrogates(data: dict[str, Any]) -> None:
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        message = "the result holds half of a surrogate pair, which is no text (a wrong charset?)"
        raise StepError(message, code="not_json") from None


def _too_deep() -> StepError:
    return StepError(f"the result is nested deeper than {MAX_RESULT_DEPTH} levels", code="result_too_deep")


def _is_deeper(value: Any, limit: int) -> bool:
    """Is it nested deeper than `limit` levels? Level by level, so that depth cannot exhaust the stack."""
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
