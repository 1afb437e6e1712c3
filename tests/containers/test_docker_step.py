"""The docker step on a real engine: what a container is given, what it may not do, and what it comes to."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from flow_processor.containers import engine_at
from flow_processor.step import Secret
from tests.containers.docker_steps import DockerSteps
from tests.engine.world import until

pytestmark = pytest.mark.usefixtures("docker_steps")


def test_what_it_is_given(docker_steps: DockerSteps) -> None:
    """Parameters come as variables and as arguments; no shell reads what a template has put there."""
    docker_steps.context.data = {"day": "Mon; echo $HOME", "list": [1, {"a": "b"}], "none": None}
    docker_steps.context.secrets["login"] = Secret("login", "credential", {"username": "u", "password": "p"})
    out = docker_steps.run(
        *("sh", "-c", 'echo "$0"; env | sort; pwd', "{{ day }}"),
        env={"DAY": "{{ day }}", "LIST": "{{ list }}", "N": 5, "ON": True, "NONE": "{{ none }}"},
        secret_env={"WORD": "login", "WHO": {"secret": "login", "value": "username"}},
        workdir="/tmp",
    )
    assert out.splitlines()[0] == "Mon; echo $HOME"
    found = dict(line.split("=", 1) for line in out.splitlines()[1:-1])
    assert {name: found[name] for name in ("DAY", "LIST", "N", "ON", "WORD", "WHO")} == {
        "DAY": "Mon; echo $HOME",
        "LIST": '[1, {"a": "b"}]',
        "N": "5",
        "ON": "true",
        "WORD": "p",
        "WHO": "u",
    }
    assert "NONE" not in found
    assert out.splitlines()[-1] == "/tmp"
    assert docker_steps.run(command="echo 'two  words' here") == "two  words here"
    assert docker_steps.run("world", entrypoint=["echo", "hello"]) == "hello world"


@pytest.mark.parametrize(
    ("result", "expected"),
    [("logs", ["warned", '{"a": 1}']), ("json", {"a": 1}), ("exit_code", 0)],
)
def test_results(docker_steps: DockerSteps, result: str, expected: Any) -> None:
    """Of both outputs in no sure order: the engine reads them side by side."""
    found = docker_steps.run("sh", "-c", """echo '{"a": 1}'; echo warned >&2""", result=result)
    assert (sorted(found.splitlines()) if result == "logs" else found) == expected
    assert sorted(docker_steps.context.lines) == [("info", '{"a": 1}'), ("warning", "warned")]


def test_an_exit_code_may_be_the_result(docker_steps: DockerSteps) -> None:
    assert docker_steps.run("sh", "-c", "exit 7", result="exit_code") == 7


def test_a_file_as_the_result(docker_steps: DockerSteps) -> None:
    """A folder that is not there is made for the container's user; an old file is no result."""
    volume = {"volumes": ["out/new:/out"], "result": "file"}
    script = """echo '{"n": 3}' > /out/a.json; echo text > /out/a.txt"""
    assert docker_steps.run("sh", "-c", script, file="out/new/a.json", **volume) == {"n": 3}
    assert docker_steps.run("sh", "-c", script, file="out/new/a.txt", **volume) == "text\n"
    error = docker_steps.fail("true", file="out/new/a.txt", **volume)
    assert (error.code, error.message) == ("container_result", "the container did not write out/new/a.txt")
    assert (
        docker_steps.fail("sh", "-c", "echo [ > /out/a.json", file="out/new/a.json", **volume).code
        == "file_invalid"
    )


def test_volumes(docker_steps: DockerSteps) -> None:
    data = docker_steps.context.folders.data
    (data / "in").mkdir()
    (data / "in" / "a.txt").write_text("seen")
    docker_steps.context.data = {"name": "in"}
    volumes = ["{{ name }}:/x:ro", "in/a.txt:/y:ro"]
    assert docker_steps.run("sh", "-c", "cat /x/a.txt; cat /y", volumes=volumes) == "seenseen"
    assert "Read-only file system" in docker_steps.fail("touch", "/x/b", volumes=["in:/x:ro"]).message
    assert docker_steps.fail("true", volumes=["gone:/x:ro"]).code == "volume_missing"
    # What a container has written belongs to the one who may read it here.
    docker_steps.run("touch", "/x/b", volumes=["fresh:/x"])
    assert (data / "fresh" / "b").stat().st_uid == (os.getuid() or 65534)


def test_what_a_container_may_not_do(docker_steps: DockerSteps) -> None:
    """No capabilities, no new privileges, not root, processes and memory limited, no swap, nothing of the host."""
    script = """
        grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status
        id -u
        cd /sys/fs/cgroup
        cat memory/memory.limit_in_bytes pids/pids.max 2>/dev/null || cat memory.max pids.max
        ls /proc | grep -c '^[0-9]'
        ls /dev | grep -c -E '^(sd|vd|nvme|kmsg)' || true
    """
    out = docker_steps.run("sh", "-c", script, memory="64 MiB", pids=50).split()
    uid = str(os.getuid() or 65534)
    assert out[:7] == ["CapBnd:", "0000000000000000", "NoNewPrivs:", "1", uid, "67108864", "50"] or out[
        :9
    ] == [
        *("CapEff:", "0000000000000000", "CapBnd:", "0000000000000000", "NoNewPrivs:", "1"),
        *(uid, "67108864", "50"),
    ]
    assert int(out[-2]) < 8
    assert out[-1] == "0"
    groups = docker_steps.run("cat", "/proc/self/cgroup").splitlines()
    assert {group.rpartition(":")[2] for group in groups} == {"/"}, "its own control group is all it knows"


def test_a_read_only_image(docker_steps: DockerSteps) -> None:
    error = docker_steps.fail("sh", "-c", "echo a > /tmp/a && cat /tmp/a && echo b > /etc/b", read_only=True)
    assert "Read-only file system" in error.message
    assert ("info", "a") in docker_steps.context.lines


def test_networks(docker_steps: DockerSteps) -> None:
    assert docker_steps.run("sh", "-c", "ls /sys/class/net", network="none") == "lo"
    assert "eth0" in docker_steps.run("sh", "-c", "ls /sys/class/net")


def test_more_memory_than_it_may_have(docker_steps: DockerSteps) -> None:
    error = docker_steps.fail("sh", "-c", "x=0123456789; while :; do x=$x$x; done", memory="16 MiB")
    assert error.code == "container_out_of_memory"
    assert "16,777,216 bytes" in error.message


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"command": ["sh", "-c", "echo a; echo why >&2; exit 3"]}, "container_failed", "exit code 3: why"),
        ({"command": ["gone"]}, "container_failed", "exit code 127"),
        ({"workdir": "{{ 1 }}"}, "container_not_started", "absolute"),
        ({"image": "octospool-test:gone", "pull": "never"}, "image_missing", "pull: never"),
        ({"command": ["echo", "not json"], "result": "json"}, "json_invalid", "no JSON"),
        ({"command": ["{{ [1] }}"]}, "docker_invalid_option", "command[0] must be one argument, and is [1]"),
        ({"image": "{{ [1] }}"}, "docker_invalid_option", "image must be a text, and is [1]"),
        ({"command": ["echo", "a\0b"]}, "docker_invalid_option", "command[1] holds a NUL character"),
        ({"entrypoint": ["a\0b"]}, "docker_invalid_option", "entrypoint[0] holds a NUL character"),
        ({"env": {"X": "a\0b"}}, "docker_invalid_option", "variable X holds a NUL character"),
        ({"workdir": "/a\0b"}, "docker_invalid_option", "workdir holds a NUL character"),
        ({"image": "{{ 'other:1' }}"}, "docker_denied", "'other:1' is not allowed by docker.allow_images"),
        ({"volumes": ["{{ '/etc' }}:/x"]}, "docker_denied", "'/etc' is refused"),
        ({"network": "{{ 'host' }}"}, "docker_denied", "reaches every service of this machine"),
        ({"user": "{{ 0 }}"}, "docker_denied", "root (0) is not allowed"),
        ({"secret_env": {"A": "gone"}}, "secret_not_found", "gone"),
    ],
)
def test_failures(docker_steps: DockerSteps, options: dict[str, Any], code: str, words: str) -> None:
    error = docker_steps.fail(**options)
    assert error.code == code, error.message
    assert words in error.message


def test_the_last_lines_are_in_the_error(docker_steps: DockerSteps) -> None:
    error = docker_steps.fail("sh", "-c", "seq 1 30; exit 2")
    assert error.details == {"exit_code": 2, "last_lines": [str(number) for number in range(11, 31)]}


def test_who_it_runs_as(docker_steps: DockerSteps) -> None:
    ask = ("sh", "-c", "echo $(id -u):$(id -g)")
    assert docker_steps.run(*ask, user=1234) == "1234:1234"
    assert docker_steps.run(*ask, user="{{ 1234 }}:77") == "1234:77"
    docker_steps.allow(allow_images="*", allow_root=True)
    assert docker_steps.run(*ask) == f"{os.getuid()}:{os.getgid()}"
    assert docker_steps.run(*ask, user="image") == "0:0"


def test_its_lines_are_told_while_it_runs(docker_steps: DockerSteps) -> None:
    """Each as it comes, whatever the pieces are in which it was printed."""
    context = docker_steps.context
    go = context.folders.data / "out" / "go"
    script = "printf 'be'; sleep 0.1; echo gun; until [ -e /out/go ]; do sleep 0.05; done; printf ended"
    results: list[Any] = []
    step = threading.Thread(
        target=lambda: results.append(docker_steps.run("sh", "-c", script, volumes=["out:/out"]))
    )
    step.start()
    until(lambda: ("info", "begun") in context.lines, "the first line is told")
    assert results == []
    go.touch()
    step.join()
    assert results == ["begun\nended"]
    assert context.lines == [("info", "begun"), ("info", "ended")]


def test_a_flood_ends_the_step(docker_steps: DockerSteps) -> None:
    error = docker_steps.fail("sh", "-c", "yes 0123456789012345678901234567890123456789")
    assert (error.code, error.message) == (
        "output_too_large",
        "the container printed more than 16 MiB and was ended",
    )
    assert len(docker_steps.context.lines) == 20_001


def test_a_cancel_asks_first(docker_steps: DockerSteps) -> None:
    script = "trap 'echo asked; exit 0' TERM; echo begun; sleep 1000 & wait"
    context = docker_steps.context
    threading.Thread(
        target=lambda: (until(lambda: ("info", "begun") in context.lines, "it runs"), context.stop.set())
    ).start()
    assert docker_steps.fail("sh", "-c", script).code == "cancelled"
    assert ("info", "asked") in context.lines


def test_what_ignores_the_cancel_is_killed(docker_steps: DockerSteps) -> None:
    context = docker_steps.context
    script = "trap '' TERM; echo begun; sleep 1000"
    threading.Thread(
        target=lambda: (until(lambda: ("info", "begun") in context.lines, "it runs"), context.stop.set())
    ).start()
    assert docker_steps.fail("sh", "-c", script).code == "cancelled"


def test_a_time_limit(docker_steps: DockerSteps) -> None:
    context = docker_steps.context

    def use_up() -> None:
        until(lambda: ("info", "begun") in context.lines, "it runs")
        context.seconds_left = 0

    threading.Thread(target=use_up).start()
    error = docker_steps.fail("sh", "-c", "echo begun; exec sleep 1000", timeout_seconds=500)
    assert error.code == "step_timeout"
    assert error.details["last_lines"] == ["begun"]


def test_it_ends_with_its_first_process_even_if_nothing_is_printed_any_more(
    docker_steps: DockerSteps,
) -> None:
    assert docker_steps.run("sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 4", result="exit_code") == 4
    assert docker_steps.run("sh", "-c", "sleep 1000 & echo done") == "done"


def test_what_an_earlier_attempt_has_left_is_removed_first(docker_steps: DockerSteps) -> None:
    context = docker_steps.context
    labels = {
        "octospool.data": docker_steps.owner,
        "octospool.run": context.run_id,
        "octospool.step": context.path,
    }
    for more in ({}, {"octospool.step": "another"}):
        docker_steps.engine.client.containers.run(
            docker_steps.engine.image, ["sleep", "1000"], detach=True, labels={**labels, **more}
        )
    assert docker_steps.run("echo", "here") == "here"
    assert "an earlier attempt" in context.lines[0][1]
    (left,) = engine_at(docker_steps.engine.host).containers({"octospool.data": docker_steps.owner})
    assert left.labels["octospool.step"] == "another"
    engine_at(docker_steps.engine.host).remove(left.id)
    engine_at(docker_steps.engine.host).remove(left.id)  # gone already


def test_what_it_is_known_by(docker_steps: DockerSteps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTOSPOOL_WORKER", "w1")
    context = docker_steps.context
    context.path, context.attempt = "loop[3]/it", 2
    step = threading.Thread(target=lambda: docker_steps.fail("sleep", "1000"))
    step.start()
    (found,) = until(
        lambda: engine_at(docker_steps.engine.host).containers({"octospool.data": docker_steps.owner}),
        "it is there",
    )
    assert found.labels == {
        "octospool.data": docker_steps.owner,
        "octospool.run": context.run_id,
        "octospool.step": "loop[3]/it",
        "octospool.attempt": "2",
        "octospool.worker": "w1",
    }
    context.stop.set()
    step.join()
