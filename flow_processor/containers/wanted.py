"""A container as a step wants it, and as the engine is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from flow_processor.containers.labels import DATA_LABEL, RUN_LABEL, STEP_LABEL
from flow_processor.containers.mounts import Mount

Pull = Literal["missing", "always", "never"]


@dataclass(frozen=True, kw_only=True)
class WantedContainer:
    """All that there is to say about one. The rules have been asked about it."""

    image: str
    """Written out: `docker.io/library/busybox:latest`."""
    command: Sequence[str] | None
    """None: the image's own."""
    entrypoint: Sequence[str] | None
    env: Mapping[str, str] = field(repr=False)
    """May hold secrets."""
    workdir: str | None
    user: str
    """`uid:gid`; empty for the image's own."""
    mounts: Sequence[Mount]
    network: str
    memory: int
    """In bytes."""
    cpus: float | None
    """Processor cores; None: all."""
    pids: int
    read_only: bool
    labels: Mapping[str, str]
    pull: Pull
    credentials: Mapping[str, str] | None = field(repr=False)
    """`username` and `password` for the image's registry."""

    @property
    def own_labels(self) -> dict[str, str]:
        """What other attempts of the same step have too."""
        return {name: self.labels[name] for name in (DATA_LABEL, RUN_LABEL, STEP_LABEL)}

    def as_config(self) -> dict[str, Any]:
        """The body of the engine's `POST /containers/create`."""
        return {
            "Image": self.image,
            "Cmd": None if self.command is None else list(self.command),
            "Entrypoint": None if self.entrypoint is None else list(self.entrypoint),
            "Env": [f"{name}={value}" for name, value in self.env.items()],
            "WorkingDir": self.workdir or "",
            "User": self.user,
            "Labels": dict(self.labels),
            "Healthcheck": {"Test": ["NONE"]},
            "AttachStdout": True,
            "AttachStderr": True,
            "HostConfig": self._host_config(),
        }

    def _host_config(self) -> dict[str, Any]:
        return {
            "Privileged": False,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "IpcMode": "private",
            "CgroupnsMode": "private",
            "NetworkMode": self.network,
            "Memory": self.memory,
            "MemorySwap": self.memory,
            "NanoCpus": 0 if self.cpus is None else round(self.cpus * 1e9),
            "PidsLimit": self.pids,
            "ReadonlyRootfs": self.read_only,
            "Tmpfs": {"/tmp": "rw,nosuid,nodev"} if self.read_only else {},  # noqa: S108  in the container
            "Mounts": [
                {
                    "Type": "bind",
                    "Source": str(mount.source),
                    "Target": mount.target,
                    "ReadOnly": mount.read_only,
                    "BindOptions": {"Propagation": "rprivate"},
                }
                for mount in self.mounts
            ],
            # It passes signals on and reaps; without it a shell would ignore SIGTERM.
            "Init": True,
            # What it prints comes by `attach`; nothing of it is to lie in the engine's folder too.
            "LogConfig": {"Type": "none", "Config": {}},
            "RestartPolicy": {"Name": "no"},
        }
