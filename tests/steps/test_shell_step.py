"""The shell step: what the program is given, what becomes of what it prints, and how it is ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flow_processor.errors import PathRefused, StepCancelled, StepError, StepTimeout
from flow_processor.step import Secret, StepResult
from tests.engine.world import until

Shell = Callable[[dict[str, Any]], Any]


@pytest.fixture
def shell(run_step: Callable[..., StepResult]) -> Shell:
    """Runs a step with these options; its value."""
    return lambda options: run_step(type="shell", shell=options).value


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"command": ["printf", "a\\nb\\n\\n"]}, "a\nb"),
        ({"command": ["printf", "a\\nb\\n"], "output": "lines"}, ["a", "b"]),
        ({"command": ["printf", '{"a": [1, 2.5]}'], "output": "json"}, {"a": [1, 2.5]}),
        ({"command": ["true"], "output": "json"}, None),
        ({"command": ["printf", "%s|", "{{ name }}", "{{ number }}", 7, True]}, "$(id); `x` 'q'|12|7|true|"),
        ({"script": "echo $((6 * 7))\n"}, "42"),
        ({"script": 'printf "%s" "$NAME"', "env": {"NAME": "{{ name }}"}}, "$(id); `x` 'q'"),
        (
            {"script": 'echo "$A $B ${C-unset}"', "env": {"A": "{{ l }}", "B": True, "C": None}},
            "[1] true unset",
        ),
        ({"command": ["cat"], "stdin": "{{ l }}"}, "[1]"),
        ({"command": ["cat"], "stdin": "text: {{ number }}"}, "text: 12"),
        ({"command": ["cat"]}, ""),
        ({"script": "exit 3", "expect": [0, 3]}, ""),
        (
            {"script": "echo out; echo err >&2; exit 1", "expect": [1], "result": "full"},
            {"exit_code": 1, "output": "out", "stderr": "err\n"},
        ),
        ({"command": ["printf", "\\377ä"]}, "\ufffdä"),
    ],
)
def test_what_the_program_is_given_and_gives(
    context: Any, shell: Shell, options: dict[str, Any], value: Any
) -> None:
    context.data = {"name": "$(id); `x` 'q'", "number": 12, "l": [1]}
    assert shell(options) == value


def test_each_line_goes_to_the_log(context: Any, shell: Shell) -> None:
    shell({"script": "echo one; echo two >&2; printf three"})
    assert sorted(context.lines) == [("info", "one"), ("info", "three"), ("warning", "two")]


def test_the_environment_is_clean(context: Any, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "not for programs")
    monkeypatch.setenv("PYTHONPATH", "nor this")
    names = {
        line.partition("=")[0] for line in shell({"command": ["env"], "env": {"A": 1}, "output": "lines"})
    }
    assert names >= {"A", "PATH"}
    assert not names & {"API_TOKEN", "PYTHONPATH", "PYTEST_CURRENT_TEST"}


def test_it_works_in_the_data_folder_or_below(context: Any, shell: Shell) -> None:
    data = context.folders.data
    (data / "in").mkdir()
    context.data = {"folder": "in"}
    assert shell({"command": ["pwd"]}) == str(data)
    assert shell({"command": ["pwd"], "cwd": "{{ folder }}"}) == str(data / "in")


def test_a_secret_comes_by_its_name(context: Any, shell: Shell) -> None:
    context.secrets = {
        "hub": Secret("hub", "token", {"token": "t-123"}),
        "db": Secret("db", "credential", {"username": "ann", "password": "pw-1"}),
    }
    options = {
        "script": 'echo "$T $P $U"',
        "secret_env": {"T": "hub", "P": {"secret": "db"}, "U": {"secret": "db", "value": "username"}},
    }
    assert shell(options) == "t-123 pw-1 ann"
    with pytest.raises(StepError, match=r"secret 'hub' .* has no username; it has: token") as failed:
        shell(
            {"command": ["true"], "secret_env": {"U": {"secret": "hub", "value": "username"}}},
        )
    assert failed.value.code == "secret_value_missing"


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"script": "echo first; echo bad luck >&2; exit 7"}, "shell_failed", "exit code 7: bad luck"),
        ({"script": "false; echo not reached"}, "shell_failed", "exit code 1"),
        ({"script": "kill -9 $$"}, "shell_failed", "signal 9"),
        (
            {"command": ["no-such-program-here"]},
            "shell_not_started",
            "no program 'no-such-program-here' in PATH",
        ),
        ({"command": ["./nothing.sh"]}, "shell_not_started", "no program './nothing.sh'"),
        ({"command": ["echo", "{{ l }}"]}, "shell_invalid_argument", r"command\[1\] must be one argument"),
        ({"command": ["echo", "a\0b"]}, "shell_not_started", "null byte"),
        ({"command": ["true"], "cwd": "gone"}, "shell_not_started", "no folder 'gone'"),
        ({"command": ["echo", "{"], "output": "json"}, "json_invalid", "no JSON"),
        ({"script": "yes | head -c 20000000"}, "output_too_large", "more than 16 MiB"),
    ],
)
def test_failures(context: Any, shell: Shell, options: dict[str, Any], code: str, says: str) -> None:
    context.data = {"l": [1]}
    with pytest.raises(StepError, match=says) as failed:
        shell(options)
    assert failed.value.code == code


def test_a_failure_shows_the_last_lines(shell: Shell) -> None:
    with pytest.raises(StepError) as failed:
        shell({"script": "seq 1 50; exit 2"})
    assert failed.value.details == {"exit_code": 2, "last_lines": [str(number) for number in range(31, 51)]}


def test_output_that_could_not_be_read_to_its_end_is_an_error(
    context: Any, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log stands still: then the reader of the output does, too."""
    monkeypatch.setattr("flow_processor.programs._READ_SECONDS", 0.1)
    monkeypatch.setattr("flow_processor.programs._LOG_SECONDS", 0.1)
    goes_on = threading.Event()
    context.log = lambda message, level="info": goes_on.wait(60)
    with pytest.raises(StepError) as failed:
        shell({"script": "seq 1 10000"})  # what is not read yet has room in the pipe
    goes_on.set()
    assert (failed.value.code, failed.value.details["outcome"]) == ("output_incomplete", "unknown")


def test_a_long_line_is_logged_from_its_beginning(context: Any, shell: Shell) -> None:
    printed = shell({"script": "head -c 300000 /dev/zero | tr '\\0' x; echo; echo next"})
    (_, first), (_, second) = context.lines
    assert printed == "x" * 300000 + "\nnext"
    assert first.startswith("x" * 60000)
    assert first.endswith("x… (cut: the line is too long)")
    assert second == "next"


@pytest.mark.parametrize("folder", ["..", "/tmp", "templates/../.."])
def test_the_folder_stays_in_the_data_folder(shell: Shell, folder: str) -> None:
    with pytest.raises(PathRefused):
        shell({"command": ["true"], "cwd": folder})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"command": ["true"], "script": "true"},
        {"command": []},
        {"command": "ls -l"},
        {"script": "echo {{ name }}"},
        {"script": "{% if x %}true{% endif %}"},
        {"command": ["true"], "env": {"NO-NAME": "x"}},
        {"command": ["true"], "expect": []},
        {"command": ["true"], "expect": [256]},
        {"command": ["true"], "output": "yaml"},
    ],
)
def test_options_that_are_refused(step: Callable[..., Any], options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        step(type="shell", shell=options)


def alive(pid: int) -> bool:
    """Does the process live (a zombie does not)?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


BACKGROUND = "sleep 1000 & echo $! > pids; sleep 1001 >/dev/null 2>&1 & echo $! >> pids\n"


def background(context: Any) -> list[int]:
    """The programs that BACKGROUND has started."""
    return [int(line) for line in (context.folders.data / "pids").read_text().split()]


def test_nothing_goes_on_in_the_background(context: Any, shell: Shell) -> None:
    assert shell({"script": BACKGROUND + "echo done"}) == "done"
    until(lambda: not any(map(alive, background(context))), "all has ended")


def test_nothing_goes_on_after_a_failure(context: Any, shell: Shell) -> None:
    with pytest.raises(StepError):
        shell({"script": BACKGROUND + "exit 1"})
    until(lambda: not any(map(alive, background(context))), "all has ended")


def test_it_ends_when_its_time_is_over(context: Any, shell: Shell) -> None:
    context.remaining_seconds = lambda: 0 if (context.folders.data / "begun").exists() else 1
    with pytest.raises(StepTimeout) as ended:
        shell(
            {"script": BACKGROUND + "trap '' TERM; echo half; touch begun; while :; do sleep 1; done"},
        )
    assert ended.value.details == {"last_lines": ["half"]}
    until(lambda: not any(map(alive, background(context))), "all has ended")


def test_it_is_asked_to_end_when_the_run_is_cancelled(context: Any, shell: Shell) -> None:
    data = context.folders.data
    script = "trap 'echo asked > asked; exit 0' TERM; touch begun; while :; do sleep 0.05; done"
    watcher = threading.Thread(
        target=lambda: (until(lambda: (data / "begun").exists(), "begun"), context.stop.set())
    )
    watcher.start()
    with pytest.raises(StepCancelled):
        shell({"script": BACKGROUND + script})
    watcher.join()
    assert (data / "asked").read_text() == "asked\n"
    until(lambda: not any(map(alive, background(context))), "all has ended")
    assert not os.environ.get("OCTOSPOOL_PROGRAM")
