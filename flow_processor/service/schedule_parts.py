"""The parts that start flows by the clock."""

from __future__ import annotations

import logging
import socket
from functools import cached_property

from flow_processor.errors import OctospoolError
from flow_processor.scheduling.flow_scheduler import FlowScheduler
from flow_processor.service.added_flows import AddedFlows
from flow_processor.service.daemons import Daemons
from flow_processor.service.parts import Parts
from flow_processor.service.schedules import Schedules
from flow_processor.store.given_schedules import GivenScheduleStore
from flow_processor.store.schedules import ScheduleStore

logger = logging.getLogger("octospool.service")


class ScheduleParts(Parts):
    """With the scheduler, the flows that are added to it, and the other daemons that fire the same schedules."""

    @cached_property
    def scheduler(self) -> FlowScheduler:
        """Fires schedules."""
        return FlowScheduler(
            ScheduleStore(self.store.writer, self.store.engine),
            self._given_schedules,
            launch=lambda due: self.added.launch(due),
            rule_of=lambda flow: self.library.launchable(flow).spec.schedule_rule,
            check_params=lambda flow, params: self.added.check_params(flow, params),
            clock=self.clock,
            zone=self.settings.zone,
            changed=self._changed_flows,
        )

    @cached_property
    def added(self) -> AddedFlows:
        """Flows in the scheduler."""
        return AddedFlows(
            self.settings,
            self.library,
            self.launcher,
            live=self.live,
            scheduler=lambda: self.scheduler,
            given=lambda: self._given_schedules,
        )

    @cached_property
    def _given_schedules(self) -> GivenScheduleStore:
        return GivenScheduleStore(self.store.writer, self.store.engine)

    @cached_property
    def schedules(self) -> Schedules:
        """Schedules of every origin."""
        return Schedules(
            self.library,
            self._given_schedules,
            self.scheduler,
            live=self.live,
            settings=self.settings,
            check_flow=lambda flow: self.launcher.bundle_of(flow) if self._is_started else None,
        )

    @cached_property
    def daemons(self) -> Daemons | None:
        """The other daemons on the store; None: there cannot be any."""
        if self.store.daemon is None:
            return None
        return Daemons(
            self.store,
            self.store.daemon,
            name=f"{socket.gethostname()}:{self.settings.data_path}",
            url=self._api_url,
            clock=self.clock,
            adopt=lambda run_id: self._recovery.take_over(run_id),
            schedules_changed=lambda: self.scheduler.take_in() if self._has_schedule else None,
        )

    def _changed_flows(self) -> set[str]:
        """Paths of flow files that changed; says in the log what is wrong with them now."""
        changed = self.library.changed()
        for problem in self.library.new_defaults_problems():
            logger.warning("broken, the last good version (if any) stays in force: %s", problem)
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
