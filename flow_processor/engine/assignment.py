"""A run in the hands of a worker, as the daemon watches over it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flow_processor.engine.order import CLOSING_SECONDS
from flow_processor.engine.sizes import size_of
from flow_processor.engine.worker_claims import check_lines, checked_rows
from flow_processor.journal import DAEMON_SPAN, DISPATCH_SPAN, Event, JournalRow, WireLog, WireRow, to_wire
from flow_processor.store.runs import RunRow

ABORT_GRACE_SECONDS = 3.0
"""After a cancel or time limit a worker has so long to end by itself, finally_step apart."""

STEP_GRACE_SECONDS = 0.25
"""A step that watches its own time limit (rest, sleep) has so long to say so itself."""

_STARTED, _WAITING = Event.STARTED.value, Event.WAITING.value

MAX_SEEN_CHARACTERS = 256 * 1024
"""Of a run with more data than this the outcome is read from the store."""


@dataclass(slots=True)
class Watch:
    """One step attempt under way in the worker."""

    began: float
    """In monotonic seconds."""
    limit: float | None
    """Its time limit in seconds."""
    unwritten: WireRow | None
    """The row that says it began, if that is not in the store yet."""
    is_waiting: bool = False
    """It does nothing: if its worker dies, it is not to blame."""


@dataclass(slots=True)
class Assignment:
    """The daemon's knowledge of a run under way. Guarded by the engine's lock."""

    run: RunRow
    dispatch: int
    deadline: float | None
    """When the run's own time limit is over, in monotonic seconds."""
    limit: float
    """The run's own time limit in seconds."""
    secrets: frozenset[str]
    """Names of the secrets that the run's flows name."""
    is_closing: bool
    """True when only finally steps are left to run (after a cancel or time limit)."""
    waits: dict[tuple[str, int], str]
    """Attempts that wait for a signal, with its name."""
    watches: dict[tuple[str, int], Watch] = field(default_factory=dict)
    got_on: set[str] = field(default_factory=set)
    """What stands around the steps of which this worker has told something: `loop[3]` for `loop[3]/call`."""
    abort_deadline: float | None = None
    """When a worker that was asked to end the run is killed, in monotonic seconds."""
    expired: list[tuple[str, int, float]] = field(default_factory=list)
    """Attempts whose time limit was over when the worker was killed for it: path, attempt, limit in seconds."""
    refused: str | None = None
    """Why rows of this worker could not be stored: then the run must not go on as if they were."""
    last_seq: int = 0
    """The highest number that the worker has used."""
    is_over: bool = False
    """The worker has said its last word about the run: it ended, or is parked."""
    stop_code: str | None = None
    """Why the run must end: `cancelled` or `flow_timeout`."""
    killed_at: float | None = None
    """When the worker's end was begun, in seconds since 1970; then `is_killed`."""
    daemon_rows: int = 0
    began_at: float = 0.0
    """When it was handed out, in seconds since 1970."""
    seen: list[WireRow] | None = None
    """The run's whole journal so far, for whoever waits for its outcome; None where the daemon has not seen all
    of it, or it is too much to keep."""
    seen_characters: int = 0
    unsent_rows: list[WireRow] = field(default_factory=list)
    """Rows that wait for others, to go to the store's writer together."""
    unsent_logs: list[WireLog] = field(default_factory=list)
    unsent_since: float = 0.0
    """Since when the oldest of them waits, in monotonic seconds."""
    size: int = 0
    """Bytes that were written, or will be, and are not added to what the run takes."""

    @property
    def is_killed(self) -> bool:
        """Its worker is being ended."""
        return self.killed_at is not None

    def observe(self, rows: Sequence[WireRow], logs: Sequence[WireLog], now: float) -> None:
        """Follow what begins and ends, and keep what is to be written until `take_unsent`.

        That a repeatable step began is written only once it has taken a while (`overdue`): most have ended
        before, and their outcome tells when they began. Raises ValueError for what no worker may say.
        """
        details_of = checked_rows(rows, dispatch=self.dispatch)
        check_lines(logs, dispatch=self.dispatch)
        # Numbers rise, apart in rows and in lines.
        last = max(rows[-1][0] if rows else 0, logs[-1][0] if logs else 0)
        self.last_seq = max(self.last_seq, last)
        self.size += size_of(rows, logs)
        if not self.unsent_rows and not self.unsent_logs:
            self.unsent_since = now
        self.unsent_logs.extend(logs)
        self._keep(rows)
        to_write = self.unsent_rows
        for row, details in zip(rows, details_of, strict=True):
            key, event = (row[1], row[2]), row[3]
            if around := row[1].rpartition("/")[0]:
                self.got_on.add(around)
            if event == _STARTED:
                is_once = "once" in details
                self.watches[key] = Watch(now, details.get("timeout_seconds"), None if is_once else row)
                if not is_once:
                    continue
            elif event == _WAITING:
                self._begin_wait(key, details)
            else:
                self.watches.pop(key, None)
                self.waits.pop(key, None)
            to_write.append(row)

    def _begin_wait(self, key: tuple[str, int], details: dict[str, Any]) -> None:
        """It goes on being watched, under the same time limit."""
        if key in self.watches:
            self.watches[key].is_waiting = True
        name = details.get("signal")
        if isinstance(name, str):
            self.waits[key] = name

    def under_way(self) -> list[list[Any]]:
        """Attempts, as path and number, that may be why a worker died.

        Not those inside which it did something: they are steps around others, and a loop of an hour may outlive any
        number of deaths.
        """
        return [
            list(key)
            for key, watch in self.watches.items()
            if not watch.is_waiting and not self._got_on_inside(key[0])
        ]

    def _got_on_inside(self, path: str) -> bool:
        inner = (path + "/", path + "[")
        return any(around == path or around.startswith(inner) for around in self.got_on)

    def _keep(self, rows: Sequence[WireRow]) -> None:
        if self.seen is None:
            return
        self.seen_characters += sum(len(row[5] or "") for row in rows)
        if self.seen_characters > MAX_SEEN_CHARACTERS:
            self.seen = None
        else:
            self.seen.extend(rows)

    def begin_closing(self, now: float) -> None:
        """The worker says that only finally steps are left: it is no longer to be killed for being asked to end."""
        self.is_closing = True
        self.abort_deadline = None
        self.deadline = now + CLOSING_SECONDS

    def take_unsent(self) -> tuple[list[WireRow], list[WireLog]]:
        """What has waited for the writer; it counts as sent then."""
        rows, self.unsent_rows = self.unsent_rows, []
        logs, self.unsent_logs = self.unsent_logs, []
        return rows, logs

    def take_size(self) -> int:
        """What is to be added to what the run takes, in bytes; it counts as added then."""
        size, self.size = self.size, 0
        return size

    def before_the_kill(self, rows: Sequence[WireRow]) -> list[WireRow]:
        """The rows that are no consequence of the worker's end being begun.

        The programs that its steps had started were told to end: steps that were not to blame seem to fail then.
        """
        return [row for row in rows if self.killed_at is None or row[4] <= self.killed_at]

    def keep_expired(self) -> None:
        """Of the attempts over their time limit only those have been killed that did not end after all."""
        self.expired = [entry for entry in self.expired if entry[:2] in self.watches]

    def overdue(self, before: float) -> list[WireRow]:
        """Rows of steps that began before that moment and are not written yet; they count as written then."""
        rows = []
        for watch in self.watches.values():
            if watch.unwritten is not None and watch.began <= before:
                rows.append(watch.unwritten)
                watch.unwritten = None
        return rows

    def expire(self, now: float) -> bool:
        """Note which attempts are over their time limit; True if there are any.

        Of several it is the one whose time was over first, and those around it that are over theirs too: a step
        that hangs stops its neighbours in the same worker, which are not to blame and are run again.
        """
        deadlines = {key: self._deadline_of(watch) for key, watch in self.watches.items()}
        self.expired = []
        first = min(deadlines, key=lambda key: deadlines[key], default=None)
        if first is None or deadlines[first] >= now:
            return False
        for (path, attempt), deadline in deadlines.items():
            # A step around another one has the same time limit, told a moment earlier or later.
            is_around = first[0].startswith((f"{path}/", f"{path}[")) and deadline < now + STEP_GRACE_SECONDS
            if (path, attempt) == first or is_around:
                self.expired.append((path, attempt, self.watches[path, attempt].limit or 0.0))
        return True

    @staticmethod
    def _deadline_of(watch: Watch) -> float:
        return math.inf if watch.limit is None else watch.began + watch.limit + STEP_GRACE_SECONDS

    def daemon_row(self, path: str, attempt: int, event: Event, at: float, data: dict[str, Any]) -> WireRow:
        """A row that the daemon writes while (or after) a worker has the run."""
        self.seen = None  # which would have to get it in its place
        return to_wire(JournalRow(self._daemon_seq(), path, attempt, event, at, data))

    def daemon_line(self, level: str, at: float, message: str) -> WireLog:
        """A line of the run's own log likewise."""
        return self._daemon_seq(), at, level, "", message

    def _daemon_seq(self) -> int:
        self.daemon_rows += 1
        return self.dispatch * DISPATCH_SPAN + DAEMON_SPAN + self.daemon_rows
