"""Draws a flow: its steps, what leads from one to another, and what stands inside them. Nothing is evaluated."""

from flow_processor.graph.drawing import Drawing, draw, draw_file
from flow_processor.graph.mermaid import as_mermaid
from flow_processor.graph.svg import as_svg
from flow_processor.graph.text import as_text

FORMS = {"text": as_text, "mermaid": as_mermaid, "svg": as_svg}
"""What a flow can be drawn as."""

__all__ = ["FORMS", "Drawing", "as_mermaid", "as_svg", "as_text", "draw", "draw_file"]
