"""The worker's end of a run's journal: what happened before, and a way to add to it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.frames import Frame
from flow_processor.engine.order import RunOrder
from flow_processor.engine.row_text import as_text
from flow_processor.engine.signals import Interrupted, Orphaned
from flow_processor.journal import DISPATCH_SPAN, Event, WireLog, WireRow, from_wire
from flow_processor.result_files import RESULT_FILE_BYTES, ResultFiles, ResultLost
from flow_processor.run_state import RunState, StepRecord, StepStatus, fold, is_inside
from flow_processor.secrets.redaction import Redactor

ACK_EVERY_ROWS = 256
"""After so many rows the daemon is asked to say what it has committed, so that a worker need not keep all."""

MAX_UNCOMMITTED_ROWS = 4096
"""With so many rows on their way the worker waits: a store that cannot be written must not fill its memory."""

LOG_FLUSH_SECONDS = 0.2
"""How long a log line may wait for the next row to travel with; then it travels alone."""

MAX_LOG_CHARACTERS = 16_384
"""A longer log line is cut, and says so."""

MAX_RUN_LOG_BYTES = 10 * 1024 * 1024
"""A run's own log is cut there, and says so in its last line."""


class RunJournal:
    """Thread safe: parallel items of a loop write into one journal."""

    def __init__(
        self,
        order: RunOrder,
        send: Callable[[Frame], None],
        *,
        redactor: Redactor,
        clock: Clock,
        results: ResultFiles,
    ) -> None:
        self.run_id = order.run_id
        self.before: RunState = fold(from_wire(row) for row in order.rows)
        """What the journal said when this worker got the run."""
        self._past: dict[tuple[str, int], StepRecord] = {
            (record.path, record.attempt): record
            for record in self.before.steps
            if record.status is not StepStatus.NOT_STARTED
        }
        self._final = {record.path for record in self.before.steps if record.final}
        """Paths of steps that no `retry` around them may begin anew."""
        self._send = send
        self._redactor = redactor
        self._clock = clock
        self._results = results
        self._log_room = MAX_RUN_LOG_BYTES - order.log_bytes
        """How many bytes the run's own log may still take; none: it is cut, and says so."""
        self._changed = threading.Condition()
        self._sending = threading.RLock()
        self._next_seq = order.dispatch * DISPATCH_SPAN + 1
        self._pending: list[WireRow] = []
        self._pending_logs: list[WireLog] = []
        self._uncommitted: deque[WireRow] = deque()
        self._uncommitted_logs: deque[WireLog] = deque()
        self._committed = 0
        self._since_ack = 0
        self._flushed_at = clock.monotonic()
        self._waits_for_timer = False
        """Will a line that nothing follows be sent?"""
        self.orphaned = False
        """The daemon is gone."""

    def past(self, path: str, attempt: int) -> StepRecord | None:
        """What an earlier worker recorded of this attempt. Raises Interrupted where its result is lost."""
        record = self._past.get((path, attempt))
        if record is not None and record.result_file is not None and record.result is None:
            try:
                record.result = self._results.load(self.run_id, record.result_file)
            except ResultLost as lost:
                raise Interrupted(path, lost.message, code=lost.code) from lost
        return record

    def keep_done(self, path: str) -> None:
        """No `retry` of a step around this one may begin it anew."""
        self._final.add(path)

    @property
    def has_final(self) -> bool:
        """Would something be done twice if the run were begun anew?"""
        return bool(self._final)

    def has_final_inside(self, path: str, attempt: int) -> bool:
        """Was something done inside that attempt that its `retry` must not begin anew?"""
        return any(is_inside(one, path, attempt) for one in list(self._final))

    def redacted(self, data: dict[str, Any]) -> dict[str, Any]:
        """The data without the values of secrets: what a step gives back is kept, and used, like this."""
        clean: dict[str, Any] = self._redactor.value(data)
        return clean

    def append(
        self,
        path: str,
        attempt: int,
        event: Event,
        data: dict[str, Any] | None = None,
        *,
        at: float | None = None,
    ) -> None:
        """Add a row; it travels with the next `flush`. `at` (seconds since 1970): now, unless it says otherwise.

        Raises StepError for a result that is too large.
        """
        text = as_text(data) if data else None
        if text is not None and data is not None and len(text) > RESULT_FILE_BYTES and "result" in data:
            text = self._with_result_file(data, text)
        with self._changed:
            moment = self._now() if at is None else at
            row: WireRow = (self._take_seq(), path, attempt, event.value, moment, text)
            self._pending.append(row)
            self._uncommitted.append(row)

    def _with_result_file(self, data: dict[str, Any], text: str) -> str:
        """The row's data with the name of a file in place of its result; `text` where that cannot be written."""
        result = json.dumps(data["result"], separators=(",", ":"))
        if len(result) <= RESULT_FILE_BYTES:
            return text
        try:
            name = self._results.keep(self.run_id, result)
        except OSError:
            # Whatever is wrong with the disk: the store knows how to wait for a better time, a row at a time.
            return text
        others = {key: value for key, value in data.items() if key != "result"}
        return as_text({**others, "result_file": name, "bytes": len(result)})

    def log(self, path: str, level: str, message: str) -> None:
        """Add a line to the run's own log; it travels soon. Nothing is added once the log is full."""
        # Half of a surrogate pair, which a server's text may hold, cannot be stored.
        message = self._redactor.text(message).encode("utf-8", "replace").decode()
        if len(message) > MAX_LOG_CHARACTERS:
            message = f"{message[:MAX_LOG_CHARACTERS]}… (cut: {len(message)} characters)"
        with self._changed:
            if self._log_room <= 0:
                return
            self._log_room -= len(message.encode())
            if self._log_room <= 0:
                level, path = "warning", ""
                message = f"the log ends here: a run's log is cut at {MAX_RUN_LOG_BYTES >> 20} MiB"
            line: WireLog = (self._take_seq(), self._now(), level, path, message)
            self._pending_logs.append(line)
            self._uncommitted_logs.append(line)
            is_due = self._clock.monotonic() - self._flushed_at > LOG_FLUSH_SECONDS
            needs_timer = not is_due and not self._waits_for_timer
            self._waits_for_timer = self._waits_for_timer or needs_timer
        if is_due:
            self.flush()
        elif needs_timer:
            timer = threading.Timer(LOG_FLUSH_SECONDS, self._flush_lines)
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:  # no memory for a thread
                self._flush_lines()

    def _flush_lines(self) -> None:
        """Send lines that no row has taken along; a program may print nothing more for an hour."""
        with self._changed:
            self._waits_for_timer = False
        with contextlib.suppress(Orphaned, MemoryError):  # whoever runs the steps will see the same
            self.flush(only_pending=True)

    def let_go(self, event: Event, data: dict[str, Any]) -> None:
        """The worker's last word about the run: the row `ended` or `parked`, and in the same frame that it lets go.

        Only so does the daemon take it. A line of the log may be sent at any moment by its timer, and would take the
        row along.
        """
        with self._sending:
            self.append("", 0, event, data)
            self.flush(ack=True, last_word={event.value: data})

    def flush(
        self,
        *,
        ack: bool = False,
        closing: bool = False,
        only_pending: bool = False,
        last_word: Frame | None = None,
    ) -> None:
        """Send what is pending; with `only_pending` nothing where there is nothing.

        `ack` asks the daemon to say when it is committed; `closing` says that the run was stopped and only finally
        steps are left. `last_word` is for `let_go`.
        """
        with self._sending:  # one at a time, so that rows arrive in the order of their numbers
            with self._changed:
                if only_pending and not self._pending and not self._pending_logs:
                    return
                rows, self._pending = self._pending, []
                logs, self._pending_logs = self._pending_logs, []
                self._since_ack += len(rows) + len(logs)
                ack = ack or self._since_ack >= ACK_EVERY_ROWS
                if ack:
                    self._since_ack = 0
                must_wait = len(self._uncommitted) > MAX_UNCOMMITTED_ROWS
            frame: Frame = {"rows": rows, "logs": logs, "ack": ack, **(last_word or {})}
            if closing:
                frame["closing"] = True
            self._flushed_at = self._clock.monotonic()
            try:
                self._send(frame)
            except OSError:
                self.lose_daemon()
            except BaseException:  # no memory for the frame: then another one must not take its place
                with self._changed:
                    self._pending[:0], self._pending_logs[:0] = rows, logs
                raise
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
