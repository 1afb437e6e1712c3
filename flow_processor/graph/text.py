"""A flow drawn in lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flow_processor.graph.drawing import ENDS, Block, Drawing, EdgeKind, Node

_PLAIN = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-", "→": ">", "←": "<", "·": "-", "…": "~"})


def as_text(drawing: Drawing, *, unicode: bool = True) -> str:
    """The flow as a tree of its steps, each with where it leads; `unicode=False` draws with ASCII signs."""
    title = drawing.path if drawing.title == drawing.path else f"{drawing.path}: {drawing.title}"
    lines = [title, *_block_lines(drawing.body)]
    for handler in drawing.handlers:
        lines += ["", handler.title, *_block_lines(handler)]
    text = "\n".join(lines) + "\n"
    return text if unicode else text.translate(_PLAIN).encode("ascii", "backslashreplace").decode()


def _block_lines(block: Block) -> Iterator[str]:
    levels = block.levels()
    nodes = sorted(block.nodes, key=lambda node: levels[node.name])
    width = max(len(node.name) for node in nodes)
    for node in nodes:
        is_last = node is nodes[-1]
        number = "" if block.is_ordered else f"{levels[node.name] + 1}  "
        yield f"{'└─' if is_last else '├─'} {number}{_node_line(node, block, width)}"
        rail = "   " if is_last else "│  "
        for line in _inner_lines(node.blocks):
            yield rail + line


def _inner_lines(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        if not block.title:
            yield from _block_lines(block)
            continue
        is_last = block is blocks[-1]
        yield f"{'└─' if is_last else '├─'} {block.title}:"
        for line in _block_lines(block):
            yield ("   " if is_last else "│  ") + line


def _node_line(node: Node, block: Block, width: int) -> str:
    edges = [edge for edge in block.edges if edge.source == node.name]
    needs = [e.source for e in block.edges if e.target == node.name and e.kind is EdgeKind.NEEDS]
    parts = [node.type, *node.notes]
    if needs:
        parts.append(f"← {', '.join(needs)}")
    for edge in edges:
        if edge.kind in (EdgeKind.GOTO, EdgeKind.ON_ERROR):
            parts.append(f"{edge.kind.value} → {ENDS.get(edge.target, edge.target)}")
    return f"{node.name.ljust(width)}  {' · '.join(parts)}"
