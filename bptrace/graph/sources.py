"""What a node is computed from, as a reader sees it: inline operands opened up."""

from __future__ import annotations

from collections.abc import Iterator

from bptrace.graph.node import Node
from bptrace.ops.sequence import Pick, Stack


def sources(node: Node) -> list[Node]:
    """The operands of a node, each once; an inline one stands for what it is made of, a time step of a
    sequence that was put together from its steps for that step."""
    return list(dict.fromkeys(_opened(node)))


def _opened(node: Node) -> Iterator[Node]:
    if isinstance(node.op, Pick) and isinstance(node.inputs[0].op, Stack):
        operands: tuple[Node, ...] = (node.inputs[0].inputs[node.op.place],)
    else:
        operands = node.inputs
    for operand in operands:
        if operand.inline:
            yield from _opened(operand)
        else:
            yield operand
