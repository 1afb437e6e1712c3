"""Images are fetched from a registry, with the credentials of a secret and no others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flow_processor.step import Secret
from tests.containers.docker_steps import DockerSteps
from tests.containers.registry import PASSWORD, USER, Registry
from tests.docker_engine import DockerEngine


@pytest.fixture(scope="module")
def registry(docker_engine: DockerEngine) -> Iterator[Registry]:
    registry = Registry(docker_engine.listening_socket())
    yield registry
    registry.close()


@pytest.fixture
def steps(docker_steps: DockerSteps, registry: Registry) -> DockerSteps:
    docker_steps.allow(allow_images=[f"{registry.name}/team/*"])
    login = Secret("login", "credential", {"username": USER, "password": PASSWORD})
    wrong = Secret("wrong", "credential", {"username": USER, "password": "wrong"})
    docker_steps.context.secrets = {
        "login": login,
        "wrong": wrong,
        "token": Secret("token", "token", {"token": "t"}),
    }
    registry.asked.clear()
    return docker_steps


def test_an_image_is_fetched_if_it_is_not_there_or_each_time(steps: DockerSteps, registry: Registry) -> None:
    image = f"{registry.name}/team/tool:1"
    options = {"image": image, "authentication": "login"}
    assert steps.fail(image=image, pull="never").code == "image_missing"
    for wrong in (None, "wrong"):
        error = steps.fail(image=image, authentication=wrong)
        assert error.code == "image_pull_failed"
        assert error.message.startswith(f"the image {image} could not be fetched: ")
        assert "unauthorized" in error.message.lower() or "no basic auth" in error.message
    assert steps.run("echo", "fetched", **options) == "fetched"
    assert ("info", f"fetching the image {image}") in steps.context.lines

    registry.asked.clear()
    assert steps.run("echo", "there", image=image) == "there"
    assert registry.asked == []
    assert steps.run("echo", "again", pull="always", **options) == "again"
    assert "/v2/team/tool/manifests/1" in registry.asked
    by_digest = f"{registry.name}/team/tool@{registry.digest}"
    assert steps.run("echo", "by digest", image=by_digest, pull="never") == "by digest"


def test_an_image_that_the_registry_does_not_have(steps: DockerSteps, registry: Registry) -> None:
    error = steps.fail(image=f"{registry.name}/team/tool:2", authentication="login")
    assert (error.code, "manifest" in error.message) == ("image_pull_failed", True)
    error = steps.fail(image=f"{registry.name}/team/tool:2", authentication="token")
    assert error.code == "secret_value_missing"
