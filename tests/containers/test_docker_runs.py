"""Docker steps in real runs: what their log, their result and their history say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from flow_processor.run import RunStatus
from tests.docker_engine import DockerEngine
from tests.engine.world import World, error_code, until

SECRET = "canary-of-a-container"


@pytest.fixture(scope="module")
def world(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    data = tmp_path_factory.mktemp("containers") / "data"
    data.mkdir()
    docker = f"{{enabled: true, host: '{docker_engine.host}', allow_images: ['octospool-test:*']}}"
    (data / "config.yml").write_text(f"docker: {docker}\n")
    (data / "secrets.yml").write_text(
        f"- {{name: word, type: token, token: {SECRET}}}\n"
        "- {name: login, type: credential, username: u, password: canary-of-a-registry}\n"
    )
    world = World(data, max_workers=2).start()
    yield world
    world.leave()


def step(script: str, more: str = "", keys: str = "") -> str:
    return (
        f"steps:\n- name: it\n  type: docker\n{keys}"
        f"  docker:\n    image: octospool-test\n    command: [sh, -c, {script!r}]\n{more}"
    )


def lines(world: World, run_id: str) -> list[str]:
    return [line.message for line in world.service.run_logs(run_id).lines]


def test_its_lines_are_in_the_runs_log_while_it_runs(world: World) -> None:
    """And nothing in it, nor in result and error, shows a secret."""
    script = 'echo "begun with $WORD"; echo second; until [ -e /out/go ]; do sleep 0.05; done; echo "ended with $WORD"'
    more = "    secret_env: {WORD: word}\n    authentication: login\n    volumes: ['out:/out']\n"
    run_id = world.launch(step(script, more))
    until(lambda: lines(world, run_id) == ["begun with ***", "second"], "its first lines are there")
    assert not world.service.run(run_id).status.is_terminal
    (world.data / "out" / "go").touch()
    run = world.wait(run_id)
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert run.data is not None
    assert run.data["it"] == "begun with ***\nsecond\nended with ***"
    assert lines(world, run_id) == ["begun with ***", "second", "ended with ***"]

    failed = world.run(step('echo "$WORD" >&2; exit 1', "    secret_env: {WORD: word}\n"))
    assert failed.error is not None
    assert failed.error.message == "the container ended with exit code 1: ***"
    assert failed.error.details["last_lines"] == ["***"]


def test_a_retry_is_a_container_of_its_own(world: World) -> None:
    script = "echo x >> /out/tries; [ $(wc -l < /out/tries) = 3 ]"
    keys = "  retry: {attempts: 5, delay_seconds: 0}\n"
    run = world.run(step(script, "    volumes: ['retried:/out']\n", keys))
    assert run.status is RunStatus.SUCCEEDED, run.error
    assert [one.attempt for one in run.steps] == [1, 2, 3]


def test_the_steps_time_limit_and_a_cancel(world: World, docker_engine: DockerEngine) -> None:
    late = world.launch(step("echo begun; exec sleep 1000", keys="  timeout_seconds: 3\n"))
    cancelled = world.launch(step("echo begun; exec sleep 1000"))
    until(lambda: "begun" in lines(world, cancelled), "it runs")
    world.service.cancel_run(cancelled, by="test")
    assert world.wait(cancelled).status is RunStatus.CANCELLED
    # The latter where the engine was still busy with it then.
    assert error_code(world.wait(late)) in ("step_timeout", "docker_unavailable", "docker_unclear")
    for run_id in (late, cancelled):
        until(
            lambda run_id=run_id: not docker_engine.containers(f"octospool.run={run_id}"),
            "its container is gone",
        )


def test_the_sdk_is_loaded_by_those_who_need_it() -> None:
    """It takes a tenth of a second: a worker and the daemon begin without it."""
    modules = "flow_processor.engine.worker, flow_processor.service, flow_processor.cli.app"
    text = f"import sys, {modules}; print([name for name in sys.modules if name.split('.')[0] == 'docker'])"
    asked = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert asked.stdout == "[]\n"
