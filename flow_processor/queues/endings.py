"""Ends of runs on their way into the ledger: many in one transaction."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

from flow_processor.clock import Clock
from flow_processor.queues.backend import Source
from flow_processor.queues.item import Item, Reason
from flow_processor.queues.lane import Delivery, Lane
from flow_processor.queues.notices import tell_of_end
from flow_processor.queues.outcome import WENT_WELL, Outcome, outcome_of, reason_of
from flow_processor.store import Store
from flow_processor.store.items import ItemEnd, ItemState, record_ends
from flow_processor.store.runs import RunRow

logger = logging.getLogger("octospool.queues")

RETRY_SECONDS = 5.0
"""Pause before an item is given up again that could not be kept (a full disk, a broker that is away)."""


@dataclass(frozen=True, slots=True)
class _Ended:
    delivery: Delivery
    item: Item
    outcome: Outcome
    run_id: str


class Endings:
    """Notes what came of attempts. All but `flush` may be called from any thread, and returns at once."""

    def __init__(
        self,
        store: Store,
        source: Callable[[str], Source],
        *,
        clock: Clock,
        on_due: Callable[[Lane, float], None],
        wake: Callable[[], None],
    ) -> None:
        """`on_due`: an item of the lane is tried again at that moment. `wake`: `flush` has something to do."""
        self._store = store
        self._source = source
        self._clock = clock
        self._on_due = on_due
        self._wake = wake
        self._lock = threading.Lock()
        self._told: list[Callable[[], _Ended]] = []
        """What ended: how its flow takes items is asked when it is noted, for a start tells of ends before it knows."""
        self._kept: list[_Ended] = []
        """Given up, and kept where people find it: only the ledger does not know yet."""
        self._unkept: list[_Ended] = []
        """Given up, but could not be kept; tried again at `_retry_at`, on the monotonic clock."""
        self._retry_at = 0.0
        self._unknown: list[RunRow] = []
        self._in_hand: set[str] = set()
        """Runs whose end was told and is not noted yet: told again, it is the same one."""

    def add(self, delivery: Delivery, run: RunRow, *, final: str | None = None) -> None:
        """The run of the delivery has ended; `final` says why there is no further attempt."""
        self._add(run.id, lambda: self._ended(delivery, run, final))

    def add_gone(self, delivery: Delivery) -> None:
        """The run of the delivery is no longer there."""
        message = f"its run {delivery.run_id} is no longer there, so nobody knows what came of it"
        reason = Reason(code="run_gone", message=message, flow=delivery.lane.flow, run_id=delivery.run_id)
        outcome = Outcome(ItemState.FAILED, None, reason)
        run_id = str(delivery.run_id)
        self._add(run_id, lambda: _Ended(delivery, delivery.item, outcome, run_id))

    def add_unknown(self, run: RunRow) -> None:
        """A run of an item has ended that was not under way here."""
        if run.status in WENT_WELL:
            with self._lock:
                self._unknown.append(run)
            self._wake()

    def _add(self, run_id: str, ended: Callable[[], _Ended]) -> None:
        with self._lock:
            if run_id in self._in_hand:
                return
            self._in_hand.add(run_id)
            self._told.append(ended)
        self._wake()

    def _ended(self, delivery: Delivery, run: RunRow, final: str | None) -> _Ended:
        now = self._clock.now().timestamp()
        outcome = outcome_of(run, attempt=delivery.attempt, spec=delivery.lane.spec, now=now)
        if final is not None:
            why = replace(reason_of(run), message=f"{reason_of(run).message} ({final})")
            outcome = Outcome(ItemState.FAILED, None, why)
        return _Ended(delivery, replace(delivery.item, value=run.input), outcome, run.id)

    def pause(self) -> float:
        """Seconds until `flush` has something to do by itself."""
        return max(self._retry_at - self._clock.monotonic(), 0.0) if self._unkept else 3600.0

    def flush(self) -> None:
        """Note what was told so far. Raises StoreUnavailable."""
        try:
            self._flush()
        except BaseException:
            with self._lock:
                self._in_hand.clear()  # what got lost here is told again
            raise

    def _flush(self) -> None:
        with self._lock:
            added, self._told = self._told, []
            unknown, self._unknown = self._unknown, []
            again: list[_Ended] = []
            if self._unkept and self._clock.monotonic() >= self._retry_at:
                again, self._unkept = self._unkept, []
        for ended in [*again, *(made() for made in added)]:
            reason = ended.outcome.reason
            if ended.outcome.state is not ItemState.FAILED or reason is None:
                self._kept.append(ended)
                continue
            kept_elsewhere = self._source(ended.item.queue).give_up(ended.item, reason)
            kept_elsewhere.add_done_callback(partial(self._given_up, ended))
        with self._lock:
            kept, self._kept = self._kept, []
        if kept:
            self._record([(ended, self._end(ended)) for ended in kept])
        for run in unknown:
            self._mend(run)

    def _given_up(self, ended: _Ended, done: Future[None]) -> None:
        error = done.exception()
        with self._lock:
            if error is None:
                self._kept.append(ended)
            else:
                self._unkept.append(ended)
                self._retry_at = self._clock.monotonic() + RETRY_SECONDS
        if error is not None:
            where = {"flow": ended.delivery.lane.flow, "run": ended.run_id}
            logger.error("queue '%s': an item cannot be given up: %s", ended.item.queue, error, extra=where)
        self._wake()

    def _end(self, ended: _Ended) -> ItemEnd:
        outcome = ended.outcome
        reason = outcome.reason
        return ItemEnd(
            queue=ended.item.queue,
            item=ended.item.id,
            flow=ended.delivery.lane.flow,
            run_id=ended.run_id,
            state=outcome.state,
            next_at=outcome.next_at,
            error=None if reason is None else json.dumps({"code": reason.code, "message": reason.message}),
            ended_at=None if outcome.state is ItemState.DUE else self._clock.now().timestamp(),
        )

    def _record(self, pairs: list[tuple[_Ended, ItemEnd]]) -> None:
        ends = [end for _, end in pairs]
        # Kept: an end that is not noted stands in the run's own row, where the next start finds it.
        written = self._store.writer.submit(
            lambda connection: record_ends(connection, ends), lazy=True, keep=True
        )
        written.add_done_callback(partial(self._recorded, pairs))

    def _recorded(self, pairs: list[tuple[_Ended, ItemEnd]], done: Future[None]) -> None:
        with self._lock:
            self._in_hand.difference_update(ended.run_id for ended, _ in pairs)
        if done.exception() is not None:
            logger.error("ends of items could not be noted: %s", done.exception())
            return
        now = self._clock.now().timestamp()
        for ended, end in pairs:
            attempt, reason = ended.delivery.attempt, ended.outcome.reason
            tell_of_end(ended.item, end, attempt=attempt, reason=reason, now=now)
            if end.next_at is not None:
                self._on_due(ended.delivery.lane, end.next_at)
            else:
                self._source(end.queue).has_ended(end.queue, end.item, end.flow)

    def _mend(self, run: RunRow) -> None:
        """An interrupted run was resumed and went well: so its item has not failed after all."""
        row = self._store.items.of_run(run.id)
        if row is None or row.state is not ItemState.FAILED:
            return
        end = ItemEnd(
            queue=row.queue,
            item=row.item,
            flow=row.flow,
            run_id=run.id,
            state=ItemState.DONE,
            ended_at=self._clock.now().timestamp(),
        )
        source = self._source(row.queue)
        written = self._store.writer.submit(lambda connection: record_ends(connection, [end]), keep=True)
        written.add_done_callback(lambda done: source.has_ended(row.queue, row.item, row.flow))
