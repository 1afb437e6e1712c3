"""Flows that listen: to queues, and to files. Looks at flow files, and tells the intake and what keeps the items."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from flow_processor.clock import Clock
from flow_processor.errors import OctospoolError
from flow_processor.flow_files import FlowLibrary
from flow_processor.queues.backend import Backend
from flow_processor.queues.file_watch import FileWatch
from flow_processor.queues.intake import ItemIntake
from flow_processor.queues.item_launch import ItemLaunch
from flow_processor.service.cause import Cause
from flow_processor.service.launcher import Launcher
from flow_processor.spec.flow import FlowSpec
from flow_processor.store import Store
from flow_processor.store.file_items import FILES
from flow_processor.store.listeners import read_listeners, write_listeners
from flow_processor.store.runs import RunRow
from flow_processor.turning import TurningThread

logger = logging.getLogger("octospool.queues")

LOOK_SECONDS = 1.0
"""How often flow files are looked at: a flow listens so soon after it was written."""


class Listening:
    """Keeps who listens up to date. Thread safe."""

    def __init__(
        self,
        store: Store,
        library: FlowLibrary,
        *,
        intake: ItemIntake,
        backend: Backend,
        files: FileWatch,
        paused: Callable[[], frozenset[str]],
        clock: Clock,
    ) -> None:
        self._store = store
        self._library = library
        self._intake = intake
        self._backend = backend
        self._files = files
        self._paused = paused
        self._flows: dict[str, FlowSpec] = {}
        self._queues: dict[str, list[str]] = {}
        self.has_begun = False
        """True: items are taken."""
        self.problem: str | None = None
        """Why it is not known who listens now, or why nothing is taken yet, for people."""
        self._to_begin: list[Callable[[], None]] = [intake.start, partial(backend.start, intake)]
        """What is still to be started; a step that fails is done again."""
        self._is_untold = True
        """Who listens has changed, and not everybody has been told."""
        self._thread = TurningThread(
            self._turn,
            name="listening",
            pause=LOOK_SECONDS,
            clock=clock,
            logger=logger,
            failed="queues and files: unexpected error",
        )

    def load(self) -> None:
        """Take over what is under way: before any of these runs goes on. Raises StoreUnavailable."""
        self._queues = read_listeners(self._store.engine, self._store.daemon)
        self._intake.load()

    def start(self) -> None:
        """Begin to take items, soon: flow files are read first, and nothing else waits for that. To be called when
        runs under way were taken over. Raises StoreUnavailable."""
        self._intake.catch_up()
        self.set_paused(self._paused())
        self._files.start(self._intake)
        self._thread.start()

    def close(self) -> None:
        """Take nothing more."""
        self._thread.stop()
        self._intake.close()
        self._backend.stop()
        self._files.stop()

    def stop(self) -> None:
        """Note the ends of runs that were told so far, and nothing more."""
        self._intake.stop()

    def set_paused(self, queues: frozenset[str]) -> None:
        """Exactly these queues stand still from now on."""
        self._intake.set_paused(queues)
        self._backend.set_paused(queues)

    def _turn(self) -> None:
        try:
            self._is_untold |= self._look()
            if self._is_untold:
                self._tell()
                self._is_untold = False
            self._begin()
            self.problem = None
        except Exception as error:  # noqa: BLE001  around one look: `problem` says it as long as it lasts
            self._note(error)

    def _begin(self) -> None:
        while self._to_begin:
            self._to_begin[0]()
            del self._to_begin[0]
        self.has_begun = True

    def _note(self, error: Exception) -> None:
        what = "it cannot be seen which flows listen" if self.has_begun else "nothing is taken yet"
        problem = f"{what}: {error if isinstance(error, OctospoolError) else repr(error)}"
        if problem != self.problem:  # each second, as long as it lasts
            is_unexpected = not isinstance(error, OctospoolError)
            logger.error("queues and files: %s", problem, exc_info=error if is_unexpected else None)
        self.problem = problem

    def _look(self) -> bool:
        """Look at flow files. Has anything changed? A flow that listened, and whose file is there but was never right
        since the start, is taken to listen still: its items wait until it is mended."""
        flows = {path: flow.spec for path, flow in self._library.listening().items()}
        queues: dict[str, list[str]] = {}
        for path, spec in flows.items():
            if spec.queue is not None:
                queues.setdefault(spec.queue.name, []).append(path)
        for queue, before in self._queues.items():
            broken = [path for path in before if path not in flows and self._is_broken(path)]
            if broken:
                queues.setdefault(queue, []).extend(broken)
        queues = {queue: sorted(paths) for queue, paths in sorted(queues.items())}
        is_new = flows != self._flows or queues != self._queues
        if queues != self._queues:
            write_listeners(self._store, queues)
        self._flows, self._queues = flows, queues
        return is_new

    def _is_broken(self, path: str) -> bool:
        try:
            self._library.launchable(path)
        except OctospoolError as error:
            return error.code != "flow_not_found"
        return False

    def _tell(self) -> None:
        watched = {path: spec.on.files for path, spec in self._flows.items() if spec.on and spec.on.files}
        self._intake.listen(self._flows, {**self._queues, FILES: sorted(watched)})
        self._backend.listen(self._queues)
        self._files.watch(watched)


def launching(launcher: Launcher) -> Callable[[ItemLaunch], Future[RunRow | None]]:
    """Starts the runs of items."""

    def launch(wanted: ItemLaunch) -> Future[RunRow | None]:
        cause = Cause(wanted.trigger, wanted.by, claim=wanted.claim, waits_its_turn=True, item=wanted.item)
        return launcher.launch_soon(
            wanted.flow, payload=wanted.payload, params=dict(wanted.params), cause=cause
        )

    return launch
