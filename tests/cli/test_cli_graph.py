"""`octospool graph`: a flow as text, Mermaid or SVG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Octospool = Callable[..., Result]
WriteFlow = Callable[[str, str], Path]

FLOW = "name: Two\nsteps:\n  - {name: one, type: exit, when: a}\n  - {name: two, type: exit}\n"


def test_a_flow_is_drawn_on_stdout_in_three_forms(octospool: Octospool, flow: WriteFlow) -> None:
    flow("sub/a.yml", FLOW)
    text = octospool("graph", "sub/a")
    assert (text.exit_code, text.stderr) == (0, "")
    assert text.stdout.splitlines()[0] == "sub/a.yml: Two"
    assert "s1 --> s2" in octospool("graph", "sub/a", "--format", "mermaid").stdout
    assert octospool("graph", "sub/a", "--format", "svg").stdout.startswith("<svg ")


def test_the_picture_is_written_to_a_file(octospool: Octospool, flow: WriteFlow) -> None:
    flow("a.yml", FLOW)
    result = octospool("graph", "a", "--format", "svg", "--output", "a.svg")
    assert (result.stdout, result.stderr) == ("", "written  a.svg\n")
    assert Path("a.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert octospool("graph", "a", "--output", "nowhere/a.txt").exit_code == 2


def test_a_wrong_flow_is_not_drawn(octospool: Octospool, flow: WriteFlow) -> None:
    flow("a.yml", "steps: []")
    result = octospool("graph", "a")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "flows/a.yml:1:8: steps" in result.stderr
    assert octospool("graph", "b").exit_code == 3
