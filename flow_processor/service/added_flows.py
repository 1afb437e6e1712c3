"""Flows in the scheduler: added by autostart or by API, and started when their slots come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from flow_processor.clock import from_epoch
from flow_processor.errors import OctospoolError
from flow_processor.flow_files import FlowLibrary
from flow_processor.run import RunStatus, Trigger
from flow_processor.scheduling.flow_scheduler import AddedSchedule, FlowScheduler
from flow_processor.scheduling.hand_over import ScheduledLaunch
from flow_processor.service.cause import Cause
from flow_processor.service.flow_views import AddedFlow
from flow_processor.service.launcher import Launcher
from flow_processor.service.live_runs import LiveRuns
from flow_processor.settings import AutostartEntry, Settings
from flow_processor.spec.params import clean_params
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store import Connection
from flow_processor.store.given_schedules import GivenScheduleStore
from flow_processor.store.runs import RunRow
from flow_processor.store.schedule_rows import Origin
from flow_processor.store.slots import SlotOutcome, claim_slot

logger = logging.getLogger("octospool.service")


class AddedFlows:
    """The scheduler's verbs as the service has them."""

    def __init__(
        self,
        settings: Settings,
        library: FlowLibrary,
        launcher: Launcher,
        *,
        live: LiveRuns,
        scheduler: Callable[[], FlowScheduler],
        given: Callable[[], GivenScheduleStore],
    ) -> None:
        self._settings = settings
        self._library = library
        self._launcher = launcher
        self._live = live
        self._scheduler = scheduler
        self._given = given
        self._autostart_problems: list[str] = []

    def start(self) -> None:
        """Take over what the store remembers, add what config.yml names, and begin to fire."""
        scheduler = self._scheduler()
        scheduler.load()
        for problem in self._settings.autostart_problems:
            self._complain(str(problem))
        named = [self._add_autostart(entry) for entry in self._settings.autostart]
        scheduler.forget_autostart(except_flows=named)
        scheduler.start()

    def _add_autostart(self, entry: AutostartEntry) -> str:
        """Add an entry; where it is bad, the others start all the same. Returns the flow's path."""
        rule = None
        if entry.cron is not None or entry.every_seconds is not None:
            rule = ScheduleSpec(cron=entry.cron, every_seconds=entry.every_seconds)
        flow = entry.path
        try:
            flow = self._library.status(entry.path).path
            limit, params = entry.timeout_seconds, entry.params
            self._scheduler().add(flow, Origin.AUTOSTART, rule=rule, timeout_seconds=limit, params=params)
        except OctospoolError as error:
            self._complain(f"{entry.path}: {error.message}")
        return flow

    def _complain(self, problem: str) -> None:
        logger.error("autostart: %s", problem)
        self._autostart_problems.append(problem)

    def problems(self) -> list[str]:
        """What is wrong with autostart entries."""
        stuck = self._scheduler().problems(Origin.AUTOSTART)
        return [*self._autostart_problems, *(f"{flow}: {problem}" for flow, problem in stuck)]

    def add(self, path: str, params: Mapping[str, Any] | None = None) -> AddedFlow:
        """Put a flow into the scheduler by its path; `params` lie on top of those of its schedule."""
        flow = self._library.status(path).path
        flow_id = self._scheduler().add(flow, Origin.FLOW, params=params)
        return self._view(self._scheduler().added_one(flow_id), is_running=flow in self._live.flows())

    def check_params(self, flow: str, params: Mapping[str, Any]) -> None:
        """Raises InvalidRequest (`params_invalid`) where the flow does not take these values."""
        clean_params(self._library.launchable(flow).spec.params, params)

    def all(self) -> list[AddedFlow]:
        """Every flow in the scheduler."""
        live = self._live.flows()
        return [self._view(added, is_running=added.flow in live) for added in self._scheduler().added()]

    def _view(self, added: AddedSchedule, *, is_running: bool) -> AddedFlow:
        return AddedFlow(
            flow_id=added.schedule_id,
            path=added.flow,
            origin=added.origin.value,
            cron=added.cron,
            every_seconds=added.every_seconds,
            timezone=added.timezone,
            params=dict(added.params),
            next_run=added.next_slot,
            last_run=added.last_slot,
            last_run_id=added.last_run_id,
            running=is_running,
            problem=added.problem,
        )

    def launch(self, due: ScheduledLaunch) -> Future[RunRow | None]:
        """Start the run of a slot; claim and run are one transaction, so a slot starts at most one."""

        def claim(connection: Connection, run: RunRow) -> bool:
            is_skipped = run.status is RunStatus.SKIPPED
            return claim_slot(
                connection,
                due.schedule_id,
                due.slot,
                outcome=SlotOutcome.SKIPPED if is_skipped else SlotOutcome.STARTED,
                at=from_epoch(run.created_at),
                run_id=run.id,
                reason=None if run.error is None else run.error["message"],
                revision=due.revision,
            )

        cause = Cause(
            Trigger.SCHEDULE,
            due.schedule_id,
            timeout_seconds=due.timeout_seconds,
            schedule_id=due.schedule_id,
            slot=due.slot.timestamp(),
            claim=claim,
            waits_its_turn=due.is_missed,
        )
        payload = self._given().input_of(due.schedule_id) if due.has_input else None
        return self._launcher.launch_soon(due.flow, payload=payload, params=dict(due.params), cause=cause)
