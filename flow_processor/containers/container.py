"""One container from its creation to its removal, whatever happens meanwhile.

A thread speaks with the engine, which may take long or never answer; whoever waits for the container looks at the
clock and at whether the run is being ended. The order is create, attach, start: then nothing that is printed is missed.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from flow_processor.containers.engine import Engine, EngineRefused, EngineUnavailable
from flow_processor.containers.images import ImageMissing, pull
from flow_processor.containers.output import AttachedOutput
from flow_processor.containers.wanted import WantedContainer
from flow_processor.errors import StepCancelled, StepError, StepTimeout
from flow_processor.printed import Printed

CANCEL_GRACE_SECONDS = 1.5
"""A container that is asked to end is killed after so long; worker and engine need the rest of their time."""

REMOVE_SECONDS = 10.0
"""So long the removal of a container that has ended is waited for; then it goes on behind the step's back."""

_REMOVE_CANCELLED_SECONDS, _REMOVE_LATE_SECONDS = 1.0, 0.15
"""The same where the worker itself is about to be ended: for a cancel, and for a time limit."""

_LOOK_SECONDS = 0.02
_REMOVE_PAUSES_SECONDS, _REMOVE_LATER_SECONDS = (0.1, 0.2, 0.4, 0.8), 5.0
_KILLED = 137


class ContainerNotStarted(StepError):
    """The engine could not create or start the container; the message has its words."""

    code = "container_not_started"


class ContainerUnclear(StepError):
    """The engine was lost when the container had begun: nobody knows whether it did its work. Not retried."""

    code = "docker_unclear"

    def __init__(self, why: str):
        super().__init__(
            f"the container had begun and may have done its work: {why}", details={"outcome": "unknown"}
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """What a container came to."""

    exit_code: int
    ran_out_of_memory: bool
    """It reached its memory limit and was killed for that."""


class Container:
    """One container, to be run once."""

    def __init__(
        self, engine: Engine, wanted: WantedContainer, *, printed: Printed, log: Callable[[str, str], None]
    ) -> None:
        """`printed` gets what it prints; `log(text, level)` what is to be told about it."""
        self._engine = engine
        self._wanted = wanted
        self._printed = printed
        self._log = log
        # Ours, so that it can be removed when the engine has not said yet what it calls it.
        self._name = f"octospool-{secrets.token_hex(8)}"
        self._doing = "connect"
        self._guard = threading.Lock()
        self._is_over = False
        """Nobody waits for it any more: it must not be started."""
        self._was_created = False
        self._was_started = False
        self._done = threading.Event()
        self._failure: BaseException | None = None
        self._ended: Ended | None = None
        self._output: AttachedOutput | None = None
        self._removal_tried = threading.Event()
        """It is removed, or cannot be just now."""
        self._is_removed = False

    def run(self, *, stop: threading.Event, remaining_seconds: Callable[[], float | None]) -> Ended:
        """Run it and wait for its end; then it is removed.

        Raises StepCancelled once `stop` is set, StepTimeout when no seconds remain, EngineUnavailable,
        ContainerUnclear, ContainerNotStarted, ImageMissing, PullFailed, and StepError `output_too_large`.
        """
        threading.Thread(target=self._work, name="container", daemon=True).start()
        try:
            self._watch(stop, remaining_seconds)
            self._printed.check_room("the container")
            return self._result()
        finally:
            with self._guard:
                self._is_over = True
            self._printed.close()
            left = remaining_seconds()
            in_time = REMOVE_SECONDS if left is None else min(REMOVE_SECONDS, max(_REMOVE_LATE_SECONDS, left))
            self._remove_within(_REMOVE_CANCELLED_SECONDS if stop.is_set() else in_time)

    def _watch(self, stop: threading.Event, remaining_seconds: Callable[[], float | None]) -> None:
        while not self._done.wait(_LOOK_SECONDS):
            if stop.is_set():
                self._ask_to_end()
                raise StepCancelled("the container was ended, for the run is being ended")
            if remaining_seconds() == 0:
                raise self._too_late()
            self._printed.check_room("the container")

    def _too_late(self) -> StepError:
        if self._doing == "run":
            return StepTimeout("the container did not end within the step's time limit and was ended")
        if self._doing == "pull":
            return StepTimeout(f"the image {self._wanted.image} was not there within the step's time limit")
        message = (
            f"the Docker engine at {self._engine.host} did not answer within the step's time limit, when it was to "
            f"{self._doing}"
        )
        return self._told(EngineUnavailable(message))

    def _result(self) -> Ended:
        if self._failure is not None:
            raise self._failure
        if self._ended is None:  # only where the thread was torn down
            raise self._told(EngineUnavailable("the container's end was not told"))
        return self._ended

    def _told(self, error: StepError) -> StepError:
        """An error of the engine, as it is to be told: once the container may have begun it says so."""
        return ContainerUnclear(error.message) if self._was_started else error

    # The thread that speaks with the engine.

    def _work(self) -> None:
        try:
            self._remove_earlier()
            self._create()
            self._run()
        except (EngineUnavailable, EngineRefused) as error:
            self._failure = self._told(error)
        except BaseException as error:  # noqa: BLE001  raised again by whoever waits
            self._failure = error
        finally:
            self._done.set()
        with self._guard:
            is_left = self._is_over and self._was_created
        if is_left:  # it came into being when nobody waited for it any more
            self._remove()

    def _remove_earlier(self) -> None:
        """What an earlier worker has left of this very step must not go on beside it."""
        self._doing = "list containers"
        for left in self._engine.containers(self._wanted.own_labels):
            self._doing = "remove a container"
            self._engine.remove(left.id)
            self._log("a container that an earlier attempt of the step had left was removed", "warning")

    def _create(self) -> None:
        wanted = self._wanted
        if wanted.pull == "always":
            self._pull()
        try:
            self._ask_for_it()
        except EngineRefused as error:
            if not _says_no_image(error):
                raise ContainerNotStarted(str(error)) from error
            if wanted.pull == "never":
                raise ImageMissing(wanted.image) from error
            self._pull()
            self._ask_for_it()

    def _pull(self) -> None:
        self._doing = "pull"
        self._log(f"fetching the image {self._wanted.image}", "info")
        wanted = self._wanted
        pull(self._engine, wanted.image, wanted.credentials, is_wanted=lambda: not self._is_over)

    def _ask_for_it(self) -> None:
        self._doing = "create a container"
        with self._guard:
            if self._is_over:
                raise StepCancelled("the container was not created, for its step has ended")
            self._was_created = True
        with self._engine.answering("create the container") as client:
            created = client.create_container_from_config(self._wanted.as_config(), self._name)
        for warning in created.get("Warnings") or ():
            if (
                "discarded" in warning.lower()
            ):  # a limit that this kernel, or an engine without root, cannot hold
                self._log(f"the Docker engine says: {warning}", "warning")

    def _run(self) -> None:
        self._doing = "attach to a container"
        with self._engine.answering("attach to the container") as client:
            wanted = {"stdout": 1, "stderr": 1, "stream": 1}
            self._output = output = AttachedOutput(client.attach_socket(self._name, params=wanted))
        try:
            self._start()
            self._doing = "run"
            while (piece := output.next()) is not None:
                if not self._printed.take(piece[0], is_error=piece[1]):
                    return
            for is_error in (False, True):
                self._printed.end(is_error=is_error)
        except OSError as error:
            raise EngineUnavailable(f"the connection to the Docker engine broke: {error}") from error
        finally:
            output.close()
        self._ended = self._end()

    def _start(self) -> None:
        self._doing = "start a container"
        with self._guard:
            if self._is_over:
                raise StepCancelled("the container was not started, for its step has ended")
            self._was_started = True
        try:
            with self._engine.answering("start the container") as client:
                client.start(self._name)
        except EngineRefused as error:
            raise ContainerNotStarted(str(error)) from error

    def _end(self) -> Ended:
        with self._engine.answering("wait for the container") as client:
            exit_code = int(client.wait(self._name, timeout=None)["StatusCode"])
        if exit_code != _KILLED:
            return Ended(exit_code, ran_out_of_memory=False)
        with self._engine.answering("look at the container") as client:
            state = client.inspect_container(self._name)["State"]
        return Ended(exit_code, ran_out_of_memory=bool(state["OOMKilled"]))

    # Its end.

    def _ask_to_end(self) -> None:
        """SIGTERM, and a little time."""

        def ask() -> None:
            with contextlib.suppress(StepError), self._engine.answering("end the container") as client:
                client.kill(self._name, signal="SIGTERM")

        with self._guard:
            if not self._was_started:
                return
        threading.Thread(target=ask, name="container-end", daemon=True).start()
        self._done.wait(CANCEL_GRACE_SECONDS)

    def _remove_within(self, seconds: float) -> None:
        """Remove it. What does not succeed in this time goes on while the worker lives; then the daemon does it."""
        if not self._was_created:
            return
        if self._output is not None and not self._done.is_set():
            self._output.interrupt()  # the engine would wait for somebody to take what is printed
        threading.Thread(target=self._remove, name="container-removal", daemon=True).start()
        self._removal_tried.wait(seconds)
        if not self._is_removed:
            self._log("the container is not removed yet; it will be once the engine answers", "warning")

    def _remove(self) -> None:
        """Until it is done: while the run goes on in this worker, nobody else would do it."""
        for pause in itertools.chain(_REMOVE_PAUSES_SECONDS, itertools.repeat(_REMOVE_LATER_SECONDS)):
            with contextlib.suppress(StepError):
                self._engine.remove(self._name)
                self._is_removed = True
                self._removal_tried.set()
                return
            if pause == _REMOVE_LATER_SECONDS:
                self._removal_tried.set()
            time.sleep(pause)


def _says_no_image(error: EngineRefused) -> bool:
    return error.status == 404 and "no such image" in error.said.lower()
