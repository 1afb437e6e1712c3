"""What containers may do here: the rules of config.yml, and those that no setting can change."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow_processor.containers.mounts import Mount
from flow_processor.documents.described import RefusedKeys
from flow_processor.errors import StepError
from flow_processor.paths import inside
from flow_processor.spec.base import TEMPLATE_PATTERN
from flow_processor.spec.docker import REFUSED_NETWORKS, DockerSettings
from flow_processor.spec.image import full_image, is_allowed

NOBODY = 65534
"""Uid and gid of a container whose worker is root."""

_REFUSED = {
    "privileged": "a privileged container is root on this machine",
    "cap_add": "containers have no capabilities here",
    "cap_drop": "containers have no capabilities here, so there are none to drop",
    "devices": "containers have no devices of this machine",
    "device_requests": "containers have no devices of this machine",
    "gpus": "containers have no devices of this machine",
    "pid": "containers see no processes but their own",
    "pid_mode": "containers see no processes but their own",
    "ipc": "containers share no memory with others",
    "ipc_mode": "containers share no memory with others",
    "uts": "containers have a host name of their own",
    "userns": "containers stay in the engine's user namespace",
    "userns_mode": "containers stay in the engine's user namespace",
    "cgroupns": "containers have a control group of their own",
    "cgroup_parent": "containers have a control group of their own",
    "security_opt": "containers never gain privileges here (no-new-privileges)",
    "sysctls": "containers change no settings of the kernel",
    "volumes_from": "containers see folders below the data folder only (volumes)",
    "network_mode": "the network is one by name (network)",
    "ports": "containers offer nothing to the outside",
    "restart": "a container never outlives its step",
    "restart_policy": "a container never outlives its step",
    "runtime": "the engine's own runtime is used",
}

REFUSED_OPTIONS = RefusedKeys("docker_denied", _REFUSED)
"""Options of Docker that do not exist here, and the rule that refuses each."""

_USER = re.compile(r"\d{1,10}(:\d{1,10})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class DockerDenied(StepError):
    """A rule refuses what the step wants of Docker; the message names the rule."""

    code = "docker_denied"


@dataclass(frozen=True, kw_only=True)
class ContainerRules:
    """The rules of one data folder. Each method gives what it is asked about as the engine is told; raises
    DockerDenied, or PathRefused for a volume."""

    settings: DockerSettings
    data: Path
    private: Sequence[Path]
    """Files and folders below `data` that no step may reach."""

    def image(self, name: str) -> str:
        """The image, written out."""
        try:
            image = full_image(name)
        except ValueError as error:
            raise DockerDenied(f"image: {name!r} {error}") from error
        if not is_allowed(image, self.settings.allow_images):
            allowed = ", ".join(self.settings.allow_images)
            why = (
                f"allowed are: {allowed}"
                if allowed
                else "it allows none; write the images that flows may run there"
            )
            raise DockerDenied(f"image: {name!r} is not allowed by docker.allow_images in config.yml; {why}")
        return image

    def network(self, name: str) -> str:
        """The network's name."""
        refused = REFUSED_NETWORKS.get(name.partition(":")[0])
        if refused is not None and name not in self.settings.networks:
            raise DockerDenied(f"network: '{name}' is refused: {refused}")
        if name not in self.settings.networks:
            allowed = ", ".join(self.settings.networks) or "no network at all"
            message = f"network: {name!r} is not allowed by docker.networks in config.yml; allowed: {allowed}"
            raise DockerDenied(message)
        return name

    def volume(self, text: str) -> Mount:
        """The mount that `folder:/in/the/container[:ro]` means."""
        source, _, rest = text.partition(":")
        target, _, mode = rest.partition(":")
        if mode not in ("", "ro", "rw") or not target.startswith("/"):
            message = (
                f"volumes: {text!r} must be like 'folder:/in/the/container', perhaps with ':ro' behind it"
            )
            raise DockerDenied(message)
        if source.startswith(("/", "~", "\\")) or ".." in source.split("/"):
            message = f"volumes: {source!r} is refused: containers see what lies below the data folder, nothing else"
            raise DockerDenied(message)
        if not target.strip("/") or ".." in target.split("/") or _CONTROL.search(target):
            raise DockerDenied(f"volumes: {target!r} is no path for a folder in a container")
        found = inside(self.data, source, what="volume", private=self.private)
        # `inside` looks at the way down to it; here what lies below it counts too.
        hidden = next((one for one in self.private if one.resolve().is_relative_to(found)), None)
        if hidden is not None:
            message = (
                f"volumes: {source!r} is refused: {hidden.name} lies in it, which is private to the spooler"
            )
            raise DockerDenied(message)
        return Mount(found, target, mode == "ro")

    def memory(self, wanted: int | None) -> int:
        """Memory in bytes."""
        most = int(self.settings.max_memory)
        if wanted is not None and wanted > most:
            raise DockerDenied(
                f"memory: {wanted} bytes are more than docker.max_memory in config.yml ({most})"
            )
        return wanted or most

    def cpus(self, wanted: float | None) -> float | None:
        """Processor cores; None: all."""
        most = self.settings.max_cpus
        if wanted is not None and most is not None and wanted > most:
            raise DockerDenied(f"cpus: {wanted:g} are more than docker.max_cpus in config.yml ({most:g})")
        return wanted or most

    def pids(self, wanted: int | None) -> int:
        """Processes and threads."""
        most = self.settings.max_pids
        if wanted is not None and wanted > most:
            raise DockerDenied(f"pids: {wanted} are more than docker.max_pids in config.yml ({most})")
        return wanted or most

    def user(self, wanted: str | None) -> str:
        """`uid:gid`, or empty for the image's own user."""
        if wanted is None:
            return _own_user(allow_root=self.settings.allow_root)
        if wanted == "image":
            if not self.settings.allow_root:
                message = "user: the image's own user may be root, which docker.allow_root in config.yml does not allow"
                raise DockerDenied(message)
            return ""
        if not _USER.fullmatch(wanted):
            raise DockerDenied(f"user: {wanted!r} must be numbers like '1000' or '1000:1000', or 'image'")
        if not self.settings.allow_root and 0 in map(int, wanted.split(":")):
            raise DockerDenied("user: root (0) is not allowed by docker.allow_root in config.yml")
        return wanted if ":" in wanted else f"{wanted}:{wanted}"

    def problems(self, options: Any) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        """What a step's options (DockerOptions) want against the rules: (place, code, message). What is a template is
        looked at once it is rendered."""
        places: list[tuple[tuple[str | int, ...], Any, Callable[[Any], Any]]] = [
            (("image",), options.image, self.image),
            (("network",), options.network, self.network),
            *((("volumes", number), text, self.volume) for number, text in enumerate(options.volumes)),
            (("memory",), options.memory, self.memory),
            (("cpus",), options.cpus, self.cpus),
            (("pids",), options.pids, self.pids),
            (("user",), options.user, self.user),
        ]
        for loc, value, rule in places:
            if isinstance(value, str) and re.search(TEMPLATE_PATTERN, value):
                continue
            try:
                rule(value)
            except StepError as error:
                yield loc, error.code, error.message


def _own_user(*, allow_root: bool) -> str:
    """The worker's own user, so that what a container writes into the data folder can be read here."""
    if sys.platform == "win32":
        return f"{NOBODY}:{NOBODY}"
    uid, gid = os.getuid(), os.getgid()
    return f"{NOBODY}:{NOBODY}" if uid == 0 and not allow_root else f"{uid}:{gid}"
