"""A Docker engine as we speak to it: every call has a limit, and its errors are ours."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flow_processor.errors import StepError

ANSWER_SECONDS = 60.0
"""So long the engine may be silent before it counts as not there."""


MAX_KEPT_CONNECTIONS = 64
"""Containers run side by side, and each takes one or two."""


class EngineUnavailable(StepError):
    """The Docker engine is not there, does not answer, or does not let us in."""

    code = "docker_unavailable"


class EngineRefused(StepError):
    """The Docker engine answered with an error."""

    code = "docker_refused"

    def __init__(self, what: str, *, status: int, said: str):
        super().__init__(f"the Docker engine refused to {what}: {said}", details={"status": status})
        self.status = status
        self.said = said
        """Its own words."""


@dataclass(frozen=True, slots=True)
class LabelledContainer:
    """A container as the engine lists it."""

    id: str
    labels: Mapping[str, str]
    state: str
    """`created`, `running`, `exited`, `removing`, `dead`, …"""


class Engine:
    """One engine. Connects when it is first asked something. For several threads at once."""

    def __init__(self, host: str, *, timeout_seconds: float = ANSWER_SECONDS):
        """`host`: `unix:///var/run/docker.sock`. `timeout_seconds`: how long it may be silent."""
        self.host = host
        self._timeout = timeout_seconds
        self._connected: Any = None

    def close(self) -> None:
        """Close the connections; they are opened anew when needed."""
        client, self._connected = self._connected, None
        if client is not None:
            client.close()

    def ping(self) -> None:
        """Raises EngineUnavailable unless it answers."""
        with self.answering("answer") as client:
            client.ping()

    def containers(self, labels: Mapping[str, str]) -> list[LabelledContainer]:
        """All containers, in whatever state, that have these labels. Raises EngineUnavailable, EngineRefused."""
        wanted = [f"{name}={value}" for name, value in labels.items()]
        with self.answering("list containers") as client:
            listed = client.containers(all=True, filters={"label": wanted})
        return [LabelledContainer(one["Id"], one["Labels"] or {}, one["State"]) for one in listed]

    def remove(self, container_id: str) -> None:
        """Kill a container if it runs, and remove it with its anonymous volumes; nothing if it is gone already.

        Raises EngineUnavailable, EngineRefused.
        """
        try:
            with self.answering("remove a container") as client:
                client.remove_container(container_id, force=True, v=True)
        except EngineRefused as error:
            # 409: somebody else is removing it.
            if error.status not in (404, 409):
                raise

    @contextlib.contextmanager
    def answering(self, what: str) -> Iterator[Any]:
        """The SDK's client, for one call that is to `what`. Its errors become EngineUnavailable and EngineRefused."""
        import docker.errors
        import requests.exceptions
        import urllib3.exceptions

        try:
            yield self._client()
        except docker.errors.APIError as error:
            said = str(error.explanation or error).strip()
            raise EngineRefused(what, status=error.status_code or 0, said=said) from error
        except (
            docker.errors.DockerException,
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            raise self._unavailable(what, error) from error

    def _client(self) -> Any:
        if self._connected is None:
            from docker.api.client import APIClient
            from docker.constants import MINIMUM_DOCKER_API_VERSION

            self._knock()
            # Not `version="auto"`: that leaves a connection behind where nothing answers.
            asking = APIClient(base_url=self.host, version=MINIMUM_DOCKER_API_VERSION, timeout=self._timeout)
            try:
                spoken = asking.version(api_version=False)["ApiVersion"]
            finally:
                asking.close()
            self._connected = APIClient(
                base_url=self.host,
                version=spoken,
                timeout=self._timeout,
                max_pool_size=MAX_KEPT_CONNECTIONS,
            )
        return self._connected

    def _knock(self) -> None:
        """Raises OSError where nothing listens; the SDK would leave its socket behind."""
        scheme, _, path = self.host.partition("://")
        if scheme == "unix":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(self._timeout)
                probe.connect(path)

    def _unavailable(self, what: str, error: Exception) -> EngineUnavailable:
        text = str(error)
        cause = error.__context__
        while cause is not None:
            text += f" {cause}"
            cause = cause.__context__
        lowered = text.lower()
        if "permission denied" in lowered:
            why = "this user may not use it; who may is root on the machine, see docs/containers.md"
        elif "timed out" in lowered:
            why = f"it did not answer within {self._timeout:g} s when it was to {what}"
        elif "no such file" in lowered or "connection refused" in lowered:
            why = "nothing listens there; start it, or name another one by docker.host in config.yml"
        elif "connection aborted" in lowered or "reset by peer" in lowered:
            why = f"the connection broke when it was to {what}"
        else:
            why = f"it could not {what}: {error}"
        return EngineUnavailable(f"the Docker engine at {self.host} cannot be used: {why}")


@functools.lru_cache(maxsize=4)
def engine_at(host: str) -> Engine:
    """The engine at that address; its connections serve the whole process."""
    return Engine(host)
