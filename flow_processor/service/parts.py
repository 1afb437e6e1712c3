"""The parts of the product over one data folder, and how they are put together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from flow_processor.clock import Clock, SystemClock, from_epoch
from flow_processor.engine.handover import Handovers
from flow_processor.engine.local import LocalEngine
from flow_processor.engine.pool import WorkerPool
from flow_processor.errors import OctospoolError
from flow_processor.flow_data import first_data
from flow_processor.flow_files.editing import EditableLibrary
from flow_processor.locks import DataFolderLock, FlowLocks
from flow_processor.result_files import ResultFiles
from flow_processor.secrets import SecretStore
from flow_processor.service.cancels import Cancels
from flow_processor.service.child_records import ChildRecords
from flow_processor.service.child_runs import ChildRuns
from flow_processor.service.container_sweep import ContainerSweep
from flow_processor.service.daemon_id import daemon_id
from flow_processor.service.history import History
from flow_processor.service.launched_flows import LaunchedFlows
from flow_processor.service.launcher import Launcher
from flow_processor.service.live_runs import LiveRuns
from flow_processor.service.lost_runs import LostRuns
from flow_processor.service.own_code import OwnCode
from flow_processor.service.pruning import Pruning
from flow_processor.service.recovery import Recovery
from flow_processor.service.resumes import Resumes
from flow_processor.service.retention import Retention
from flow_processor.service.retries import Retries
from flow_processor.service.secret_store import secret_store
from flow_processor.service.shared_locks import SharedLocks
from flow_processor.service.told import Told
from flow_processor.service.turns import Turns
from flow_processor.service.webhooks import Webhooks
from flow_processor.service.worker_pool import worker_pool
from flow_processor.settings import Settings
from flow_processor.spec.retention import RetentionSpec
from flow_processor.step import Secret
from flow_processor.store import Store, database_file
from flow_processor.store.runs import RunRow

logger = logging.getLogger("octospool.service")


class Parts:
    """Builds each part when it is first needed, so that reading starts no thread and no process."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, *, worker_cores: Sequence[int] = ()
    ) -> None:
        """`worker_cores`: processor cores for workers, where the daemon itself keeps to one (engine/cores.py)."""
        self.settings = settings
        self._worker_cores = worker_cores
        self._api_url = settings.api_url
        self.clock = clock or SystemClock()
        self.own_code = OwnCode(settings, clock)
        self.library = EditableLibrary(
            settings.flows_path, code=self.own_code.use, defaults=settings.defaults_file
        )
        self.flow_locks = FlowLocks(settings.lock_path, self.clock)
        self.data_folder = DataFolderLock(settings.data_path)
        self._is_started = False
        self._has_schedule = False

    @cached_property
    def store(self) -> Store:
        """What the program remembers."""
        self.settings.create_folders()
        url = self.settings.database_url
        is_shared = database_file(url) is None
        return Store(url, daemon=daemon_id(self.settings.data_path, create=False) if is_shared else None)

    @cached_property
    def history(self) -> History:
        """The store's runs as answers."""
        return History(self.store, self.result_files, clock=self.clock, first_data_of=self.first_data_of)

    @cached_property
    def secrets(self) -> SecretStore:
        """Named secrets."""
        return secret_store(self.settings)

    @cached_property
    def engine(self) -> LocalEngine:
        """Hands runs to workers."""
        return LocalEngine(
            self.store,
            self._pool,
            clock=self.clock,
            get_secret=self._secret,
            default_timeout_seconds=self.settings.flow_timeout_seconds,
            first_data_of=self.first_data_of,
            handovers=self.handovers,
            on_ended=self.live.has_ended,
            on_children=lambda run, request: self.children.answer(run, request),
            on_worker_lost=lambda: self._container_sweep.worker_lost(),
        )

    @cached_property
    def handovers(self) -> Handovers:
        """What workers wrote down because no daemon was there."""
        return Handovers(self.store, self.settings.data_path / "handover")

    @cached_property
    def turns(self) -> Turns:
        """Locks of flows, and who waits for them."""
        return Turns(self.flow_locks, hand_out=lambda run: self.engine.submit(run), shared=self.shared_locks)

    @cached_property
    def shared_locks(self) -> SharedLocks | None:
        """Locks of flows over all daemons; None: there is only this one."""
        daemon = self.store.daemon
        return None if daemon is None else SharedLocks(self.store, daemon, clock=self.clock)

    @cached_property
    def live(self) -> LiveRuns:
        """Runs that have not ended."""
        return LiveRuns(self.turns, clock=self.clock, on_freed=self._run_freed)

    @cached_property
    def cancels(self) -> Cancels:
        """Ends runs."""
        return Cancels(
            self.store,
            self.turns,
            self.live,
            self.engine,
            leave_children=lambda run_id: self.children.leave(run_id),
            clock=self.clock,
        )

    @cached_property
    def children(self) -> ChildRuns:
        """Runs that are part of others."""
        return ChildRuns(
            self.store,
            ChildRecords(self.store, self.launched_flows, data_of=self.history.data_of, clock=self.clock),
            self.engine,
            live=self.live,
            cancels=self.cancels,
        )

    @cached_property
    def launcher(self) -> Launcher:
        """Accepts runs."""
        return Launcher(
            self.store,
            self.library,
            self.engine,
            turns=self.turns,
            live=self.live,
            cancels=self.cancels,
            clock=self.clock,
        )

    @cached_property
    def result_files(self) -> ResultFiles:
        """Large results of steps."""
        return ResultFiles(self.settings.results_path)

    @cached_property
    def pruning(self) -> Pruning:
        """What is too old or too much."""
        return Pruning(
            self.store,
            self.result_files,
            clock=self.clock,
            rule=self.settings.retention,
            rule_of=self._retention_of,
            known_versions=lambda: self.launcher.known_versions,
        )

    @cached_property
    def _retention(self) -> Retention:
        return Retention(self.store, self.pruning, clock=self.clock)

    def _retention_of(self, flow: str) -> RetentionSpec:
        try:
            return self.library.launchable(flow).spec.retention
        except OctospoolError:  # gone, or never right: what config.yml says counts alone
            return RetentionSpec()

    @cached_property
    def _pool(self) -> WorkerPool:
        # Who runs one flow and leaves needs no spare.
        spares = self.settings.spare_workers if self._has_schedule else 0
        return worker_pool(self.settings, spares=spares, cores=self._worker_cores, clock=self.clock)

    @cached_property
    def _recovery(self) -> Recovery:
        return Recovery(
            self.store,
            self.engine,
            handovers=self.handovers,
            flows=self.launched_flows,
            turns=self.turns,
            live=self.live,
            children=self.children,
            workers_path=self.settings.data_path / "workers",
            clock=self.clock,
        )

    @cached_property
    def _container_sweep(self) -> ContainerSweep:
        def is_at_work(worker_id: str, run_id: str) -> bool:
            return self.engine.is_at_work(worker_id, run_id) or self.live.is_left_behind(run_id)

        return ContainerSweep(self.settings, is_at_work=is_at_work, clock=self.clock)

    @cached_property
    def lost_runs(self) -> LostRuns:
        """Runs that nobody has."""
        return LostRuns(
            self.store,
            is_in_hands=lambda run_id: self.engine.has(run_id) or self.live.is_left_behind(run_id),
            clock=self.clock,
        )

    @cached_property
    def launched_flows(self) -> LaunchedFlows:
        """Flows as they were when runs were launched."""
        return LaunchedFlows(self.store)

    @cached_property
    def resumes(self) -> Resumes:
        """Lets interrupted runs go on."""
        return Resumes(
            self.store,
            self.launched_flows,
            self.engine,
            launcher=self.launcher,
            turns=self.turns,
            live=self.live,
            clock=self.clock,
        )

    @cached_property
    def retries(self) -> Retries:
        """Tries runs again."""
        return Retries(
            self.store,
            self.launched_flows,
            self.result_files,
            launcher=self.launcher,
            live=self.live,
            clock=self.clock,
        )

    @cached_property
    def webhooks(self) -> Webhooks:
        """Takes calls from outside that start flows."""
        return Webhooks(self.library, self.secrets, self.launcher, self.store, clock=self.clock)

    @cached_property
    def told(self) -> Told:
        """Sends signals and answers."""
        return Told(self.store, self.launched_flows, self.engine)

    def _run_freed(self, run: RunRow) -> None:
        """A run has ended, and its lock is free."""
        self.children.run_ended(run)

    def _secret(self, name: str) -> Secret:
        secret = self.secrets.get(name)
        if self.secrets.problem is not None:
            logger.error("secrets.yml is broken; the last good one is in force: %s", self.secrets.problem)
        return secret

    def first_data_of(self, run: RunRow) -> dict[str, Any]:
        """The flow data of a run before its first step."""
        accepted_at = from_epoch(run.created_at).astimezone(self.settings.zone)
        return first_data(
            run_id=run.id,
            flow=run.flow,
            timestamp=accepted_at.strftime("%Y%m%d%H%M%S"),
            api_url=self._api_url,
            payload=run.input,
            params=run.params,
            loop_index=run.parent_index,
            item=run.item,
        )
