"""The command line as such: overview, help, exit codes, what needs no flow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import jsonschema
import pytest
from click.testing import Result

from flow_processor import errors
from flow_processor.cli import exits
from flow_processor.cli.app import COMMANDS
from flow_processor.cli.app import octospool as main_command
from flow_processor.cli.exits import ExitCode
from flow_processor.cli.output import show_error
from flow_processor.documents import parse
from flow_processor.run import TERMINAL_STATUSES
from flow_processor.version import VERSION

Octospool = Callable[..., Result]


def all_commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    ctx = click.Context(main_command)
    for name in COMMANDS:
        found.append((name,))
        command = main_command.get_command(ctx, name)
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in command.list_commands(ctx)]
    return found


def test_the_overview_names_every_command_and_loads_none(octospool: Octospool) -> None:
    text = octospool("--help").output
    assert all(f"  {name}" in text and sentence in text for name, sentence in COMMANDS.items())


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(octospool: Octospool, words: tuple[str, ...]) -> None:
    result = octospool(*words, "--help")
    assert result.exit_code == 0
    assert f"octospool {words[0]}" in result.output.partition("Example:")[2]


def test_version_loads_nothing_that_a_flow_needs() -> None:
    """`octospool version` is for scripts and bug reports: it must be quick, and work when little else does."""
    code = (
        "import sys; from flow_processor.__main__ import main; code = main(['version']);"
        "heavy = {'pydantic', 'yaml', 'sqlalchemy', 'flask', 'jq', 'jinja2', 'requests'} & set(sys.modules);"
        "sys.exit(f'loaded: {heavy}' if heavy else code)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert (done.returncode, done.stderr) == (0, "")
    assert VERSION in done.stdout


def test_version_as_json(octospool: Octospool) -> None:
    assert json.loads(octospool("version", "--json").stdout)["octospool"] == VERSION


def test_an_unknown_command_is_a_usage_error(octospool: Octospool) -> None:
    assert octospool("rnu").exit_code == ExitCode.USAGE


def test_wrong_settings_are_all_named_and_end_with_2(
    octospool: Octospool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_PORT", "many")
    monkeypatch.setenv("TIMEZONE", "Nowhere/Land")
    result = octospool("flows")
    assert result.exit_code == ExitCode.USAGE
    assert "API_PORT" in result.stderr
    assert "TIMEZONE" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("runs",), ("runs", "--json"), ("runs", "list", "--json"), ("locks", "--json")]
)
def test_lists_are_what_a_group_shows_by_itself(
    octospool: Octospool, folder: Path, arguments: tuple[str, ...]
) -> None:
    result = octospool(*arguments)
    assert result.exit_code == 0
    assert result.stdout == "" or list(json.loads(result.stdout).values()) == [[]]


@pytest.mark.parametrize("words", [("runs",), ("run", "hello"), ("check",), ("flows",), ("locks",)])
def test_where_there_is_no_data_folder_none_is_made(
    octospool: Octospool, folder: Path, words: tuple[str, ...]
) -> None:
    result = octospool(*words, "--data-path", "typo")
    assert result.exit_code == ExitCode.USAGE
    assert f'octospool init "{Path("typo").absolute()}"' in result.stderr
    assert not Path("typo").exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.FlowNotFound("x"), 3),
        (errors.RunNotFound("x"), 3),
        (errors.FlowRunning("x"), 4),
        (errors.Conflict("x"), 1),
        (errors.InvalidRequest("x"), 2),
        (errors.SpecError([]), 2),
        (errors.SettingsError("x"), 2),
        (errors.Unauthorized("x"), 77),
        (errors.DataFolderInUse("x"), 75),
        (errors.Unavailable("x"), 69),
        (errors.OctospoolError("x"), 1),
    ],
)
def test_an_error_has_its_exit_code(error: errors.OctospoolError, code: int) -> None:
    assert exits.of_error(error) == code


def test_every_terminal_status_has_an_exit_code() -> None:
    codes = {status.value: int(exits.of_status(status)) for status in TERMINAL_STATUSES}
    assert codes == {
        "succeeded": 0,
        "exited": 0,
        "failed": 1,
        "skipped": 4,
        "cancelled": 5,
        "interrupted": 6,
    }


def test_run_help_lists_every_exit_code(octospool: Octospool) -> None:
    text = " ".join(octospool("run", "--help").output.split())
    assert all(f"{code.value} {code.name.lower().replace('_', ' ')}" in text for code in ExitCode)


def test_init_makes_a_folder_whose_flow_is_valid(octospool: Octospool, folder: Path) -> None:
    made = octospool("init", "demo")
    assert made.exit_code == 0
    assert "run hello --data-path" in made.stderr
    checked = octospool("check", "--data-path", "demo", "--json")
    assert json.loads(checked.stdout) == {"checked": ["hello.yml"], "problems": [], "notes": []}


def test_flows_of_init_name_a_schema_that_is_there_and_takes_them(octospool: Octospool, folder: Path) -> None:
    octospool("init", "demo")
    for file in Path("demo/flows").rglob("*.yml"):
        text = file.read_text(encoding="utf-8")
        named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
        assert named is not None
        schema = (file.parent / named[1]).resolve()
        assert schema == Path("demo/flow.schema.json").resolve()
        jsonschema.validate(parse(text, file=file.name).data, json.loads(schema.read_text()))


def test_init_brings_the_schema_up_to_date(octospool: Octospool, folder: Path) -> None:
    octospool("init", "demo")
    schema = Path("demo/flow.schema.json")
    newest = schema.read_text()
    assert f"kept  {schema}" in octospool("init", "demo").stderr
    schema.write_text("{}")
    assert f"renewed  {schema}" in octospool("init", "demo").stderr
    assert schema.read_text() == newest


def test_init_overwrites_nothing(octospool: Octospool, folder: Path) -> None:
    octospool("init", "demo")
    Path("demo/config.yml").write_text("mine")
    Path("demo/flows/hello.yml").unlink()
    again = octospool("init", "demo")
    assert "kept" in again.stderr
    assert Path("demo/config.yml").read_text() == "mine"
    assert Path("demo/flows/hello.yml").exists()


def test_init_where_no_folder_can_be_made_says_why(octospool: Octospool, folder: Path) -> None:
    Path("taken").write_text("")
    result = octospool("init", "taken")
    assert result.exit_code == ExitCode.USAGE
    assert "cannot make taken" in result.stderr


def test_schema_is_printed_or_written(octospool: Octospool, folder: Path) -> None:
    printed = octospool("schema").stdout
    assert octospool("schema", "--output", "flow.schema.json").stderr == "written  flow.schema.json\n"
    assert json.loads(printed) == json.loads(Path("flow.schema.json").read_text())


def test_a_flow_that_is_running_is_cancelled_by_a_command_not_by_a_call(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = "flow 'a.yml' is running; cancel it (POST /api/runs/r1/cancel)"
    show_error(errors.FlowRunning(message, details={"run_id": "r1", "flow": "a.yml"}))
    said = capsys.readouterr().err
    assert "octospool runs cancel r1" in said
    assert "POST" not in said


def test_schema_makes_no_folders(octospool: Octospool, folder: Path) -> None:
    result = octospool("schema", "--output", "nowhere/x.json")
    assert (result.exit_code, Path("nowhere").exists()) == (ExitCode.USAGE, False)
    assert "there is no folder" in result.stderr
