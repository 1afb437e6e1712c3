"""The one composition root: builds the product from its parts, starts and stops it. Every verb is a method here."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from flow_processor.clock import Clock, SystemClock, from_epoch
from flow_processor.documents import to_json_value
from flow_processor.engine.local import LocalEngine
from flow_processor.engine.order import WorkerSettings
from flow_processor.engine.pool import WorkerPool
from flow_processor.errors import InvalidRequest, LockNotFound, OctospoolError, Problem, StepError
from flow_processor.flow_data import first_data
from flow_processor.flow_files import FileStatus, FlowLibrary
from flow_processor.locks import DataFolderLock, FlowLocks, HeldLock
from flow_processor.run import RunStatus, Trigger
from flow_processor.scheduling.flow_scheduler import FlowScheduler
from flow_processor.secrets import SecretStore
from flow_processor.service.added_flows import AddedFlows
from flow_processor.service.health import check_autostart, check_scheduler, check_store, check_workers
from flow_processor.service.history import History
from flow_processor.service.launcher import Cause, Launcher
from flow_processor.service.recovery import Recovery
from flow_processor.service.views import (
    AddedFlow,
    FlowFileView,
    LockView,
    LogPage,
    Readiness,
    RunDetail,
    RunPage,
    RunSummary,
)
from flow_processor.settings import Settings
from flow_processor.step import Secret
from flow_processor.store import Store, store_files
from flow_processor.store.runs import RunFilter, RunRow
from flow_processor.store.schedules import ScheduleStore
from flow_processor.version import VERSION

__all__ = ["Service"]

logger = logging.getLogger("octospool.service")

MAX_STEPS = 1000
"""So many attempts of steps a run's answer shows unless asked for more."""


class Service:
    """The product over one data folder. Not started it can read history and flow files; nothing else."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, *, worker_cores: Sequence[int] = ()
    ) -> None:
        """`worker_cores`: processor cores for workers, where the daemon itself keeps to one (engine/cores.py)."""
        self.settings = settings
        self._worker_cores = worker_cores
        self.clock = clock or SystemClock()
        self.library = FlowLibrary(settings.flows_path)
        self.flow_locks = FlowLocks(settings.lock_path, self.clock)
        self.data_folder = DataFolderLock(settings.data_path)
        self._is_started = False
        self._has_schedule = False

    # Parts. Each is built when it is first needed, so that reading starts no thread and no process.

    @cached_property
    def store(self) -> Store:
        """What the program remembers."""
        self.settings.create_folders()
        return Store(self.settings.database_url)

    @cached_property
    def history(self) -> History:
        """The store's runs as answers."""
        return History(self.store, clock=self.clock, first_data_of=self.first_data_of)

    @cached_property
    def secrets(self) -> SecretStore:
        """Named secrets."""
        return SecretStore(
            self.settings.secrets_path,
            # With the token that counts: without API_TOKEN set, a grant of ${API_TOKEN} means the default one.
            {**self.settings.environment, "API_TOKEN": self.settings.api_token},
            vault_token=self.settings.hashicorp_vault_token,
            vault_ttl_seconds=self.settings.hashicorp_vault_cache_ttl,
        )

    @cached_property
    def launcher(self) -> Launcher:
        """Accepts runs."""
        launcher = Launcher(self.store, self.flow_locks, self.library, clock=self.clock)
        launcher.engine = LocalEngine(
            self.store,
            self._pool,
            clock=self.clock,
            get_secret=self._secret,
            default_timeout_seconds=self.settings.flow_timeout_seconds,
            first_data_of=self.first_data_of,
            on_ended=launcher.has_ended,
        )
        return launcher

    @cached_property
    def _pool(self) -> WorkerPool:
        settings = self.settings
        private = [*settings.private_paths, *store_files(settings.database_url)]
        for_workers = WorkerSettings(
            worker_id="",
            data_path=str(settings.data_path),
            templates_path=str(settings.templates_path),
            private_paths=[str(path) for path in private],
            workers_path=str(settings.data_path / "workers"),
            handover_path=str(settings.data_path / "handover"),
            results_path=str(settings.results_path),
            timezone=settings.timezone,
            memory_mb=settings.worker_memory_mb,
            cores=self._worker_cores,
        )
        return WorkerPool(
            for_workers,
            environment=settings.environment,
            max_workers=settings.max_workers,
            # Who runs one flow and leaves needs no spare.
            spare_workers=settings.spare_workers if self._has_schedule else 0,
            clock=self.clock,
        )

    @cached_property
    def _recovery(self) -> Recovery:
        return Recovery(
            self.store,
            self.launcher,
            workers_path=self.settings.data_path / "workers",
            handover_path=self.settings.data_path / "handover",
            clock=self.clock,
        )

    @cached_property
    def scheduler(self) -> FlowScheduler:
        """Fires schedules."""
        return FlowScheduler(
            ScheduleStore(self.store.writer, self.store.engine),
            launch=lambda due: self.added.launch(due),
            rule_of=lambda flow: self.library.launchable(flow).spec.schedule_rule,
            clock=self.clock,
            zone=self.settings.zone,
            changed=self._changed_flows,
        )

    @cached_property
    def added(self) -> AddedFlows:
        """Flows in the scheduler."""
        return AddedFlows(self.settings, self.library, self.launcher, lambda: self.scheduler)

    def _secret(self, name: str) -> Secret:
        secret = self.secrets.get(name)
        if self.secrets.problem is not None:
            logger.error("secrets.yml is broken; the last good one is in force: %s", self.secrets.problem)
        return secret

    def _changed_flows(self) -> set[str]:
        """Paths of flow files that changed; says in the log what is wrong with them now."""
        changed = self.library.changed()
        for path in changed:
            try:
                file = self.library.status(path)
            except OctospoolError as error:
                logger.warning("%s", error.message, extra={"flow": path})
                continue
            if file.problems:
                state = "the last good version stays in force" if file.last_good_in_force else "it cannot run"
                text = "; ".join(str(problem) for problem in file.problems)
                logger.warning("broken, %s: %s", state, text, extra={"flow": path})
        return changed

    # Start and stop.

    def start(self, *, schedule: bool = True, detail: Mapping[str, Any] | None = None) -> None:
        """Take the data folder, go on with what was under way, and (unless told not to) fire schedules.

        `detail` is shown to whoever finds the folder taken. Raises DataFolderInUse, SpecError (secrets.yml),
        StoreUnavailable.
        """
        self.settings.create_folders()
        for name in ("workers", "handover"):
            (self.settings.data_path / name).mkdir(exist_ok=True)
        self._has_schedule = schedule
        self.data_folder.acquire("serve" if schedule else "run", detail=dict(detail or {}))
        try:
            self.secrets.load()
            self.flow_locks.clear_stale()
            self.launcher.start()
            self._is_started = True
            self._recovery.start()
            if schedule:
                self.added.start()
                logger.info(
                    "octospool %s has begun, pid %d, data %s", VERSION, os.getpid(), self.settings.data_path
                )
        except BaseException:
            self.stop(0)
            raise

    def stop(self, grace_seconds: float | None = None) -> None:
        """Accept nothing more, let runs under way finish for `grace_seconds`, then leave; they go on next time."""
        grace = self.settings.shutdown_grace_seconds if grace_seconds is None else grace_seconds
        built = vars(self)
        if self._has_schedule and self._is_started:
            logger.info("stopping; runs under way get %g s to end", grace)
        if "launcher" in built:
            self.launcher.is_closed = True
        if "scheduler" in built:
            self.scheduler.stop()
        if "_recovery" in built:
            self._recovery.stop()
        if "launcher" in built:
            self.launcher.stop(grace)
        if "store" in built:
            self.store.close()
        for lock in self.flow_locks.held():
            self.flow_locks.release(lock.flow, lock.run_id)
        self.data_folder.release()
        if self._has_schedule and self._is_started:
            logger.info("stopped")

    # Runs.

    def launch(
        self,
        path: str,
        *,
        data: Any = None,
        params: dict[str, Any] | None = None,
        trigger: Trigger = Trigger.API,
        by: str = "api",
    ) -> RunSummary:
        """Accept a run of a flow; durable when this returns. `data` becomes `__input__`.

        Raises FlowNotFound, SpecError, FlowRunning, InvalidRequest, ShuttingDown, StoreUnavailable.
        """
        try:
            payload, given = to_json_value(data), None if params is None else to_json_value(params)
        except StepError as error:
            raise InvalidRequest(f"the data cannot be taken: {error.message}") from error
        run = self.launcher.launch(path, payload=payload, params=given, cause=Cause(trigger, by))
        if run is None:
            raise InvalidRequest("nothing was started")
        return self.history.summary(run)

    def wait_for_run(self, run_id: str, seconds: float) -> RunDetail:
        """The run when it has ended, or as it is after `seconds`."""
        outcome = self.launcher.wait(run_id, seconds)
        if outcome is None:
            return self.run(run_id)
        return self.history.detail(*outcome, max_steps=MAX_STEPS)

    def run(self, run_id: str, *, max_steps: int = MAX_STEPS) -> RunDetail:
        """One run with its steps and data. Raises RunNotFound."""
        return self.history.run(run_id, max_steps=max_steps)

    def runs(
        self,
        *,
        flow: str | None = None,
        status: Sequence[RunStatus] = (),
        trigger: Sequence[Trigger] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> RunPage:
        """Runs, newest first."""
        wanted = RunFilter(flow, tuple(status), tuple(trigger), since, until)
        return self.history.page(wanted, limit=limit, cursor=cursor)

    def run_logs(self, run_id: str, *, after: int = 0, limit: int = 1000, wait_seconds: float = 0) -> LogPage:
        """Lines of a run's own log after a cursor; waits up to `wait_seconds` for the first while it is live."""
        return self.history.logs(run_id, after=after, limit=limit, wait_seconds=wait_seconds)

    def cancel_run(self, run_id: str, *, by: str) -> RunSummary:
        """Ask for a run's end; the wish is durable when this returns. Raises RunNotFound, RunHasEnded."""
        self.history.row(run_id)
        self.launcher.cancel(run_id, by=by)
        return self.history.summary(self.history.row(run_id))

    def delete_run(self, run_id: str) -> None:
        """Delete a run that has ended. Raises RunNotFound, RunIsLive."""
        self.history.delete(run_id)

    def delete_runs(self, *, older_than_days: float | None, status: Sequence[RunStatus]) -> int:
        """Delete ended runs; how many went. Raises InvalidRequest if neither filter is given."""
        return self.history.delete_many(older_than_days=older_than_days, status=status)

    # Flows and locks.

    def add_flow(self, path: str) -> AddedFlow:
        """Put a flow into the scheduler. Raises FlowNotFound, SpecError, FlowAlreadyAdded, InvalidRequest."""
        return self.added.add(path)

    def added_flows(self) -> list[AddedFlow]:
        """Flows in the scheduler."""
        return self.added.all()

    def remove_flow(self, flow_id: str) -> None:
        """Take a flow out of the scheduler. Raises ScheduleNotFound."""
        self.scheduler.remove(flow_id)

    def locks(self) -> list[LockView]:
        """Locks that are held."""
        return [_lock_view(lock) for lock in self.flow_locks.held()]

    def remove_lock(self, name: str) -> LockView:
        """Take a flow's lock away; its run goes on. Raises LockNotFound."""
        spellings = (name, f"{name}.yml", f"{name}.yaml")
        removed = next((lock for lock in self.flow_locks.held() if lock.flow in spellings), None)
        if removed is None or not self.flow_locks.remove(name):
            raise LockNotFound(f"there is no lock of a flow '{name}'", details={"flow": name})
        self.launcher.try_next(removed.flow)
        return _lock_view(removed)

    def remove_locks(self) -> list[LockView]:
        """Take all locks away; their runs go on."""
        removed = self.flow_locks.held()
        self.flow_locks.remove_all()
        for lock in removed:
            self.launcher.try_next(lock.flow)
        return [_lock_view(lock) for lock in removed]

    def flow_files(self) -> list[FlowFileView]:
        """Every flow file, valid or with its problems."""
        return [FlowFileView(**asdict(self._with_jq_problems(file))) for file in self.library.files()]

    def check(self, paths: Sequence[str] = ()) -> list[Problem]:
        """Everything wrong in these flow files (all of them where none is named)."""
        files = [self.library.status(path) for path in paths] if paths else self.library.files()
        return [problem for file in files for problem in self._with_jq_problems(file).problems]

    def _with_jq_problems(self, file: FileStatus) -> FileStatus:
        """The file's status with what only compiling its jq expressions shows; needs a started engine."""
        if not file.valid or not self._is_started:
            return file
        text = self.library.load(file.path).text
        problems = self.launcher.engine.expressions.problems(self.library.shown(file.path), text)
        return replace(file, valid=not problems, problems=problems) if problems else file

    def readiness(self) -> Readiness:
        """Store writable, scheduler ticking, workers answering."""
        checks = [
            check_store(self.store),
            check_scheduler(self.scheduler, self.clock),
            check_workers(self._pool, self.launcher.engine),
        ]
        ready = all(check.ok for check in checks)
        return Readiness(ready=ready, checks=[*checks, check_autostart(self.added.problems())])

    def first_data_of(self, run: RunRow) -> dict[str, Any]:
        """The flow data of a run before its first step."""
        accepted_at = from_epoch(run.created_at).astimezone(self.settings.zone)
        return first_data(
            run_id=run.id,
            flow=run.flow,
            timestamp=accepted_at.strftime("%Y%m%d%H%M%S"),
            api_url=self.settings.api_url,
            payload=run.input,
            params=run.params,
        )


def _lock_view(lock: HeldLock) -> LockView:
    return LockView(filename=lock.filename, flow=lock.flow, timestamp=lock.since, run_id=lock.run_id)
