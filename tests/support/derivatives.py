"""Derivatives of one op through the real machinery: Reverse and add_tangents on a tiny graph."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from bptrace.graph.forward import add_tangents
from bptrace.graph.graph import Graph
from bptrace.graph.node import Node, Own
from bptrace.graph.op import Op
from bptrace.graph.reverse import Reverse
from bptrace.ops.arithmetic import copy_of
from bptrace.ops.leaves import Fill
from support.interpreter import run
from support.ops import leaves_of, tiny

Array = np.ndarray[Any, np.dtype[np.float64]]


def pulled_back(op: Op, arrays: tuple[Array, ...], cotangent: Array | Fraction, **how: Any) -> list[Array | None]:
    """What a cotangent (an array, or one constant for all places) gives each operand.

    `phase` is the leaves' phase; `quarter` sends the cotangent through a division by 4 that stands in
    no line of its own; `same` uses the first operand at every place.
    """
    phase = how.get("phase", "data")
    graph, leaves, node = tiny(op, arrays, phase, quiet=how.get("quarter", False))
    if how.get("same"):
        graph = Graph()
        leaves = leaves_of(graph, arrays[:1], phase)
        node = graph.add("f", op, *leaves * len(arrays), phase="forward", symbol=Own("f"))
    top = node
    if how.get("quarter"):
        from bptrace.ops.arithmetic import Scale

        top = graph.add("g", Scale(Fraction(1, 4)), node, phase="forward", symbol=Own("g"))
    reverse = Reverse(graph, top, leaves)
    if isinstance(cotangent, Fraction):
        seed: Any = (Fill(cotangent, top.shape), ())
    else:
        leaf = graph.leaf("u", top.shape, cotangent.ravel().tolist(), phase="data", symbol=Own("u"))
        seed = copy_of(leaf)
    gradients = reverse.run({top: seed})
    values = run(graph)
    for leaf in leaves:
        if leaf in gradients:
            assert graph.by_id[f"grad.{leaf.id}"] is gradients[leaf]
            assert gradients[leaf].shape == leaf.shape
    return [values[gradients[leaf]] if leaf in gradients else None for leaf in leaves]


def pushed_forward(op: Op, arrays: tuple[Array, ...], reversed_first: bool = False) -> list[Array | None]:
    """The Jacobian by each operand, (result..., operand...), a tangent pass an entry.

    With `reversed_first` the graph already has a backward pass, whose local derivatives are used again.
    """
    graph, leaves, node = tiny(op, arrays)
    forward = list(graph.nodes)
    if reversed_first:
        Reverse(graph, node, leaves).run({node: (Fill(Fraction(1), node.shape), ())})
    found: list[tuple[int, tuple[int, ...], Node | None]] = []
    for k, leaf in enumerate(leaves):
        for place in np.ndindex(*leaf.shape):
            label = f"x{k}[{','.join(str(i + 1) for i in place)}]"
            found.append((k, place, add_tangents(graph, forward, leaf, place, label).get(node)))
    values = run(graph)
    jacobians: list[Array | None] = []
    for k, leaf in enumerate(leaves):
        jacobian = np.zeros((*node.shape, *leaf.shape))
        tangents = [(place, tangent) for other, place, tangent in found if other == k]
        for place, tangent in tangents:
            if tangent is not None:
                jacobian[(..., *place)] = values[tangent]
        jacobians.append(jacobian if any(tangent for _, tangent in tangents) else None)
    return jacobians
