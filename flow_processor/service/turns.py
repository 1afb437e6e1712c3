"""Whose turn it is: the locks of flows, and the accepted runs that wait for them."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable

from flow_processor.errors import OctospoolError
from flow_processor.locks import FlowLocks
from flow_processor.service.shared_locks import SharedLocks
from flow_processor.spec.flow import ConcurrencySpec, OnConflict
from flow_processor.store import Connection
from flow_processor.store.runs import RunRow

logger = logging.getLogger("octospool.service")

LOCK_RETRY_SECONDS = 5.0
"""Pause before a lock is tried again that could not even be looked at (something else stands in its place)."""

SHARED_RETRY_SECONDS = 1.0
"""Likewise before one that another daemon's run may hold."""


class Turns:
    """Hands out runs as their flows' locks admit. Thread safe."""

    def __init__(
        self, locks: FlowLocks, *, hand_out: Callable[[RunRow], None], shared: SharedLocks | None = None
    ) -> None:
        """`shared`: what holds a flow's limit over several daemons, where there are any."""
        self._locks = locks
        self._shared = shared
        self._hand_out = hand_out
        self._guard = threading.Lock()
        self._lines: defaultdict[str, deque[RunRow]] = defaultdict(deque)
        """Accepted runs that wait for their flow's lock, by flow."""
        self._rules: dict[str, ConcurrencySpec] = {}
        self._retrying: set[str] = set()
        """Flows whose lock is to be tried again in a while."""
        self._is_stopping = False

    def stop(self) -> None:
        """Hand out nothing more; who waits stands in line again after the next start."""
        with self._guard:
            self._is_stopping = True

    def set_rule(self, flow: str, rule: ConcurrencySpec) -> None:
        """From now on so many runs of the flow may be at once."""
        self._rules[flow] = rule

    def take(self, flow: str, run_id: str) -> str | None:
        """Take the flow's lock for a run, if it needs one: None when it has it, else the id of a holder.

        Raises LockInvalid, PathRefused, DiskFull, StoreUnavailable, or Unavailable `lock_unavailable`.
        """
        holder = self.take_here(flow, run_id)
        rule = self._rules[flow]
        if holder is not None or self._shared is None or rule.on_conflict is OnConflict.PARALLEL:
            return holder
        try:
            holder = self._shared.take(flow, run_id, rule.limit)
        except BaseException:
            self._locks.release(flow, run_id)
            raise
        if holder is not None:
            self._locks.release(flow, run_id)
        return holder

    def take_here(self, flow: str, run_id: str) -> str | None:
        """The same for a run that is still to be inserted: other daemons are asked in that transaction (`claim`)."""
        rule = self._rules[flow]
        if rule.on_conflict is OnConflict.PARALLEL:
            return None
        return self._locks.acquire(flow, run_id, rule.limit)

    def claim(self, connection: Connection, run: RunRow) -> None:
        """Take the lock over all daemons, in the transaction that inserts the run. Raises HeldElsewhere."""
        rule = self._rules[run.flow]
        if self._shared is not None and rule.on_conflict is not OnConflict.PARALLEL:
            self._shared.claim(connection, run.flow, run.id, rule.limit)

    def line_up(self, run: RunRow) -> None:
        """Hand the run out when its turn comes; at once if it has come."""
        with self._guard:
            self._lines[run.flow].append(run)
            self._start_next(run.flow)

    def give_back(self, run: RunRow) -> None:
        """The run needs its lock no more: the next one in line may have it."""
        with self._guard:
            try:
                self._locks.release(run.flow, run.id)
            except OSError as error:
                logger.error(
                    "cannot remove the lock file: %s", error, extra={"run": run.id, "flow": run.flow}
                )
            if self._shared is not None and run.parent is None:
                self._shared.free(run.flow, run.id)
            self._start_next(run.flow)

    def leave(self, run_id: str) -> RunRow | None:
        """Take a run out of its line; None if it stands in none."""
        with self._guard:
            found = next((run for line in self._lines.values() for run in line if run.id == run_id), None)
            if found is not None:
                self._lines[found.flow].remove(found)
            return found

    def clear_the_way(self, run: RunRow) -> tuple[list[RunRow], list[str]]:
        """Take every other run out of the line of `run`: those, and the ids of the runs that hold the lock."""
        with self._guard:
            others = [other for other in self._lines[run.flow] if other.id != run.id]
            for other in others:
                self._lines[run.flow].remove(other)
            holders = [lock.run_id for lock in self._locks.held() if lock.flow == run.flow]
        return others, [holder for holder in holders if holder != run.id]

    def try_next(self, flow: str) -> None:
        """The flow's lock may be free: who waits for it may go on."""
        with self._guard:
            self._retrying.discard(flow)
            self._start_next(flow)

    def _start_next(self, flow: str) -> None:
        """Hand out runs of the line, as many as the lock admits. The guard is held."""
        line = self._lines.get(flow)
        while line and not self._is_stopping:
            run = line[0]
            try:
                if self.take(flow, run.id) is not None:
                    if self._shared is not None:  # who has it there tells nobody here when it is free
                        self._try_later(flow, SHARED_RETRY_SECONDS)
                    return
            except OctospoolError as error:
                logger.error("cannot take the lock: %s", error, extra={"run": run.id, "flow": flow})
                self._try_later(flow, LOCK_RETRY_SECONDS)
                return
            line.popleft()
            self._hand_out(run)

    def _try_later(self, flow: str, seconds: float) -> None:
        if flow not in self._retrying:
            self._retrying.add(flow)
            again = threading.Timer(seconds, self.try_next, [flow])
            again.daemon = True
            again.start()
