"""What a docker step may not say is refused when its flow is loaded, with the rule. No engine is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flow_processor.errors import Problem, SettingsError, SpecError
from flow_processor.service.own_code import OwnCode, flow_library
from flow_processor.settings import Settings
from flow_processor.spec.image import full_image, is_allowed

DIGEST = "sha256:" + "0123456789abcdef" * 4
CONFIG = {
    "enabled": True,
    "allow_images": ["busybox:*", "registry.local:5000/team/*", f"tool@{DIGEST}"],
    "networks": ["none", "backend"],
    "max_memory": "256 MiB",
    "max_cpus": 2,
    "max_pids": 100,
}


def problems(tmp_path: Path, options: Any, config: dict[str, Any] | None = None) -> list[Problem]:
    """What is wrong with a flow of one docker step."""
    data = tmp_path / "data"
    (data / "flows").mkdir(parents=True, exist_ok=True)
    (data / "config.yml").write_text(yaml.safe_dump({"docker": CONFIG if config is None else config}))
    flow = {"steps": [{"name": "it", "type": "docker", "docker": options}]}
    (data / "flows" / "a.yml").write_text(yaml.safe_dump(flow))
    settings = Settings.load({"DATA_PATH": str(data)}, base=tmp_path)
    try:
        flow_library(settings, code=OwnCode(settings).use).launchable("a.yml")
    except SpecError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(
    "options",
    [
        {"image": "busybox"},
        {"image": "docker.io/library/busybox:1.36"},
        {"image": "registry.local:5000/team/deep/app:2"},
        {"image": f"tool:1@{DIGEST}"},
        {"image": "{{ __input__.image }}"},
        {"image": "busybox", "network": "backend", "memory": "256 MiB", "cpus": 2, "pids": 100, "user": 1000},
        {
            "image": "busybox",
            "volumes": ["input:/in:ro", "{{ __input__.folder }}:/out"],
            "network": "{{ 'none' }}",
        },
    ],
)
def test_what_is_allowed(tmp_path: Path, options: dict[str, Any]) -> None:
    options.setdefault("network", "none")
    assert problems(tmp_path, options) == []


@pytest.mark.parametrize(
    ("options", "place", "code", "words"),
    [
        ({"image": "alpine"}, "image", "docker_denied", "'alpine' is not allowed by docker.allow_images"),
        ({"image": f"busybox@{DIGEST}"}, "image", "docker_denied", "allowed are: busybox:*, registry.local"),
        ({"image": "evil.example/busybox:1"}, "image", "docker_denied", "docker.allow_images"),
        ({"image": "a" * 64}, "image", "docker_denied", "is no name of an image"),
        ({"image": "--privileged"}, "image", "docker_denied", "is no name of an image"),
        ({"network": "host"}, "network", "docker_denied", "reaches every service of this machine"),
        ({"network": "container:other"}, "network", "docker_denied", "may not share another one's network"),
        (
            {"network": "bridge"},
            "network",
            "docker_denied",
            "docker.networks in config.yml; allowed: none, backend",
        ),
        ({"memory": "257 MiB"}, "memory", "docker_denied", "docker.max_memory in config.yml (268435456)"),
        ({"memory": "1 MiB"}, "memory", "invalid_value", "at least 6 MiB"),
        ({"cpus": 2.5}, "cpus", "docker_denied", "docker.max_cpus in config.yml (2)"),
        ({"pids": 101}, "pids", "docker_denied", "docker.max_pids in config.yml (100)"),
        ({"user": 0}, "user", "docker_denied", "docker.allow_root"),
        ({"user": "1000:0"}, "user", "docker_denied", "docker.allow_root"),
        ({"user": "root"}, "user", "docker_denied", "must be numbers"),
        ({"user": "image"}, "user", "docker_denied", "the image's own user may be root"),
        ({"volumes": ["/etc:/x"]}, "volumes[0]", "docker_denied", "below the data folder"),
        ({"volumes": ["a/../../etc:/x"]}, "volumes[0]", "docker_denied", "below the data folder"),
        ({"volumes": ["/var/run/docker.sock:/x"]}, "volumes[0]", "docker_denied", "below the data folder"),
        ({"volumes": [".:/x"]}, "volumes[0]", "path_refused", "names no file"),
        ({"volumes": ["flows:/x"]}, "volumes[0]", "path_refused", "private to the spooler"),
        ({"volumes": ["containers.id:/x:ro"]}, "volumes[0]", "path_refused", "private to the spooler"),
        ({"volumes": ["a"]}, "volumes[0]", "docker_denied", "must be like"),
        ({"volumes": ["a:relative"]}, "volumes[0]", "docker_denied", "must be like"),
        ({"volumes": ["a:/x:z"]}, "volumes[0]", "docker_denied", "must be like"),
        ({"volumes": ["a:/"]}, "volumes[0]", "docker_denied", "is no path for a folder in a container"),
        ({"command": "echo {{ x }}"}, "command", "invalid_value", "takes no templates"),
        ({"result": "file"}, "", "invalid_value", "go together"),
        ({"file": "a.json"}, "", "invalid_value", "go together"),
        ({"workdir": "relative"}, "workdir", "invalid_value", "relative"),
        ({"env": {"A-B": 1}}, "env.A-B", "invalid_value", "A-B"),
        ({"memroy": 1}, "memroy", "unknown_key", "memroy"),
        (
            {"privileged": True},
            "privileged",
            "docker_denied",
            "a privileged container is root on this machine",
        ),
        ({"cap_add": ["SYS_ADMIN"]}, "cap_add", "docker_denied", "no capabilities"),
        ({"devices": ["/dev/sda"]}, "devices", "docker_denied", "no devices"),
        ({"pid": "host"}, "pid", "docker_denied", "no processes but their own"),
        ({"ipc": "host"}, "ipc", "docker_denied", "no memory"),
        ({"security_opt": ["seccomp=unconfined"]}, "security_opt", "docker_denied", "no-new-privileges"),
        ({"network_mode": "host"}, "network_mode", "docker_denied", "network"),
    ],
)
def test_what_is_refused(tmp_path: Path, options: dict[str, Any], place: str, code: str, words: str) -> None:
    found = problems(tmp_path, {"image": "busybox", "network": "none", **options})
    key = "steps[0].docker" + (f".{place}" if place else "")
    assert [(one.key, one.code) for one in found] == [(key, code)], found
    assert words in str(found[0])
    assert found[0].line is not None


def test_all_problems_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, {"image": "alpine", "network": "host", "volumes": ["/a:/a", "/b:/b"]})
    assert [one.key.rpartition("docker.")[2] for one in found] == [
        "image",
        "network",
        "volumes[0]",
        "volumes[1]",
    ]


def test_a_folder_that_holds_something_private(tmp_path: Path) -> None:
    """Its parent would show it."""
    data = tmp_path / "data"
    settings = Settings.load(
        {"DATA_PATH": str(data), "LOCK_PATH": str(data / "var" / "lock"), "CONFIG_FILE": ""}, base=tmp_path
    )
    from flow_processor.containers import ContainerRules
    from flow_processor.errors import StepError

    rules = ContainerRules(settings=settings.docker, data=data, private=settings.private_paths)
    with pytest.raises(StepError, match="lock lies in it, which is private"):
        rules.volume("var:/x")


def test_what_is_not_switched_on(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, {"image": "busybox"}, config={})
    assert (found.key, found.code) == ("steps[0].type", "step_switched_off")
    assert found.hint is not None
    assert "docker: {enabled: true, allow_images: [...]}" in found.hint


def test_switched_on_without_any_image(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, {"image": "busybox"}, config={"enabled": True})
    assert (found.key, found.code) == ("steps[0].docker.image", "docker_denied")
    assert "it allows none; write the images that flows may run there" in found.message


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"allow_images": ["*.example/x"]}, "'*' may not stand in the registry's name"),
        *(
            ({"allow_images": [wrong]}, "is no pattern of images")
            for wrong in ("bad name", "/x", "x/", "@", "x@", "@*", "x@sha256:12", "x@latest", "a//b", "X")
        ),
        ({"networks": ["host"]}, "reaches every service of this machine"),
        ({"networks": ["container:x"]}, "may not share another one's network"),
        ({"host": "tcp://10.0.0.1:2375"}, "must be an engine of this machine"),
        ({"host": "ssh://me@there"}, "must be an engine of this machine"),
        ({"max_memory": 1000}, "at least 6 MiB"),
        ({"privileged": True}, "unknown key"),
    ],
)
def test_wrong_settings(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    (tmp_path / "config.yml").write_text(yaml.safe_dump({"docker": config}))
    with pytest.raises(SettingsError) as wrong:
        Settings.load({"DATA_PATH": str(tmp_path)}, base=tmp_path)
    assert words in str(wrong.value)


def test_the_engine_is_the_one_that_docker_host_names(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("docker: {enabled: true}")
    environment = {"DATA_PATH": str(tmp_path)}
    assert Settings.load(environment).docker_host == "unix:///var/run/docker.sock"
    named = {**environment, "DOCKER_HOST": "unix:///run/user/1000/docker.sock"}
    assert Settings.load(named).docker_host == "unix:///run/user/1000/docker.sock"
    with pytest.raises(SettingsError, match=r"DOCKER_HOST.*must be an engine of this machine"):
        Settings.load({**environment, "DOCKER_HOST": "tcp://example.org:2376"})
    (tmp_path / "config.yml").write_text("docker: {enabled: true, host: 'unix:///x'}")
    assert Settings.load({**environment, "DOCKER_HOST": "tcp://example.org:2376"}).docker_host == "unix:///x"


@pytest.mark.parametrize(
    ("name", "patterns", "expected"),
    [
        ("busybox", ["busybox"], True),
        ("busybox:latest", ["busybox"], True),
        ("busybox:1", ["busybox"], False),
        ("index.docker.io/library/busybox:1", ["busybox:*"], True),
        ("evil/busybox:1", ["busybox:*"], False),
        ("busybox.example/busybox:1", ["busybox*"], False),
        ("localhost/app:1", ["app:*"], False),
        ("localhost/app:1", ["localhost/*"], True),
        ("localhost:5000/app", ["localhost/*"], False),
        (f"busybox:1@{DIGEST}", ["busybox:*"], False),
        (f"busybox:1@{DIGEST}", [f"busybox@{DIGEST}"], True),
        (f"busybox@{DIGEST}", [f"busybox:1@{DIGEST}"], True),
        (f"busybox:2@{DIGEST}", [f"busybox:1@{DIGEST}"], True),
        (f"r.example:5000/a:1@{DIGEST}", [f"r.example:5000/a:1@{DIGEST}"], True),
        ("busybox:1", [f"busybox:1@{DIGEST}"], False),
        (f"busybox@{DIGEST}", ["busybox@*"], True),
        (f"busybox@{DIGEST}", ["busybox:1@sha256:0123*"], True),
        ("team/app:1", ["docker.io/*"], True),
        ("busybox", ["docker.io/*"], True),
        ("r.example/app:1", ["docker.io/*"], False),
        ("evil/busybox", ["*box"], False),
        ("any.example/thing:1", ["*"], True),
    ],
)
def test_images_are_compared_written_out(name: str, patterns: list[str], expected: bool) -> None:
    assert is_allowed(full_image(name), tuple(patterns)) is expected
