"""`octospool run --dry`: shows what a run would do, and does nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Octospool = Callable[..., Result]
WriteFlow = Callable[[str, str], Path]

FLOW = """
params: {day: {type: date, required: true}}
steps:
  - {name: fetch, type: rest, rest: {uri: "http://127.0.0.1:9/{{ params.day }}", headers: {X: "{{ __input__ }}"}}}
  - {name: kept, type: file, file: {path: out.json, mode: write, data_key: fetch}}
  - {name: told, type: rest, when: fetch.ok, rest: {uri: "http://127.0.0.1:9/{{ fetch.id }}"}}
  - {name: never, type: exit, when: false}
finally:
  - {name: first, type: exit}
  - {name: second, type: exit, when: frist}
"""


def test_a_dry_run_shows_each_step_and_leaves_nothing_behind(
    octospool: Octospool, flow: WriteFlow, folder: Path
) -> None:
    flow("a.yml", FLOW)
    (folder / "secrets.yml").write_text("- {name: t, type: token, token: hunter22hunter22}\n")
    before = sorted(folder.rglob("*"))
    result = octospool(
        "run", "a", "--dry", "--param", "day=2026-11-21", "--data", '"Bearer hunter22hunter22"'
    )
    assert (result.exit_code, result.stdout) == (
        0,
        """\
fetch  rest
    uri: http://127.0.0.1:9/2026-11-21
    headers:
      X: Bearer ***
kept  file
    path: out.json
    mode: write
    data_key: fetch
told  rest  (when unknown: needs the result of fetch)
    uri: http://127.0.0.1:9/<result of fetch.id>
never  exit  skipped  (when does not hold)
finally:
  first  exit
  second  exit  skipped  (when does not hold)
    remark: when names 'frist', which nothing has written before; it is empty there (did you mean 'first'?)
""",
    )
    assert "nothing was called, written or recorded" in result.stderr
    assert sorted(folder.rglob("*")) == before


def test_a_step_that_would_fail_is_told_with_exit_code_1(octospool: Octospool, flow: WriteFlow) -> None:
    flow("a.yml", "steps: [{name: a, type: set_fact, set_fact: {value: '{{ nothing }}'}}]")
    result = octospool("run", "a", "--dry")
    assert result.exit_code == 1
    assert "would fail: template, line 1: 'nothing' is undefined (template_error)" in result.stdout
    assert "1 step would fail" in result.stderr


def test_wrong_parameters_are_told_without_a_rehearsal(octospool: Octospool, flow: WriteFlow) -> None:
    flow("a.yml", FLOW)
    result = octospool("run", "a", "--dry")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "params_invalid" in result.stderr
