"""Forward mode: adds tangents to the graph, one pass for each scalar entry that is varied."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.formula.expr import ONE, ZERO, Expr, Index
from bptrace.graph.graph import Graph
from bptrace.graph.node import Derivative, Node, Own, Shape
from bptrace.graph.op import Op, Operand, Sample, Term
from bptrace.graph.reverse import local_derivative
from bptrace.ops.arithmetic import Add
from bptrace.ops.lazy import np
from bptrace.ops.leaves import Fill

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class OneHot(Op):
    """1 at one place, 0 at the others: the direction in which forward mode moves."""

    name = "one_hot"
    extents: Shape = ()
    place: Index = ()

    def shape(self, *shapes: Shape) -> Shape:
        return self.extents

    def compute(self, *arrays: Array) -> Array:
        out = np.zeros(self.extents)
        out[self.place] = 1.0
        return out

    def formula(self, at: Index, *operands: Operand) -> Expr:
        return ONE if tuple(at) == self.place else ZERO

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls((2, 3), (1, 2)), ()), (cls((3,), (0,)), ())]


def add_tangents(graph: Graph, forward: list[Node], varied: Node, place: Index, label: str) -> dict[Node, Node]:
    """One pass: the derivative of every node of `forward` by one entry of `varied`.

    Nodes get ids `tangent.LABEL.NODE`; where the tangent is identically zero there is none.
    """
    seed_op: Op = OneHot(varied.shape, place) if varied.shape else Fill()
    seed = graph.add(
        f"tangent.{label}.{varied.id}",
        seed_op,
        phase="tangent",
        symbol=Derivative(varied, varied),
        axes=varied.axes,
        block=f"tangent.{label}",
    )
    tangents = {varied: seed}
    for node in forward:
        moving = [k for k, operand in enumerate(node.inputs) if operand in tangents]
        if not moving:
            continue
        terms = [_term(graph, node, k, tangents[node.inputs[k]], label) for k in moving]
        found = [term for term in terms if term is not None]
        if not found:
            continue
        op, inputs = found[0] if len(found) == 1 else (Add(), tuple(_inner(graph, *term) for term in found))
        tangents[node] = graph.add(
            f"tangent.{label}.{node.id}", op, *inputs,
            phase="tangent", symbol=Derivative(node, varied), axes=node.axes, layer=node.layer, inline=node.inline,
            block=f"tangent.{label}",
        )  # fmt: skip
    return tangents


def _term(graph: Graph, node: Node, k: int, tangent: Node, label: str) -> Term | None:
    def emit(op: Op, *inputs: Node, inline: bool = True) -> Node:
        if not inline:
            # the backward pass may have it already, under either id
            for id in (f"local.{node.id}/{node.inputs[k].id}", f"local.{node.id}"):
                _, made = local_derivative(graph, id, op, inputs)
                if made is not None:
                    return made
        return _inner(graph, op, inputs)

    return node.op.jvp(emit, node, k, tangent)


def _inner(graph: Graph, op: Op, inputs: tuple[Node, ...]) -> Node:
    return graph.add(f"~{len(graph.nodes)}", op, *inputs, phase="tangent", symbol=Own("?"), inline=True)
