"""A run made ready for its next worker: with all that its execution depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flow_processor.clock import Clock
from flow_processor.engine.assignment import Assignment
from flow_processor.engine.grants import Grants
from flow_processor.engine.losses import MAX_LOSSES_OF_RUN, error_record, rows_of_poison
from flow_processor.engine.order import CLOSING_SECONDS, RunOrder
from flow_processor.engine.records import Recorder
from flow_processor.journal import DISPATCH_SPAN, WireRow, from_wire
from flow_processor.run import RunStatus
from flow_processor.run_state import RunState, fold
from flow_processor.store import Store
from flow_processor.store.runs import RunRow


class Preparation:
    """Not thread safe: the engine's lock is held."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        *,
        clock: Clock,
        default_timeout_seconds: float,
        first_data_of: Callable[[RunRow], dict[str, Any]],
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._default_timeout = default_timeout_seconds
        self._first_data_of = first_data_of
        self._grants = Grants()

    def prepare(self, run: RunRow, flows: dict[str, str] | None) -> tuple[RunOrder, Assignment] | None:
        """What its worker is told and what the daemon keeps of it; None where the run was ended instead.

        `flows` are its texts where the caller has them, because it is new; else all is read from the store. Raises
        StoreUnavailable.
        """
        rows: list[WireRow] = []
        state = RunState()
        if flows is None:
            flows = self._store.runs.flow_texts(run.flow_hash)
            rows = self._store.journal.rows(run.id)
            state = fold(from_wire(row) for row in rows)
        dispatch = max(state.last_seq // DISPATCH_SPAN, state.dispatches) + 1
        stop_code = (
            "cancelled" if state.cancel_requested else "flow_timeout" if state.flow_timed_out else None
        )
        limit = run.timeout_seconds or self._default_timeout
        left = CLOSING_SECONDS if stop_code else max(1.0, limit - state.worked_seconds)
        secrets = self._grants.of(run.flow_hash, flows)
        deadline = self._clock.monotonic() + left
        waits = _waits_of(state)
        is_closing = stop_code is not None
        assignment = Assignment(run, dispatch, deadline, limit, secrets, is_closing, waits)
        assignment.stop_code = stop_code
        assignment.began_at = self._recorder.now()
        assignment.seen = None if rows else []
        if state.losses[""] > MAX_LOSSES_OF_RUN:
            error = error_record("worker_lost", f"{state.losses['']} workers were lost")
            self._recorder.end(run, RunStatus.FAILED, error)
            return None
        poison = rows_of_poison(state, at=self._recorder.now())
        if poison:
            self._recorder.append(run.id, poison)
        order = RunOrder(
            run_id=run.id,
            flow=run.flow,
            flow_hash=run.flow_hash,
            flows=flows,
            data=self._first_data_of(run),
            dispatch=dispatch,
            timeout_seconds=left,
            rows=rows + poison,
            started_at=run.started_at or assignment.began_at,
            log_bytes=self._store.journal.log_bytes(run.id) if state.dispatches else 0,
            secrets=sorted(secrets) if rows else (),
        )
        return order, assignment


def _waits_of(state: RunState) -> dict[tuple[str, int], str]:
    """Attempts that wait for a signal and were begun by earlier workers: nobody says so again."""
    waiting = [record for record in state.under_way() if record.waiting]
    named = [(record, (record.waiting or {}).get("signal")) for record in waiting]
    return {(record.path, record.attempt): name for record, name in named if isinstance(name, str)}
