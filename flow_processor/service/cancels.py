"""Ending runs that somebody wants to end, wherever they are just now."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.local import LocalEngine
from flow_processor.engine.losses import error_record
from flow_processor.errors import RunHasEnded, StoreUnavailable
from flow_processor.run import RunStatus
from flow_processor.service.live_runs import LiveRuns
from flow_processor.service.turns import Turns
from flow_processor.store import Connection, Store
from flow_processor.store.daemon_rows import end_run, request_cancel
from flow_processor.store.runs import RunRow

RECORD_SECONDS = 10.0
"""How long a cancel (a signal, a resume) waits until it is recorded; it takes effect all the same."""


class Cancels:
    """Ends runs. Thread safe."""

    def __init__(
        self,
        store: Store,
        turns: Turns,
        live: LiveRuns,
        engine: LocalEngine,
        *,
        leave_children: Callable[[str], RunRow | None],
        clock: Clock,
    ) -> None:
        """`leave_children` takes a run out of those that are part of another and have not begun."""
        self._store = store
        self._turns = turns
        self._live = live
        self._engine = engine
        self._leave_children = leave_children
        self._clock = clock

    def cancel(self, run_id: str, *, by: str) -> None:
        """Make the run end; durable when this returns. Raises RunHasEnded."""
        recorded = self.begin_to_cancel(run_id, by=by)
        if recorded is None and self._live.arrives(run_id, RECORD_SECONDS):
            # It was accepted this very moment: its row could be seen, but no part had it yet.
            recorded = self.begin_to_cancel(run_id, by=by)
        if recorded is None:
            raise RunHasEnded(f"run {run_id} has ended already", details={"run_id": run_id})
        wait_until_recorded(recorded, run_id, "will end")

    def begin_to_cancel(self, run_id: str, *, by: str) -> Future[Any] | None:
        """The same without waiting: the future is done when it is durable. None if the run has ended."""
        held = self._turns.leave(run_id) or self._leave_children(run_id)
        if held is not None:
            return self._end_in_line(held, f"the run was cancelled by {by}")
        return self._request(run_id, by)

    def replace_others(self, run: RunRow) -> None:
        """End what runs and waits of this flow in favour of `run`."""
        others, holders = self._turns.clear_the_way(run)
        for other in others:
            self._end_in_line(other, f"replaced by run {run.id}")
        for holder in holders:
            self._request(holder, f"run {run.id}, which replaces it")

    def _request(self, run_id: str, by: str) -> Future[Any] | None:
        now, reason = self._clock.now().timestamp(), f"the run was cancelled by {by}"
        if not self._live.ask_left_behind(run_id, at=now):
            return self._engine.cancel(run_id, by=by)
        # It ends when its worker has left; until then nobody can reach it.
        recorded = self._store.writer.submit(
            lambda connection: request_cancel(connection, run_id, reason=reason, by=by, at=now), keep=True
        )
        # Its worker may have left meanwhile, and the next one been chosen before this was recorded.
        recorded.add_done_callback(
            lambda done: self._engine.deliver(run_id, error_record("cancelled", reason))
        )
        return recorded

    def _end_in_line(self, run: RunRow, why: str) -> Future[Any]:
        error = error_record("cancelled", why)
        now = self._clock.now().timestamp()

        def record(connection: Connection) -> bool:
            return end_run(connection, run.id, RunStatus.CANCELLED, at=now, error=error)

        final = replace(run, status=RunStatus.CANCELLED, error=error, ended_at=now)
        recorded = self._store.writer.submit(record, keep=True)
        recorded.add_done_callback(lambda done: self._live.has_ended(final))
        return recorded


def wait_until_recorded(recorded: Future[Any], run_id: str, what: str) -> Any:
    """What was recorded, once it is durable. Raises StoreUnavailable if that takes too long."""
    try:
        return recorded.result(RECORD_SECONDS)
    except FutureTimeoutError as error:
        message = f"run {run_id} {what} as soon as the store can be written again"
        raise StoreUnavailable(message, details={"run_id": run_id}) from error
