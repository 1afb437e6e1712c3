"""Where everything of a drawn flow stands: boxes for steps, panels for lists of steps, points of the lines between.

Steps in order stand in one column. Steps with `needs` stand in levels, each below what it needs; a line over several
levels is led between the steps of those it passes. Jumps (goto, on error) run in lanes beside the column.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from flow_processor.graph.drawing import ENDS, Block, Edge, EdgeKind, Node

LETTER, SMALL_LETTER = 8.6, 7.3
"""Width of a letter of a step's name, and of the lines below it, in pixels; wide letters take two."""
LINE = 17.0
"""Height of a line of text."""
PADDING, GAP_X, GAP_Y, LANE = 12.0, 26.0, 30.0, 16.0
MIN_WIDTH = 110.0
END_SIZE = 46.0
SWEEPS = 4
"""How often the levels are put in order by what stands above and below; more changes little."""

Point = tuple[float, float]


@dataclass
class Box:
    """A step, or the mark of an end."""

    key: str
    width: float
    height: float
    lines: tuple[str, ...] = ()
    panels: list[Panel] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    is_end: bool = False

    @property
    def middle(self) -> float:
        """Of its width, in the panel around it."""
        return self.x + self.width / 2


@dataclass
class Route:
    """A line from one step to another; points in the panel around them."""

    kind: EdgeKind
    points: list[Point]
    is_lane: bool = False
    """It runs beside the steps, with corners."""


@dataclass
class Panel:
    """A list of steps; its boxes stand relative to it."""

    title: str
    width: float
    height: float
    boxes: list[Box]
    routes: list[Route]
    x: float = 0.0
    y: float = 0.0


@dataclass
class _Spot:
    """A place in a level: a box, or where a line passes between boxes."""

    width: float
    box: Box | None = None
    x: float = 0.0
    above: list[_Spot] = field(default_factory=list)
    below: list[_Spot] = field(default_factory=list)

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def arrange(block: Block) -> Panel:
    """The panel of a block with everything in its place."""
    boxes = {node.name: _box(node) for node in block.nodes}
    boxes |= {mark: Box(mark, END_SIZE, END_SIZE / 2 + 6, (ENDS[mark],), is_end=True) for mark in block.ends}
    levels = block.levels()
    levels |= {mark: max(levels.values()) + 1 for mark in block.ends}
    rows: list[list[_Spot]] = [[] for _ in range(max(levels.values()) + 1)]
    spots = {name: _Spot(box.width, box) for name, box in boxes.items()}
    for name, level in levels.items():
        rows[level].append(spots[name])
    chains = {
        edge: _chain(edge, spots, rows, levels)
        for edge in block.edges
        if edge.kind in (EdgeKind.NEEDS, EdgeKind.NEXT)
    }
    _put_in_order(rows)
    jumps = [edge for edge in block.edges if edge.kind in (EdgeKind.GOTO, EdgeKind.ON_ERROR)]
    gotos = [edge for edge in jumps if edge.kind is EdgeKind.GOTO]
    errors = [edge for edge in jumps if edge.kind is EdgeKind.ON_ERROR]
    top = PADDING + (LINE + 4 if block.title else 0)
    left = PADDING + LANE * len(gotos)
    width, height = _place(rows, left, top)
    routes = [Route(edge.kind, _points(chain)) for edge, chain in chains.items()]
    routes += [_lane(edge, boxes, left - LANE * number) for number, edge in enumerate(gotos, 1)]
    routes += [_lane(edge, boxes, left + width + LANE * number) for number, edge in enumerate(errors, 1)]
    whole = left + width + LANE * len(errors) + PADDING
    return Panel(
        block.title, max(whole, _text_width((block.title,))), height + PADDING, [*boxes.values()], routes
    )


def _box(node: Node) -> Box:
    lines = (node.name, node.type, *node.notes)
    panels = [arrange(block) for block in node.blocks]
    width = max(MIN_WIDTH, _text_width(lines))
    height = PADDING + LINE * len(lines)
    x = PADDING
    for panel in panels:
        panel.x, panel.y = x, height + 4
        x += panel.width + PADDING
    if panels:
        width = max(width, x)
        height += 4 + max(panel.height for panel in panels) + PADDING
    return Box(node.name, width, height, lines, panels)


def _text_width(lines: Sequence[str]) -> float:
    name, *rest = lines
    return max(_letters(name) * LETTER, *(_letters(line) * SMALL_LETTER for line in rest), 0.0) + 2 * PADDING


def _letters(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _chain(
    edge: Edge, spots: dict[str, _Spot], rows: list[list[_Spot]], levels: dict[str, int]
) -> list[_Spot]:
    """The spots that a line passes, with new ones in the levels between its ends."""
    first, last = levels[edge.source], levels[edge.target]
    passed = [_Spot(LANE) for _ in range(first + 1, last)]
    for level, spot in zip(range(first + 1, last), passed, strict=True):
        rows[level].append(spot)
    chain = [spots[edge.source], *passed, spots[edge.target]]
    for one, other in pairwise(chain):
        one.below.append(other)
        other.above.append(one)
    return chain


def _put_in_order(rows: list[list[_Spot]]) -> None:
    """Each level by the middle of what its spots are tied to, from above and from below in turn."""
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        ordered = rows if down else rows[::-1]
        for before, row in pairwise(ordered):
            places = {id(spot): place for place, spot in enumerate(before)}

            def wish(spot: _Spot, places: dict[int, int] = places, *, down: bool = down) -> float:
                tied = [places[id(one)] for one in (spot.above if down else spot.below) if id(one) in places]
                return sum(tied) / len(tied) if tied else 0.0

            row.sort(key=wish)


def _place(rows: list[list[_Spot]], left: float, top: float) -> Point:
    """Give every spot its place; the width of all levels, and the lower edge of the last."""
    widths = [sum(spot.width for spot in row) + GAP_X * (len(row) - 1) for row in rows]
    width, y = max(widths), top
    for row, own in zip(rows, widths, strict=True):
        x = left + (width - own) / 2
        for spot in row:
            spot.x = x
            x += spot.width + GAP_X
            if spot.box is not None:
                spot.box.x, spot.box.y = spot.x, y
        height = max((spot.box.height for spot in row if spot.box), default=0.0)
        for spot in row:
            if spot.box is None:
                spot.box = Box("", 0.0, height, x=spot.middle, y=y)
        y += height + GAP_Y
    return width, y - GAP_Y


def _points(chain: list[_Spot]) -> list[Point]:
    return [point for spot in _ends(chain) for point in spot]


def _ends(chain: list[_Spot]) -> Iterator[list[Point]]:
    for number, spot in enumerate(chain):
        box = spot.box
        if box is not None:
            upper, lower = (box.middle, box.y), (box.middle, box.y + box.height)
            yield [lower] if number == 0 else [upper] if number == len(chain) - 1 else [upper, lower]


def _lane(edge: Edge, boxes: dict[str, Box], x: float) -> Route:
    source, target = boxes[edge.source], boxes[edge.target]
    is_left = edge.kind is EdgeKind.GOTO
    begin = source.x if is_left else source.x + source.width
    end = target.x if is_left else target.x + target.width
    # Not at the middle: two jumps from and to one step must not lie on each other.
    out, into = source.y + source.height * 0.6, target.y + target.height * 0.35
    return Route(edge.kind, [(begin, out), (x, out), (x, into), (end, into)], is_lane=True)
