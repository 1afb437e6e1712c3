"""Drawings of flows: what is in them, and that every form of them holds it, well-formed."""

from __future__ import annotations

import random
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from flow_processor.flow_files import FlowLibrary, parse_flow
from flow_processor.graph import Drawing, as_mermaid, as_svg, as_text, draw, draw_file
from flow_processor.graph.drawing import Block, Edge, EdgeKind, Node
from flow_processor.graph.layout import Panel, arrange
from flow_processor.service.own_code import OwnCode, flow_library
from flow_processor.settings import Settings
from tests.shipped import WRITTEN_BY_DAEMONS, switch_containers_on

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    path.relative_to(ROOT / "data/flows").as_posix() for path in (ROOT / "data/flows").rglob("*.yml")
)

JUMPS = """
name: Jumps
finally_step: last
steps:
  - {name: first, type: set_fact, set_fact: {value: 1}, on_error_goto: __exit__}
  - name: route
    type: switch
    switch:
      data_key: first
      cases:
        - {when: "1", step: {type: goto, goto: {step_name: __start__}}}
      default: {name: rest, type: sleep, sleep: {seconds: 1}}
  - {name: away, type: goto, when: first > 1, goto: {step_name: __end__}}
  - {name: stop, type: exit}
  - {name: last, type: debug, when: [a, b], retry: {attempts: 2}, ignore_errors: "x"}
"""


def drawing_of(text: str) -> Drawing:
    return draw("a.yml", parse_flow(text, "a.yml"))


def test_what_leads_from_step_to_step() -> None:
    body = drawing_of(JUMPS).body
    assert {(edge.source, edge.target, edge.kind.value) for edge in body.edges} == {
        ("first", "route", "next"),
        ("route", "away", "next"),
        ("away", "stop", "next"),
        ("first", "__exit__", "on error"),
        ("route", "first", "goto"),
        ("away", "__end__", "goto"),
    }


def test_the_text_is_a_tree_with_all_that_leads_elsewhere() -> None:
    assert as_text(drawing_of(JUMPS)).splitlines() == [
        "a.yml: Jumps",
        "├─ first  set_fact · on error → exit",
        "├─ route  switch · first · goto → first",
        "│  ├─ when 1:",
        "│  │  └─ 1  goto",
        "│  └─ default:",
        "│     └─ rest  sleep · 1.0",
        "├─ away   goto · when first > 1 · goto → end",
        "├─ stop   exit",
        "└─ last   debug · when a and b · tried up to 3 times · ignores x · whatever happened (finally_step)",
    ]


def test_where_results_are_sent_is_told() -> None:
    drawing = drawing_of(
        "steps:\n"
        "  - {name: a, type: set_fact, set_fact: {value: 1}, output: paid}\n"
        "  - {name: b, type: set_fact, set_fact: {value: []}, output: {queue: items, type: multiple}}\n"
    )
    assert [node.notes for node in drawing.body.nodes] == [
        ("to the queue paid",),
        ("each element to the queue items",),
    ]


def test_text_for_terminals_without_unicode_is_ascii() -> None:
    text = as_text(drawing_of("steps: [{name: grün, type: exit}]"), unicode=False)
    assert text == "a.yml\n`- gr\\xfcn  exit\n"


def test_sub_flows_are_named_or_drawn(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("steps: [{name: one, type: flow, flow: {path: b.yml}}]")
    (tmp_path / "b.yml").write_text("steps: [{name: two, type: exit}]")
    library = FlowLibrary(tmp_path)
    assert as_text(draw_file(library, "a")).splitlines()[1:] == ["└─ one  flow · b.yml"]
    assert as_text(draw_file(library, "a", sub_flows=True)).splitlines()[1:] == [
        "└─ one  flow · b.yml",
        "   └─ b.yml:",
        "      └─ two  exit",
    ]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowLibrary]:
    """The shipped flows, which use own code and containers."""
    data = tmp_path_factory.mktemp("shipped") / "data"
    shutil.copytree(ROOT / "data", data, ignore=WRITTEN_BY_DAEMONS)
    switch_containers_on(data)
    settings = Settings.load({"DATA_PATH": str(data)})
    code = OwnCode(settings)
    yield flow_library(settings, code=code.use)
    code.close()


@pytest.mark.parametrize("path", SHIPPED)
def test_every_shipped_flow_is_drawn_in_every_form(path: str, shipped: FlowLibrary) -> None:
    drawing = draw_file(shipped, path, sub_flows=True)
    names = [step.name for step in shipped.load(path).spec.steps]
    svg = as_svg(drawing)
    texts = [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314
    assert set(names) <= set(texts)
    assert all(name in as_text(drawing) for name in names)
    assert as_mermaid(drawing).count("[") >= len(names)
    assert not any(word in svg for word in ("<script", "href", "@import"))


NASTY = "a<b>&\"'`;{}|\u0007\u202e 日本"


def test_texts_are_escaped_in_pictures() -> None:
    node = Node(NASTY, "jq", (NASTY,))
    drawing = Drawing("x.yml", NASTY, Block("", (node,), ()), (Block(NASTY, (node,), ()),))
    root = ET.fromstring(as_svg(drawing))  # noqa: S314
    shown = NASTY.replace("\u0007", " ").replace("\u202e", " ")
    assert [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")].count(shown) == 6
    mermaid = as_mermaid(drawing)
    labels = [line.split('["', 1)[1] for line in mermaid.splitlines() if '["' in line]
    assert labels
    for label in labels:
        assert label.endswith('"]')
        assert not set(label[:-2].replace("<b>", "").replace("</b>", "").replace("<br/>", "")) & set(
            '"<>&`{}'
        )


@pytest.mark.parametrize("seed", range(20))
def test_no_box_lies_on_another_and_all_stay_inside(seed: int) -> None:
    """Random flows by `needs`, some with steps inside steps and with jumps."""
    dice = random.Random(seed)
    panel = arrange(_random_block(dice, depth=0))
    check_places(panel)


def _random_block(dice: random.Random, *, depth: int) -> Block:
    count = dice.randint(1, 12 if depth == 0 else 3)
    names = [f"step {number}" for number in range(count)]
    nodes = tuple(
        Node(
            name,
            "rest",
            ("x" * dice.randint(0, 60),),
            tuple(
                _random_block(dice, depth=depth + 1) for _ in range(dice.randint(0, 2) if depth < 2 else 0)
            ),
        )
        for name in names
    )
    kind = dice.choice([EdgeKind.NEXT, EdgeKind.NEEDS])
    pairs = [(a, b) for a, b in combinations(names, 2) if dice.random() < 0.3 or kind is EdgeKind.NEXT]
    if kind is EdgeKind.NEXT:
        pairs = list(pairwise(names))
    edges = [Edge(a, b, kind) for a, b in pairs]
    edges += [
        Edge(dice.choice(names), dice.choice([*names, "__end__"]), EdgeKind.GOTO)
        for _ in range(dice.randint(0, 2))
    ]
    title, is_ordered = dice.choice(["", "each"]), kind is EdgeKind.NEXT
    return Block(title, nodes, tuple(dict.fromkeys(edges)), is_ordered=is_ordered)


def check_places(panel: Panel) -> None:
    for box in panel.boxes:
        assert 0 <= box.x <= box.x + box.width <= panel.width
        assert 0 <= box.y <= box.y + box.height <= panel.height
        for inner in box.panels:
            assert inner.x + inner.width <= box.width
            assert inner.y + inner.height <= box.height
            check_places(inner)
    for one, other in combinations(panel.boxes, 2):
        is_apart_x = one.x + one.width <= other.x or other.x + other.width <= one.x
        is_apart_y = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert is_apart_x or is_apart_y
    for route in panel.routes:
        assert all(0 <= x <= panel.width and 0 <= y <= panel.height for x, y in route.points)
