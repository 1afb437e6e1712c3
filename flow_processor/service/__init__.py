"""The one composition root: builds the product from its parts, starts and stops it. Every verb is a method of it."""

from __future__ import annotations

import logging
import os

from flow_processor.service.daemon_id import daemon_id
from flow_processor.service.edit_verbs import EditVerbs
from flow_processor.service.restore import refuse_unfinished
from flow_processor.service.run_verbs import RunVerbs
from flow_processor.store import database_file
from flow_processor.version import VERSION

__all__ = ["Service"]

logger = logging.getLogger("octospool.service")

DAEMON_SEND_SECONDS = 3.0
"""A daemon that stops puts results on queues for so long; the next start goes on with the rest."""

RUN_SEND_SECONDS = 300.0
"""Who runs one flow and leaves does so for so long: nobody knows when the next start will be."""


class Service(RunVerbs, EditVerbs):
    """The product over one data folder. Not started it can read history and flow files; nothing else."""

    def start(self, *, schedule: bool = True, api_url: str | None = None) -> None:
        """Take the data folder, go on with what was under way, and (unless told not to) fire schedules.

        `api_url` is where its API listens, if it has one: it is shown to whoever finds the folder taken. Raises
        DataFolderInUse, SpecError (secrets.yml), StoreUnavailable, RestoreUnfinished.
        """
        self.settings.create_folders()
        refuse_unfinished(self.settings)
        for name in ("workers", "handover"):
            (self.settings.data_path / name).mkdir(exist_ok=True)
        self._has_schedule = schedule
        self.data_folder.acquire("serve" if schedule else "run", detail={"url": api_url} if api_url else {})
        self._api_url = api_url or self._api_url
        try:
            if database_file(self.settings.database_url) is None:
                daemon_id(self.settings.data_path, create=True)
            self.secrets.load()
            self.flow_locks.clear_stale()
            self.live.start()
            if self.daemons is not None:
                self.daemons.begin()
            self.edits.settle()
            self.engine.start()
            self.launcher.start()
            self._is_started = True
            if schedule:
                self.listening.load()
            self._recovery.start()
            self._retention.start()
            self.lost_runs.start()
            self.publisher.start()
            self._container_sweep.start()
            if schedule:
                self.added.start()
                self.listening.start()
                logger.info(
                    "octospool %s has begun, pid %d, data %s", VERSION, os.getpid(), self.settings.data_path
                )
            if self.daemons is not None:
                self.daemons.start()
        except BaseException:
            self.stop(0)
            raise

    def stop(self, grace_seconds: float | None = None) -> None:
        """Accept nothing more, let runs under way finish for `grace_seconds`, then leave; they go on next time."""
        grace = self.settings.shutdown_grace_seconds if grace_seconds is None else grace_seconds
        built = vars(self)
        if self._has_schedule and self._is_started:
            logger.info("stopping; runs under way get %g s to end", grace)
        if "store" in built:
            self.store.writer.hurry(grace)
        if "listening" in built:
            self.listening.close()
        if "engine" in built:
            self.launcher.is_closed = True
        if "scheduler" in built:
            self.scheduler.stop()
        if "_recovery" in built:
            self._recovery.stop()
        if "_retention" in built:
            self._retention.stop()
        if "lost_runs" in built:
            self.lost_runs.stop()
        if "turns" in built:
            self.turns.stop()
        if "engine" in built:
            self.launcher.stop()
            self.engine.stop(grace)
            self.live.stop()
        if "listening" in built:
            self.listening.stop()
        if "publisher" in built:
            self.publisher.stop(DAEMON_SEND_SECONDS if self._has_schedule else RUN_SEND_SECONDS)
        if "queue_backend" in built:
            self.queue_backend.close()
        if "_container_sweep" in built:
            self._container_sweep.stop()
        self.own_code.close()
        if built.get("daemons") is not None:
            built["daemons"].stop()
        if "store" in built:
            self.store.close()
        for lock in self.flow_locks.held():
            self.flow_locks.release(lock.flow, lock.run_id)
        self.data_folder.release()
        if self._has_schedule and self._is_started:
            logger.info("stopped")
