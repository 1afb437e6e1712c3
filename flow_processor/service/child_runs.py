"""Runs that are part of others: the elements of a `flow_loop` with `spread`.

A step of the parent asks for them, and asks again in each worker that gets the parent (`engine/child_runs.py`):

- `begin` `{path, limit, ends_on_failure}`: let so many of them run at once. `{known, live}` says how many there are,
  and how many of them have not ended. When the last one has ended, the parent gets a signal.
- `launch` `{path, flow, elements: [[index, payload, params], …]}`: record them, but for those that are recorded.
- `gather` `{path, after}`: what they came to, from the element after that one on, page by page.
- `end` `{path}`: end those that have not ended. `{final}` says whether one has done what must not be done twice.

What is recorded is in the store, in the runs themselves (`child_records.py`). How many may run at once is known here
only, and said again after a restart: until then those that have begun go on, and no other begins.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from flow_processor.engine.child_runs import signal_of
from flow_processor.engine.local import LocalEngine
from flow_processor.errors import StoreUnavailable
from flow_processor.run import RunStatus
from flow_processor.service.cancels import Cancels
from flow_processor.service.child_records import ChildRecords
from flow_processor.service.done_parts import has_done_a_part
from flow_processor.service.live_runs import LiveRuns
from flow_processor.store import Store
from flow_processor.store.child_runs import (
    ChildRun,
    give_up_children,
)
from flow_processor.store.runs import ParkedRun, RunRow

logger = logging.getLogger("octospool.service")

STORE_RETRY_SECONDS = 1.0
"""Pause before the store is asked again that could not be read or written."""

_DONE = (RunStatus.SUCCEEDED, RunStatus.EXITED)

Key = tuple[str, str]
"""A parent and the path of a step there."""


@dataclass(slots=True)
class _Group:
    """The live runs of one step."""

    limit: int = 0
    """How many may be under way at once; 0: the step has yet to say so, or wants them no more."""
    ends_on_failure: bool = False
    is_ending: bool = False
    """One has failed, and no other is to begin."""
    held: dict[str, None] = field(default_factory=dict)
    """Ids of those that wait for their turn."""
    under_way: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.held) + len(self.under_way)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self.held or run_id in self.under_way


class ChildRuns:
    """Sees to them. Thread safe. They take no lock of their flow: they are part of a run that has its own."""

    def __init__(
        self,
        store: Store,
        records: ChildRecords,
        engine: LocalEngine,
        *,
        live: LiveRuns,
        cancels: Cancels,
    ) -> None:
        self._store = store
        self._records = records
        self._engine = engine
        self._live = live
        self._cancels = cancels
        self._guard = threading.Lock()
        self._groups: dict[Key, _Group] = {}
        self._parents: set[str] = set()
        """Live runs that may have such runs."""

    def answer(self, parent: RunRow, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a step of the parent asks. Raises FlowLost, StoreUnavailable."""
        path = str(request["path"])
        with self._guard:
            self._parents.add(parent.id)
        if request["do"] == "begin":
            return self._begin(parent.id, path, int(request["limit"]), bool(request["ends_on_failure"]))
        if request["do"] == "launch":
            self._records.launch(parent, path, str(request["flow"]), request["elements"])
            return {}
        if request["do"] == "gather":
            return self._records.gather(parent.id, path, int(request["after"]))
        self._give_up(parent.id, path)
        # After they were told to end: a worker that was told begins nothing more.
        return {"final": has_done_a_part(self._store, self._store.children.ids(parent.id, path))}

    def run_ended(self, run: RunRow) -> None:
        """A run has ended: perhaps one that waits for its turn may begin, or the parent may go on."""
        try:
            if run.parent is not None and run.parent_path is not None:
                self._child_ended((run.parent, run.parent_path), run)
            if run.id in self._parents:
                self._parent_ended(run.id)
        except StoreUnavailable as error:
            logger.error("cannot go on yet: %s", error, extra={"run": run.id})
            self._later(self.run_ended, run)
        except Exception:  # around one run: the thread that tells of ended ones must go on
            logger.exception("cannot see to the runs around it", extra={"run": run.id})

    def leave(self, run_id: str) -> RunRow | None:
        """Take a run out of those that wait for their turn; None if it is none of them."""
        with self._guard:
            found = next((group for group in self._groups.values() if run_id in group.held), None)
            if found is None:
                return None
            run = self._store.runs.get(run_id)
            del found.held[run_id]
            found.under_way.add(run_id)  # until its end is recorded
            return run

    def expect(self, run: RunRow | ParkedRun, *, has_begun: bool) -> None:
        """The starting daemon has found this run; one that has not begun waits until its parent says how many may."""
        if run.parent is not None and run.parent_path is not None:
            with self._guard:
                self._parents.add(run.parent)
                self._add((run.parent, run.parent_path), run, has_begun=has_begun)

    def end_lost(self) -> None:
        """End those whose parent has ended, as far as the starting daemon has found them."""
        for parent in list(self._parents):
            run = self._store.runs.get(parent)
            if run is None or run.status.is_terminal:
                self._parent_ended(parent)

    def _add(self, key: Key, run: ChildRun | RunRow | ParkedRun, *, has_begun: bool) -> None:
        group = self._groups.setdefault(key, _Group())
        if run.id in group:
            return
        self._live.add(run)
        if has_begun:
            group.under_way.add(run.id)
        else:
            group.held[run.id] = None

    def _begin(self, parent: str, path: str, limit: int, ends_on_failure: bool) -> dict[str, Any]:
        key = (parent, path)
        # Read with the guard held: the end of a run that is live here is told after that, and not missed.
        with self._guard:
            found = self._store.children.of_step(parent, path)
            for child in found:
                if not child.status.is_terminal:
                    self._add(key, child, has_begun=child.status is not RunStatus.QUEUED)
            group = self._groups.get(key)
            if group is None:
                return {"known": len(found), "live": 0}
            group.limit, group.ends_on_failure = limit, ends_on_failure
            # In the order of their elements, whoever has found them.
            group.held = {child.id: None for child in found if child.id in group.held}
            has_failed = any(child.status.is_terminal and child.status not in _DONE for child in found)
            group.is_ending = ends_on_failure and has_failed
            to_end = [*group.held, *group.under_way] if group.is_ending else []
            self._start(key, group)
            live = len(group)
        self._cancel(to_end, f"the failure of another element of '{path}'")
        return {"known": len(found), "live": live}

    def _start(self, key: Key, group: _Group) -> None:
        """Let as many begin as may; the guard is held."""
        while group.held and len(group.under_way) < group.limit and not group.is_ending:
            run_id = next(iter(group.held))
            try:
                run = self._store.runs.get(run_id)
            except StoreUnavailable as error:
                logger.error("cannot begin yet: %s", error, extra={"run": run_id})
                self._later(self._start_later, key)
                return
            del group.held[run_id]
            if run is not None and not run.status.is_terminal:
                group.under_way.add(run_id)
                self._engine.submit(run)

    def _start_later(self, key: Key) -> None:
        with self._guard:
            if key in self._groups:
                self._start(key, self._groups[key])

    def _child_ended(self, key: Key, run: RunRow) -> None:
        to_end: list[str] = []
        with self._guard:
            group = self._groups.get(key)
            if group is None:
                return
            group.held.pop(run.id, None)
            group.under_way.discard(run.id)
            if group.ends_on_failure and not group.is_ending and run.status not in _DONE:
                group.is_ending = True
                to_end = [*group.held, *group.under_way]
            self._start(key, group)
            has_ended = not len(group)
            if has_ended:
                del self._groups[key]
        self._cancel(to_end, f"run {run.id}, which has not succeeded and was beside it")
        if has_ended and group.limit:
            self._tell(*key)

    def _tell(self, parent: str, path: str) -> None:
        """All runs of the step have ended; the parent, which waits for that, goes on."""
        told = self._engine.signal(parent, name=signal_of(path), data=None, by="octospool")

        def look(done: Future[int | None]) -> None:
            if isinstance(done.exception(), StoreUnavailable):
                self._later(self._tell, parent, path)

        told.add_done_callback(look)

    def _parent_ended(self, parent: str) -> None:
        self._give_up(parent, None)
        with self._guard:
            self._parents.discard(parent)

    def _give_up(self, parent: str, path: str | None) -> None:
        """End the runs of a step, or of all steps of the parent: nobody waits for them any more."""
        with self._guard:
            for (of, step), group in self._groups.items():
                if of == parent and path in (None, step):
                    group.limit = 0
        found = self._store.writer.run(lambda connection: give_up_children(connection, parent, path))
        with self._guard:
            for child, step in found:
                self._add((parent, step), child, has_begun=child.status is not RunStatus.QUEUED)
        self._cancel([child.id for child, _step in found], f"run {parent}, which it is part of")

    def _cancel(self, run_ids: Iterable[str], by: str) -> None:
        for run_id in run_ids:
            try:
                self._cancels.begin_to_cancel(run_id, by=by)
            except StoreUnavailable:
                self._later(self._cancel, [run_id], by)

    def _later(self, do: Callable[..., None], *what: Any) -> None:
        again = threading.Timer(STORE_RETRY_SECONDS, do, what)
        again.daemon = True
        again.start()
