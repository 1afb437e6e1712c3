"""A flow drawn in the language of Mermaid, which Markdown pages of many sites show as a picture."""

from __future__ import annotations

from collections.abc import Iterator

from flow_processor.graph.drawing import ENDS, Block, Drawing, EdgeKind, Node

_ARROWS = {
    EdgeKind.NEXT: "-->",
    EdgeKind.NEEDS: "-->",
    EdgeKind.GOTO: "-. goto .->",
    EdgeKind.ON_ERROR: "-. on error .->",
}


def as_mermaid(drawing: Drawing) -> str:
    """The flow as a Mermaid flowchart."""
    lines = ["---", f"title: {_quoted(drawing.title)}", "---", "flowchart TD"]
    lines += _block_lines(drawing.body, "s")
    for number, handler in enumerate(drawing.handlers, 1):
        lines += _group(handler, f"h{number}")
    return "\n".join(lines) + "\n"


def _block_lines(block: Block, prefix: str) -> Iterator[str]:
    ids = {node.name: f"{prefix}{number}" for number, node in enumerate(block.nodes, 1)}
    ids |= {mark: f"{prefix}_{ENDS[mark]}" for mark in block.ends}
    for node in block.nodes:
        yield from _node_lines(node, ids[node.name])
    for mark in block.ends:
        yield f"  {ids[mark]}(({ENDS[mark]}))"
    for edge in block.edges:
        yield f"  {ids[edge.source]} {_ARROWS[edge.kind]} {ids[edge.target]}"


def _node_lines(node: Node, key: str) -> Iterator[str]:
    label = "<br/>".join([f"<b>{_escaped(node.name)}</b>", *map(_escaped, (node.type, *node.notes))])
    if not node.blocks:
        yield f'  {key}["{label}"]'
        return
    yield f'  subgraph {key}["{label}"]'
    yield "  direction TB"
    for number, block in enumerate(node.blocks, 1):
        yield from (
            _group(block, f"{key}_{number}") if block.title else _block_lines(block, f"{key}_{number}_")
        )
    yield "  end"


def _group(block: Block, key: str) -> Iterator[str]:
    yield f'  subgraph {key}["{_escaped(block.title)}"]'
    yield "  direction TB"
    yield from _block_lines(block, f"{key}_")
    yield "  end"


def _escaped(text: str) -> str:
    """The text as Mermaid takes it inside quotes: entities by number, no line breaks."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return "".join(f"#{ord(letter)};" if letter in '"#<>&`;{}[]()\\*_' else letter for letter in shown)


def _quoted(text: str) -> str:
    """A YAML text for the front matter."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
