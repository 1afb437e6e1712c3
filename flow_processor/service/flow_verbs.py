"""What can be done with flow files, schedules and locks; and how the daemon is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from flow_processor.errors import LockNotFound, OctospoolError, Problem, SpecError
from flow_processor.flow_files import FileStatus
from flow_processor.flow_files.parsing import LoadedFlow, text_of
from flow_processor.graph import FORMS, draw_file
from flow_processor.locks import HeldLock
from flow_processor.service.flow_stats import FlowStats, flow_stats
from flow_processor.service.flow_views import AddedFlow, FlowFileDetail, FlowFileView
from flow_processor.service.health import (
    check_accepting,
    check_folders,
    check_queues,
    check_runs,
    check_scheduler,
    check_store,
    check_told,
    check_workers,
    looked_at,
)
from flow_processor.service.queue_parts import QueueParts
from flow_processor.service.views import LockView, Readiness
from flow_processor.spec.param_schema import params_schema
from flow_processor.store.file_items import FILES
from flow_processor.store.flow_edits import content_hash


class FlowVerbs(QueueParts):
    """Check and schedule flows, look at locks."""

    def flow_name(self, path: str) -> str:
        """A flow's path in its one spelling, with its suffix; the file need not exist. Raises InvalidRequest."""
        return self.library.name_of(path)

    def add_flow(self, path: str, params: Mapping[str, Any] | None = None) -> AddedFlow:
        """Put a flow into the scheduler; `params` for its runs lie on top of those of its schedule.

        Raises FlowNotFound, SpecError, FlowAlreadyAdded, InvalidRequest (also `params_invalid`).
        """
        return self.added.add(path, params)

    def added_flows(self) -> list[AddedFlow]:
        """Flows in the scheduler."""
        return self.added.all()

    def remove_flow(self, flow_id: str) -> None:
        """Take a flow out of the scheduler. Raises ScheduleNotFound."""
        self.scheduler.remove(flow_id)

    def locks(self) -> list[LockView]:
        """Locks that are held."""
        return [_lock_view(lock) for lock in self._held_locks()]

    def _held_locks(self) -> list[HeldLock]:
        """Those of this data folder, and of other daemons on the store."""
        shared = [] if self.shared_locks is None else self.shared_locks.of_others()
        return sorted([*self.flow_locks.held(), *shared], key=lambda lock: (lock.filename, lock.since))

    def _take_away(self, lock: HeldLock) -> bool:
        """Take a flow's lock from whoever holds it."""
        if self.shared_locks is not None:
            self.shared_locks.free(lock.flow)
        return self.flow_locks.remove(lock.flow) or self.shared_locks is not None

    def remove_lock(self, name: str) -> LockView:
        """Take a flow's lock away; its run goes on. Raises LockNotFound."""
        spellings = (name, f"{name}.yml", f"{name}.yaml")
        removed = next((lock for lock in self._held_locks() if lock.flow in spellings), None)
        if removed is None or not self._take_away(removed):
            raise LockNotFound(f"there is no lock of a flow '{name}'", details={"flow": name})
        self.turns.try_next(removed.flow)
        return _lock_view(removed)

    def remove_locks(self) -> list[LockView]:
        """Take all locks away; their runs go on."""
        removed = self._held_locks()
        for lock in removed:
            self._take_away(lock)
        for lock in removed:
            self.turns.try_next(lock.flow)
        return [_lock_view(lock) for lock in removed]

    def flow_files(self) -> list[FlowFileView]:
        """Every flow file, valid or with its problems."""
        return [FlowFileView(**asdict(self._with_jq_problems(file))) for file in self.library.files()]

    def flow_graph(self, path: str, form: str, *, sub_flows: bool = False) -> str:
        """A flow file drawn as one of FORMS. Raises FlowNotFound, InvalidRequest, SpecError."""
        return FORMS[form](draw_file(self.library, path, sub_flows=sub_flows))

    def defaults_problems(self) -> list[dict[str, Any]]:
        """What is wrong with defaults.yml as it lies there."""
        return [asdict(problem) for problem in self.library.defaults_problems()]

    def flow_file(self, path: str) -> FlowFileDetail:
        """One flow file, and the parameters of the version in force. Raises FlowNotFound, InvalidRequest."""
        file = self._with_jq_problems(self.library.status(path))
        try:
            params = params_schema(self.library.launchable(file.path).spec.params)
        except SpecError:
            params = None
        return FlowFileDetail(**asdict(file), params=params, **self._text(file.path))

    def _text(self, name: str) -> dict[str, str]:
        """The file's text and what tells it from others; nothing where it cannot be read."""
        try:
            found = self.library.content(name)
        except OctospoolError:  # its problems say why
            return {}
        return {} if found is None else {"text": text_of(found.content), "etag": content_hash(found.content)}

    def flow_stats(
        self, path: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> FlowStats:
        """How a flow has been doing. Raises FlowNotFound where there is neither a file nor a run of it."""
        flow = self.library.name_of(path)
        next_run = self.schedules.next_run_of(flow)
        stats = flow_stats(
            self.store, self.history, flow, since=since, until=until, next_run=next_run, clock=self.clock
        )
        if stats.last_run is None:
            self.library.status(flow)
        return stats

    def check(self, paths: Sequence[str] = ()) -> list[Problem]:
        """Everything wrong in these flow files (all of them where none is named)."""
        files = [self.library.status(path) for path in paths] if paths else self.library.files()
        return [problem for file in files for problem in self._with_jq_problems(file).problems]

    def _with_jq_problems(self, file: FileStatus) -> FileStatus:
        """The file's status with what only compiling its jq expressions shows; needs a started engine."""
        if not file.valid or not self._is_started:
            return file
        problems = self._jq_problems(self.library.load(file.path))
        return replace(file, valid=not problems, problems=problems) if problems else file

    def _jq_problems(self, flow: LoadedFlow) -> tuple[Problem, ...]:
        """What only compiling its jq expressions shows; nothing unless the engine is started."""
        if not self._is_started:
            return ()
        own = self.own_code.state().names
        return self.engine.expressions.problems(self.library.shown(flow.path), flow.text, own, flow.defaults)

    def readiness(self) -> Readiness:
        """New runs taken, store and data folder writable, scheduler ticking, workers answering."""
        checks = [
            check_accepting(self.launcher),
            check_store(self.store),
            check_folders(self.settings.lock_path, self.settings.data_path),
            check_scheduler(self.scheduler, self.clock),
            check_workers(self._pool, self.engine),
        ]
        ready = all(check.ok for check in checks)
        told = [
            check_told("autostart", self.added.problems, well="all entries in force"),
            check_told("webhooks", self.webhooks.problems, well="all can be called"),
            check_told("files", self._files_problems, well="all can be taken"),
            looked_at("queues", lambda: check_queues(self._stuck(), self.queues.paused())),
            check_told(
                "outbox", lambda: self.publisher.problems(), well="all results are put on their queues"
            ),
            check_runs(self.lost_runs),
        ]
        if self.daemons is not None:
            well = "no run waits for another daemon that is away"
            told.append(check_told("daemons", self.daemons.told, well=well))
        return Readiness(ready=ready, checks=[*checks, *told])

    def _stuck(self) -> list[str]:
        """What keeps queues from being worked off."""
        problem = self.listening.problem if "listening" in vars(self) else None
        return [*([] if problem is None else [problem]), *self.queues.stuck()]

    def _files_problems(self) -> list[str]:
        """What keeps files from starting flows, where they are watched."""
        if "listening" not in vars(self):
            return []
        return [*self.file_watch.problems(), *self.intake.problems(FILES)]


def _lock_view(lock: HeldLock) -> LockView:
    return LockView(filename=lock.filename, flow=lock.flow, timestamp=lock.since, run_id=lock.run_id)
