"""Parameters in the terminal: given, refused, shown; and flows with their defaults filled in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml
from click.testing import Result

from flow_processor.cli.values import params_given

Octospool = Callable[..., Result]
WriteFlow = Callable[[str, str], Path]

REPORT = """
name: Report
params:
  day: {type: date, required: true, description: Which day}
  limit: {type: int, default: 10, max: 100}
steps:
  - {name: out, type: set_fact, set_fact: {value: "{{ params.day }} {{ params.limit }}"}}
"""


@pytest.mark.parametrize(
    ("pairs", "params", "given"),
    [
        ((), None, None),
        (("n:=1",), None, {"n": 1}),
        ((), '{"n": 1}', {"n": 1}),
        (("n:=2",), '{"n": 1, "m": "x"}', {"n": 2, "m": "x"}),
        ((), "{}", {}),
    ],
)
def test_single_values_win_over_the_object(
    pairs: tuple[str, ...], params: str | None, given: dict[str, object] | None
) -> None:
    assert params_given(pairs, params) == given


@pytest.mark.parametrize("params", ["[]", "null", "{", "@missing.json"])
def test_parameters_are_a_json_object(params: str) -> None:
    with pytest.raises(click.BadParameter):
        params_given((), params)


def test_a_run_is_given_values_and_shows_them(octospool: Octospool, flow: WriteFlow, tmp_path: Path) -> None:
    flow("report.yml", REPORT)
    (tmp_path / "values.json").write_text('{"day": "2026-11-20", "limit": 3}')
    ran = octospool("run", "report", "--params", "@values.json", "--param", "day=2026-11-21")
    assert ran.exit_code == 0, ran.stderr
    data = json.loads(ran.stdout)
    assert data["out"] == "2026-11-21 3"
    shown = octospool("runs", "show", data["__run_id__"]).stdout
    assert "day=2026-11-21  limit:=3" in shown

    refused = octospool("run", "report", "--param", "limit=101", "--param", "dya=x")
    assert refused.exit_code not in (0, 1)
    for said in ("did you mean 'day'?", "params: day: is missing", "limit: must be at most 100, found"):
        assert said in refused.stderr


def test_a_flow_is_shown_with_what_it_takes(octospool: Octospool, flow: WriteFlow) -> None:
    flow("report.yml", REPORT)
    shown = octospool("flows", "show", "report")
    assert shown.exit_code == 0, shown.stderr
    for said in ("report.yml", "Report", "(required)", "Which day", " int ", " max 100"):
        assert said in shown.stdout
    schema = json.loads(octospool("flows", "show", "report", "--json").stdout)["params"]
    assert schema["required"] == ["day"]
    assert octospool("flows", "show", "repotr").exit_code != 0


def test_the_effective_flow_has_its_defaults_filled_in(
    octospool: Octospool, flow: WriteFlow, folder: Path
) -> None:
    flow("a.yml", "defaults: {all: {on_interrupt: rerun}}\nsteps: [{name: a, type: exit}]\n")
    (folder / "defaults.yml").write_text("all: {timeout_seconds: 5}\n")
    shown = octospool("flows", "show", "a", "--effective")
    assert yaml.safe_load(shown.stdout) == {
        "steps": [{"name": "a", "type": "exit", "on_interrupt": "rerun", "timeout_seconds": 5}]
    }


def test_check_looks_at_defaults_yml_too(octospool: Octospool, flow: WriteFlow, folder: Path) -> None:
    flow("a.yml", "steps: [{name: a, type: exit}]\n")
    (folder / "defaults.yml").write_text("all:\n  tries: 5\n")
    checked = octospool("check", "--short")
    assert checked.exit_code == 1
    assert "defaults.yml:2:3: all.tries: unknown key 'tries'" in checked.stdout
