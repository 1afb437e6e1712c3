"""What config.yml says about containers: are there any, of which images, and what may they take?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from flow_processor.spec.base import Spec, Texts
from flow_processor.spec.image import image_pattern
from flow_processor.spec.retention import bytes_of

DEFAULT_HOST = "unix:///var/run/docker.sock"

MIN_MEMORY_BYTES = 6 * 1024 * 1024
"""The engine takes no smaller limit."""

_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_HOST = re.compile(r"unix:///.+|npipe:////./pipe/.+|(tcp|http)://(127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d+")

REFUSED_NETWORKS = {
    "host": "a container in the host's network reaches every service of this machine, this daemon too",
    "container": "a container may not share another one's network",
}
"""Networks that no setting allows, and why."""


def engine_host(value: str) -> str:
    """The address of an engine as it is. Raises ValueError for one that is not on this machine."""
    if not _HOST.fullmatch(value):
        raise ValueError(
            "must be an engine of this machine: unix:///path/to/docker.sock or tcp://127.0.0.1:PORT"
        )
    return value


def _patterns(value: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in value:
        image_pattern(pattern)
    return value


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        refused = REFUSED_NETWORKS.get(name.partition(":")[0])
        if refused is not None:
            raise ValueError(f"'{name}' cannot be allowed: {refused}")
        if not _NETWORK.fullmatch(name):
            raise ValueError(f"'{name}' is no name of a network")
    return value


def checked_memory(value: Any) -> Any:
    """For specs: a number of bytes that the engine takes as a limit."""
    if isinstance(value, str) or (value is not None and value < MIN_MEMORY_BYTES):
        raise ValueError("must be a size of at least 6 MiB, in bytes or like '512 MiB'")
    return value


Memory = Annotated[int | str, BeforeValidator(bytes_of), AfterValidator(checked_memory)]
"""A size in bytes or like `512 MiB`; a number of bytes once it is read."""
OptionalMemory = Annotated[int | str | None, BeforeValidator(bytes_of), AfterValidator(checked_memory)]
"""The same, or none."""


class DockerSettings(Spec):
    """The docker step, under `docker:` in config.yml."""

    enabled: bool = False
    """May flows run containers by the step type `docker`? Who may use the engine's socket is root on its machine."""
    host: Annotated[str, AfterValidator(engine_host)] | None = None
    """The engine: `unix:///path/to/docker.sock`, or `tcp://127.0.0.1:PORT`. Default: DOCKER_HOST, else
    `unix:///var/run/docker.sock`."""
    allow_images: Annotated[Texts, AfterValidator(_patterns)] = ()
    """Images that flows may run, as patterns in which `*` stands for anything: `busybox:1.36`, `registry.local/team/*`,
    `busybox@sha256:…`; `*` alone for all. Without a tag `latest` is meant. None given: none allowed."""
    networks: Annotated[Texts, AfterValidator(_networks)] = ("none", "bridge")
    """Networks that flows may put containers into, by name. `host` and another container's cannot be allowed."""
    max_memory: Memory = 1024 * 1024 * 1024
    """Memory of a container (there is no swap on top), in bytes or like `512 MiB`; a step may say less."""
    max_cpus: Annotated[float, Field(ge=0.01, le=1024)] | None = None
    """Processor cores that a container may take, like `1.5`; a step may say less. Absent: all."""
    max_pids: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    """Processes and threads of a container; a step may say less."""
    allow_root: bool = False
    """May containers run as root, or as whatever user their image names?"""


@dataclass(frozen=True, slots=True)
class DockerAccess:
    """What a worker knows about containers."""

    host: str
    """The engine's address."""
    owner: str
    """Whose its containers are: tells this data folder from others."""
    settings: DockerSettings

    def as_json(self) -> dict[str, Any]:
        """As JSON values; it crosses a pipe."""
        return {"host": self.host, "owner": self.owner, "settings": self.settings.model_dump(mode="json")}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DockerAccess:
        """What `as_json` gave."""
        return cls(values["host"], values["owner"], DockerSettings.model_validate(values["settings"]))
