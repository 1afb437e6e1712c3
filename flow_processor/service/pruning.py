"""What has to go, in steps that are small enough to come between two launches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from functools import partial

from flow_processor.clock import Clock
from flow_processor.result_files import ResultFiles
from flow_processor.run import RUN_ID_PATTERN, TERMINAL_STATUSES, RunStatus
from flow_processor.spec.retention import RetentionSpec
from flow_processor.store import Connection, Store
from flow_processor.store.removals import (
    clear,
    compact,
    delete_ended,
    delete_slots,
    delete_versions,
)
from flow_processor.store.run_plans import bound_of

Step = Callable[[Connection], object]
"""One small transaction."""

SECONDS_PER_DAY = 86_400

MAX_ROWS = 1000
"""Rows that a step deletes at most."""

DECIDED = TERMINAL_STATUSES - {RunStatus.INTERRUPTED}
"""An interrupted run waits for a person, who decides how it goes on; only its age may take it."""

YOUNG_SECONDS = 3600.0
"""A run with a younger id may be about to be accepted."""

ROWS_PER_RUN = 5
"""A run's own row stands in so many indexes that deleting it costs about as much as this many journal rows."""

SLOT_DAYS = 90
"""Handled slots are remembered for so long, and …"""

KEPT_SLOTS = 1000
"""… so many of each schedule however old they are."""

VERSIONS_PER_STEP = 20
"""Flow texts can be large."""

FREE_SHARE = 0.1
"""So much of the store's file may be free space, which the next runs use; what is more is given back."""

PAGES_PER_STEP = 100


class Pruning:
    """Gives steps one after the other; each must be committed before the next one is asked for."""

    def __init__(
        self,
        store: Store,
        files: ResultFiles,
        *,
        clock: Clock,
        rule: RetentionSpec,
        rule_of: Callable[[str], RetentionSpec],
        known_versions: Callable[[], Collection[str]],
    ) -> None:
        """`rule` is for all runs, `rule_of` gives that of a flow; `known_versions`: flow texts that must stay, for
        their next run is inserted without them."""
        self._store = store
        self._files = files
        self._clock = clock
        self._rule = rule
        self._rule_of = rule_of
        self._known_versions = known_versions
        self.rows = MAX_ROWS
        """Rows that a step deletes; may be made smaller from outside, where the disk is slow."""
        self.deleted: Counter[str] = Counter()
        """How many runs went because of what."""

    def steps(self, *, by_age: bool = True) -> Iterator[Step]:
        """Everything that has to go now; without `by_age` nothing because it is old."""
        yield from self.leftovers()
        yield from self._runs(by_age=by_age)
        yield from self.leftovers()
        if by_age:
            yield from self._old_slots()
        yield from self._unused_versions()
        yield from self._free_space()

    def leftovers(self) -> Iterator[Step]:
        """Files, journal and log of runs that were deleted."""
        while run_ids := self._store.removals.next(self.rows):
            # First the files: they cannot be rolled back, and deleting them twice does no harm.
            for run_id in run_ids:
                if RUN_ID_PATTERN.fullmatch(run_id):  # a damaged row may name anything
                    self._files.delete(run_id)
            yield partial(clear, run_ids=run_ids, rows=self.rows)

    def delete_stray_files(self) -> None:
        """Delete result files of runs that never came to be: a crash between a retry's files and its acceptance."""
        young = bound_of(self._clock.now().timestamp() - YOUNG_SECONDS)
        for run_id in self._store.removals.unknown(run_id for run_id in self._files.runs() if run_id < young):
            self._files.delete(run_id)

    def _runs(self, *, by_age: bool) -> Iterator[Step]:
        for flow in self._store.removals.flows():
            rule = self._rule_of(flow)
            if by_age:
                yield from self._older(flow, rule)
            yield from self._beyond(flow, rule)
        yield from self._beyond(None, self._rule)

    def _older(self, flow: str, rule: RetentionSpec) -> Iterator[Step]:
        age = rule.max_age_days or self._rule.max_age_days
        if isinstance(age, float):
            before = self._clock.now().timestamp() - age * SECONDS_PER_DAY
            for page in self._store.removals.walk(flow, up_to=bound_of(before)):
                yield from self._delete([run.id for run in page if run.ended_at < before], "their age")

    def _beyond(self, flow: str | None, rule: RetentionSpec) -> Iterator[Step]:
        """What is too much by count or by bytes."""
        finder = self._store.removals
        bounds = []
        if rule.max_runs is not None:
            bounds.append(finder.newest_beyond_count(flow, rule.max_runs))
        if isinstance(rule.max_bytes, int):
            bounds.append(finder.newest_beyond_bytes(flow, rule.max_bytes))
        newest = max((bound for bound in bounds if bound is not None), default=None)
        if newest is not None:
            for page in self._store.removals.walk(flow, up_to=newest, status=DECIDED):
                yield from self._delete([run.id for run in page], "their number or bytes")

    def _delete(self, run_ids: list[str], why: str) -> Iterator[Step]:
        while run_ids:
            count = max(1, self.rows // ROWS_PER_RUN)
            yield partial(self._delete_runs, run_ids=run_ids[:count], why=why)
            run_ids = run_ids[count:]

    def _delete_runs(self, connection: Connection, run_ids: list[str], why: str) -> int:
        count = delete_ended(connection, run_ids)
        self.deleted[why] += count
        return count

    def _old_slots(self) -> Iterator[Step]:
        before = self._clock.now().timestamp() - SLOT_DAYS * SECONDS_PER_DAY
        while bounds := self._store.removals.slots_bounds(before=before, keep=KEPT_SLOTS):
            for schedule_id, bound in bounds:
                yield partial(delete_slots, schedule_id=schedule_id, before=bound, rows=self.rows)

    def _unused_versions(self) -> Iterator[Step]:
        unused = self._store.removals.unused_versions()
        for first in range(0, len(unused), VERSIONS_PER_STEP):
            yield partial(self._delete_versions, versions=unused[first : first + VERSIONS_PER_STEP])

    def _delete_versions(self, connection: Connection, versions: Collection[str]) -> int:
        return delete_versions(connection, set(versions).difference(self._known_versions()))

    def _free_space(self) -> Iterator[Step]:
        if not self._store.removals.gives_space_back():
            return
        free, pages = self._store.removals.free_pages()
        while free > max(PAGES_PER_STEP, pages * FREE_SHARE):
            yield partial(compact, pages=PAGES_PER_STEP)
            before = free
            free, pages = self._store.removals.free_pages()
            if free >= before:
                return  # runs take space as fast as it is given back
