"""What the formulas of a derivation read, and how they are shown when they are long."""

from __future__ import annotations

from collections.abc import Iterator

from bptrace.formula.expr import (
    ONE,
    Expr,
    Number,
    Ref,
    Sum,
    Worked,
    children,
    rebuild,
)
from bptrace.graph.graph import Graph
from bptrace.graph.lookup import element_at, element_id
from bptrace.graph.node import Derivative, Node


def id_of(ref: Ref) -> str:
    return element_id(ref.node, element_at(ref.node, ref.index))


def subjects_of(graph: Graph) -> dict[Node, Node]:
    """The nodes of the backward pass that are a derivative of the loss, each with the node by which."""
    deltas = {node.delta.id: node for node in graph.nodes if node.delta and node.delta.factor == 1}
    found: dict[Node, Node] = {}
    for node in graph.nodes:
        if node.phase == "backward" and node.word != "local_derivative":
            if isinstance(node.symbol, Derivative):
                found[node] = node.symbol.of
            elif node.id in deltas:
                found[node] = deltas[node.id]
    return found


def sources_of(node: Node) -> set[Node]:
    """The nodes that a node's formula refers to: its operands, and those of inline ones."""
    found: set[Node] = set()
    for operand in node.inputs:
        found |= sources_of(operand) if operand.inline else {operand}
    return found


def operands_of(expr: Expr) -> list[Ref]:
    """The elements that stand in a formula, each once; not those behind a `…`."""

    def read(part: Expr) -> Iterator[Ref]:
        if isinstance(part, Ref):
            yield part
        elif not isinstance(part, Worked):
            for child in children(part):
                yield from read(child)

    return list(dict.fromkeys(read(expr)))


def in_a_row(expr: Expr) -> Iterator[Expr]:
    """The terms of sums within sums."""
    if isinstance(expr, Sum):
        for term in expr.terms:
            yield from in_a_row(term)
    else:
        yield expr


def worked_inside(expr: Expr) -> Iterator[Worked]:
    if isinstance(expr, Worked):
        yield expr
    else:
        for child in children(expr):
            yield from worked_inside(child)


def with_dots(expr: Expr) -> Expr:
    """`…` for the terms that are not written."""
    return Number(ONE.value, "…") if isinstance(expr, Worked) else rebuild(expr, with_dots)
