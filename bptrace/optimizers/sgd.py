"""Stochastic gradient descent: new w = w - η·∂E/∂w."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.formula.expr import Expr, Index
from bptrace.graph.graph import Graph
from bptrace.graph.node import Node, Own, Shape, Updated
from bptrace.graph.op import Call, Op, Operand, Sample, Scratch
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np
from bptrace.optimizers.base import OptimizerSpec

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Descent(Op):
    """w - η·g, or w + η·g where the output is maximised; operands w, η, g."""

    name = "descent"
    elementwise = True
    ascend: bool = False

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        w, rate, g = arrays
        moved = scratch(w.shape)
        return [(np.multiply, (g, rate, moved)), (np.add if self.ascend else np.subtract, (w, moved, out))]

    def compute(self, *arrays: Array) -> Array:
        w, rate, g = arrays
        return np.asarray(w + rate * g if self.ascend else w - rate * g)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        w, rate, g = operands
        moved = rate[()] * g[at]
        return w[at] + moved if self.ascend else w[at] - moved

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(up), (random_array(rng, 2, 2), 0.5, random_array(rng, 2, 2))) for up in (False, True)]


class Sgd(OptimizerSpec):
    """Plain gradient descent."""

    def settings(self, graph: Graph) -> dict[str, Node]:
        id = "setting.optimizer.learning_rate"
        return {"η": graph.leaf(id, (), [self.learning_rate], phase="setting", symbol=Own("η"))}

    def update(self, graph: Graph, settings: dict[str, Node], parameter: Node, gradient: Node) -> Node:
        return graph.add(
            f"new.{parameter.id}", Descent(self.maximize), parameter, settings["η"], gradient,
            phase="update", symbol=Updated(parameter), axes=parameter.axes, layer=parameter.layer, block="sgd",
        )  # fmt: skip
