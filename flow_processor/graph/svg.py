"""A flow drawn as an SVG picture that needs nothing else: no script, no font, no library."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from flow_processor.graph.drawing import Drawing, EdgeKind
from flow_processor.graph.layout import LINE, PADDING, Box, Panel, Route, arrange

_MARGIN, _TITLE = 16.0, 30.0
_CORNER = 6.0

_STYLE = """
  text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #57606a; }
  .title { font-size: 16px; font-weight: bold; fill: #1f2328; }
  .name { font-size: 14px; font-weight: bold; fill: #1f2328; }
  .box { fill: #f6f8fa; stroke: #57606a; }
  .end { fill: #1f2328; } text.end { fill: #ffffff; text-anchor: middle; }
  .panel { fill: #ffffff; stroke: #afb8c1; stroke-dasharray: 4 3; }
  .page { fill: #ffffff; }
  path { fill: none; stroke: #57606a; stroke-width: 1.4; }
  path.goto { stroke: #0969da; stroke-dasharray: 5 3; }
  path.error { stroke: #cf222e; stroke-dasharray: 5 3; }
  path.head { fill: #57606a; stroke: none; } path.goto-head { fill: #0969da; stroke: none; }
  path.error-head { fill: #cf222e; stroke: none; }
"""

_CLASSES = {EdgeKind.NEXT: "next", EdgeKind.NEEDS: "next", EdgeKind.GOTO: "goto", EdgeKind.ON_ERROR: "error"}
_HEADS = {"next": "head", "goto": "goto-head", "error": "error-head"}


def as_svg(drawing: Drawing) -> str:
    """The flow as one SVG document. Blue: goto. Red: on an error."""
    panels = [arrange(block) for block in (drawing.body, *drawing.handlers)]
    x = _MARGIN
    for panel in panels:
        panel.x, panel.y = x, _MARGIN + _TITLE
        x += panel.width + _MARGIN
    width = max(x, _MARGIN * 2 + len(drawing.title) * 11)
    height = _TITLE + max(panel.height for panel in panels) + 2 * _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{_text(drawing.title)}</title>",
        f"<style>{_STYLE}</style>",
        *_markers(),
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        f'<text class="title" x="{_MARGIN}" y="{_MARGIN + 14}">{_text(drawing.title)}</text>',
    ]
    for panel in panels:
        lines += _panel(panel, is_framed=bool(panel.title))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _markers() -> Iterator[str]:
    yield "<defs>"
    for name, head in _HEADS.items():
        yield (
            f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path class="{head}" d="M 0 0 L 10 5 L 0 10 z"/></marker>'
        )
    yield "</defs>"


def _panel(panel: Panel, *, is_framed: bool) -> Iterator[str]:
    yield f'<g transform="translate({panel.x:.1f} {panel.y:.1f})">'
    if is_framed:
        yield f'<rect class="panel" width="{panel.width:.1f}" height="{panel.height:.1f}" rx="{_CORNER}"/>'
    if panel.title:
        yield f'<text x="{PADDING}" y="{PADDING + 8}">{_text(panel.title)}</text>'
    for box in panel.boxes:
        yield from _box(box)
    for route in panel.routes:
        name = _CLASSES[route.kind]
        yield f'<path class="{name}" marker-end="url(#{name})" d="{_line(route)}"/>'
    yield "</g>"


def _box(box: Box) -> Iterator[str]:
    size = f'width="{box.width:.1f}" height="{box.height:.1f}"'
    yield f'<g transform="translate({box.x:.1f} {box.y:.1f})">'
    if box.is_end:
        yield f'<rect class="end" {size} rx="{box.height / 2:.1f}"/>'
        yield f'<text class="end" x="{box.width / 2:.1f}" y="{box.height / 2 + 4:.1f}">{_text(box.lines[0])}</text>'
    else:
        yield f'<rect class="box" {size} rx="{_CORNER}"/>'
        for number, line in enumerate(box.lines, 1):
            kind = ' class="name"' if number == 1 else ""
            yield f'<text{kind} x="{PADDING}" y="{LINE * number + 2:.1f}">{_text(line)}</text>'
        for panel in box.panels:
            yield from _panel(panel, is_framed=True)
    yield "</g>"


def _line(route: Route) -> str:
    (x, y), *rest = route.points
    parts = [f"M {x:.1f} {y:.1f}"]
    for number, (to_x, to_y) in enumerate(rest):
        # Between two levels a curve; past a level, and in a lane, straight.
        if route.is_lane or number % 2 == 1 or to_x == x:
            parts.append(f"L {to_x:.1f} {to_y:.1f}")
        else:
            half = (y + to_y) / 2
            parts.append(f"C {x:.1f} {half:.1f} {to_x:.1f} {half:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return " ".join(parts)


def _text(text: str) -> str:
    """The text as XML takes it: escaped, without what no XML document may hold."""
    return escape("".join(letter if letter.isprintable() else " " for letter in text))
