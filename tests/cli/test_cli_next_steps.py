"""What `serve` prints: lines that can be copied, and no secret."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from flow_processor.cli.next_steps import lines
from flow_processor.service.flow_views import FlowFileView
from flow_processor.settings import Settings

URL = "http://127.0.0.1:5000"


def file(path: str, *, valid: bool = True, problem: str = "missing_key", **starts: str) -> FlowFileView:
    return FlowFileView(
        **starts,
        path=path,
        valid=valid,
        name=None,
        description=None,
        cron=None,
        every_seconds=None,
        problems=[] if valid else [{"code": problem}],
        last_good_in_force=False,
    )


@pytest.fixture
def printed(folder: Path) -> Callable[..., list[str]]:
    def make(*flows: FlowFileView, windows: bool = False) -> list[str]:
        return list(lines(Settings.load(os.environ), URL, flows, windows=windows))

    return make


def launch_line(text: list[str]) -> list[str]:
    return next(shlex.split(line) for line in text if "/api/flows/launch" in line)


def test_the_launch_line_is_a_command_that_works(printed: Callable[..., list[str]]) -> None:
    assert launch_line(printed(file("hello.yml"))) == [
        "curl",
        f"{URL}/api/flows/launch",
        "-H",
        "Authorization: Bearer default_token",
        "-H",
        "Content-Type: application/json",
        "-d",
        '{"path": "hello.yml"}',
    ]


def test_cmd_exe_knows_no_single_quotes(printed: Callable[..., list[str]]) -> None:
    line = next(line for line in printed(file("a.yml"), windows=True) if "/launch" in line)
    assert '-d "{\\"path\\": \\"a.yml\\"}"' in line


@pytest.mark.parametrize(("windows", "name"), [(False, "$API_TOKEN"), (True, "%API_TOKEN%")])
@pytest.mark.parametrize("token", ["short-one", "a-secret-of-some-length"])
def test_a_token_of_ones_own_is_never_printed(
    printed: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    token: str,
    windows: bool,
    name: str,
) -> None:
    monkeypatch.setenv("API_TOKEN", token)
    text = printed(file("a.yml"), windows=windows)
    assert token not in "\n".join(text)
    assert any(f"Bearer {name}" in line for line in text)


def test_no_line_holds_a_pattern_that_a_shell_would_take_for_itself(
    printed: Callable[..., list[str]],
) -> None:
    """zsh refuses an unquoted ?."""
    assert all("?" not in line or '?limit=5"' in line for line in printed(file("a.yml")))


def test_it_says_where_a_token_of_ones_own_is_set(
    printed: Callable[..., list[str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "config.yml").write_text("api_token: a-secret-of-some-length\n")
    assert any("as set in config.yml" in line for line in printed())
    monkeypatch.setenv("API_TOKEN", "a-secret-of-some-length")
    assert any("as set in API_TOKEN" in line for line in printed())


def test_the_default_token_is_explained(printed: Callable[..., list[str]]) -> None:
    assert any("default_token: for trying out, this machine only" in line for line in printed())


def test_the_first_autostart_flow_is_the_one_to_try(printed: Callable[..., list[str]], folder: Path) -> None:
    (folder / "config.yml").write_text("autostart: [broken.yml, main.yml]\n")
    text = printed(file("a.yml"), file("broken.yml", valid=False), file("main.yml"))
    assert '"path": "main.yml"' in launch_line(text)[-1]


def test_a_flow_that_waits_for_something_is_not_the_one_to_launch(printed: Callable[..., list[str]]) -> None:
    bill, drop = file("bill.yml", queue="orders"), file("a.yml", files="input/*")
    hook = file("hook.yml", webhook="push")
    assert '{"path": "sub/z.yml"}' in launch_line(printed(bill, drop, hook, file("sub/z.yml")))
    text = printed(drop, hook, bill)
    assert not [line for line in text if "/api/flows/launch" in line or " run " in line]
    (line,) = [shlex.split(line) for line in text if " queue put " in line]
    assert line[-3:] == ["put", "orders", '{"id": 1}'] or line[-5:-2] == ["put", "orders", '{"id": 1}']


def test_it_says_where_things_are_and_what_is_broken(printed: Callable[..., list[str]], folder: Path) -> None:
    text = "\n".join(printed(file("a.yml"), file("b.yml", valid=False)))
    for place in (folder, folder / "flows", folder / "logs/spooler_service.log", f"{URL}/api/docs"):
        assert str(place) in text
    assert "1 valid, 1 not: octospool check" in text
    off = file("c.yml", valid=False, problem="step_switched_off")
    text = "\n".join(printed(file("a.yml"), file("b.yml", valid=False), off))
    assert "1 valid, 1 with steps that are switched off, 1 not: octospool check" in text


def test_without_a_valid_flow_there_is_none_to_launch(printed: Callable[..., list[str]]) -> None:
    assert not any("launch" in line for line in printed())
