"""The thread that removes containers which outlive their run. An engine that hangs holds up nobody but it."""

from __future__ import annotations

import logging
import threading

from flow_processor.clock import Clock
from flow_processor.containers.engine import Engine, EngineRefused, EngineUnavailable, LabelledContainer
from flow_processor.containers.labels import OWNER_FILE, RUN_LABEL, STEP_LABEL
from flow_processor.service.left_containers import IsAtWork, left_containers, own_containers
from flow_processor.settings import Settings

logger = logging.getLogger("octospool.service")

FIRST_SECONDS = 1.0
"""How long after the start the first look comes: it loads the SDK, and going on with runs comes first."""

LOOK_SECONDS = 5.0
"""Pause between two looks. A worker that is killed while the engine makes a container for it leaves one that the look
at its death does not see; the next one does."""

SILENCE_SECONDS = 5.0
"""So long the engine may take for an answer."""

STOP_SECONDS = 2.0
"""So long a stop waits for the look that a worker's death has made due."""


class ContainerSweep:
    """Looks soon after the start, whenever a worker was lost, and every few seconds; where flows may have no
    containers any more, until none is left of the time when they might."""

    def __init__(self, settings: Settings, *, is_at_work: IsAtWork, clock: Clock) -> None:
        """`is_at_work`: see `left_containers`."""
        self._settings = settings
        self._engine = Engine(settings.docker_host, timeout_seconds=SILENCE_SECONDS)
        self._is_at_work = is_at_work
        self._clock = clock
        self._due = threading.Event()
        """A worker was lost since the last look began."""
        self._is_owed = False
        """A worker was lost, and no look that has succeeded since."""
        self._is_stopping = threading.Event()
        self._wake = threading.Event()
        self._is_silent = False
        """The engine did not answer the last time."""
        self._has_left = False
        """The data folder may be somebody else's now: nothing is removed any more."""
        self._is_over = False
        """Flows may have no containers, and there is none."""
        self._refused: set[str] = set()
        """Ids of containers that it does not remove; said once."""
        self._thread = threading.Thread(target=self._work, name="containers", daemon=True)

    def start(self) -> None:
        """Begin soon; nothing where flows never might have containers."""
        if self._settings.docker.enabled or (self._settings.data_path / OWNER_FILE).exists():
            self._thread.start()

    def worker_lost(self) -> None:
        """Look now. Returns at once."""
        self._due.set()
        self._wake.set()

    def stop(self) -> None:
        """Look once more if a worker was lost just now and the engine is well; then leave."""
        self._is_stopping.set()
        self._wake.set()
        # Else there is nothing to wait for, whatever the engine does. The next start looks again.
        if self._thread.is_alive() and (self._due.is_set() or self._is_owed):
            self._thread.join(STOP_SECONDS)
        self._has_left = True

    def _work(self) -> None:
        pause = FIRST_SECONDS
        while not self._is_stopping.is_set():
            self._clock.wait(self._wake, pause)
            pause = LOOK_SECONDS
            self._wake.clear()
            self._is_owed = self._is_owed or self._due.is_set()
            self._due.clear()
            if not self._is_stopping.is_set() or (self._is_owed and not self._is_silent):
                self._look()
            if self._is_over:
                break
        self._engine.close()

    def _look(self) -> None:
        try:
            data_path = self._settings.data_path
            for container in left_containers(self._engine, data_path, is_at_work=self._is_at_work):
                if not self._has_left:
                    self._remove(container)
            if not self._settings.docker.enabled:
                self._is_over = not own_containers(self._engine, data_path)
        except (EngineUnavailable, EngineRefused) as error:
            if not self._is_silent:
                # Where containers are switched off, the engine may well be gone for good.
                level = logging.WARNING if self._settings.docker.enabled else logging.INFO
                logger.log(level, "containers that a crash may have left cannot be removed now: %s", error)
            self._is_silent = True
        except Exception:  # whatever it is, the next look may do better; without this there would be none
            logger.exception("containers that a crash may have left cannot be removed now")
        else:
            if self._is_silent:
                logger.info("the Docker engine answers again")
            self._is_silent = self._is_owed = False

    def _remove(self, container: LabelledContainer) -> None:
        where = {"run": container.labels.get(RUN_LABEL, ""), "step": container.labels.get(STEP_LABEL, "")}
        name = container.id[:12]
        try:
            self._engine.remove(container.id)
        except EngineRefused as error:
            if container.id not in self._refused:
                logger.error("container %s was left behind and stays: %s", name, error, extra=where)
            self._refused.add(container.id)
        else:
            logger.warning("container %s was left behind (%s); removed", name, container.state, extra=where)
