"""Normalisation by the root mean square of the elements that share it.

Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019: rms = √(Σ x²/N + ε), x̂ = x/rms.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bptrace.formula.expr import Expr, Index, number, sqrt
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Operand, Read, Sample, Scratch, Term
from bptrace.ops.activations import Slope, Sqrt
from bptrace.ops.arithmetic import Divide, random_array, times
from bptrace.ops.lazy import np
from bptrace.ops.shaping import Expand
from bptrace.ops.sharing import Shared, everything, inner, over, ways_of_sharing

if TYPE_CHECKING:
    from bptrace.graph.op import Array


class RootMeanSquare(Shared):
    """√(Σ x²/N + ε); operands x and the number ε."""

    name = "root_mean_square"

    def shape(self, *shapes: Shape) -> Shape:
        return self.sharing.statistic(shapes[0])

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        x, epsilon = arrays
        if self.sharing.groups:
            yield from super().bind(out, *arrays, scratch=scratch)
            return
        work = scratch(x.shape)
        yield np.multiply, (x, x, work)
        yield np.add.reduce, (work, self.sharing.summed, None, out)
        yield np.divide, (out, np.array(float(self.sharing.count(x.shape))), out)
        yield np.add, (out, epsilon, out)
        yield np.sqrt, (out, out)

    def compute(self, *arrays: Array) -> Array:
        x, epsilon = arrays
        whole = self.sharing.grouped(x)
        return np.asarray(np.sqrt((whole * whole).mean(axis=self.sharing.summed) + epsilon))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, epsilon = operands
        total = self.sharing.total(at, x.shape, lambda place: x[place] ** 2)
        return sqrt(over(total, self.sharing.count(x.shape)) + epsilon[()])

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        if k == 1:
            return everything(inner(emit, times(cotangent, emit(Slope(Sqrt()), node))))
        slope = emit(RootMeanSquareSlope(self.sharing), read(node.inputs[0]), node)
        return times(self.sharing.spread(emit, cotangent, slope.shape), slope)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        if k == 1:
            return times(emit(Expand(node.shape, ()), tangent), emit(Slope(Sqrt()), node))
        slope = emit(RootMeanSquareSlope(self.sharing), node.inputs[0], node)
        return self.sharing.gathered(emit, inner(emit, times(tangent, slope)))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(sharing), (random_array(rng, *shape), 0.01)) for sharing, shape in ways_of_sharing()]


class ByScale(Shared):
    """Base: operands are an array and its rms; the result has the array's shape."""

    def shape(self, *shapes: Shape) -> Shape:
        if shapes[1] != self.sharing.statistic(shapes[0]):
            raise ValueError(f"a statistic of shape {shapes[1]} for an array of shape {shapes[0]}")
        return shapes[0]

    def quotient(self, x: Array, rms: Array) -> Array:
        return np.asarray(self.sharing.grouped(x) / self.sharing.widened(rms, x.shape)).reshape(x.shape)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls(sharing), (random_array(rng, *shape), random_array(rng, *sharing.statistic(shape), low=0.5)))
            for sharing, shape in ways_of_sharing()
        ]


class RootMeanSquareSlope(ByScale):
    """∂rms/∂x = x/(N·rms)."""

    name = "root_mean_square_slope"

    def compute(self, *arrays: Array) -> Array:
        x, rms = arrays
        return np.asarray(self.quotient(x, rms) / self.sharing.count(x.shape))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, rms = operands
        return x[at] / (number(self.sharing.count(x.shape)) * rms[self.sharing.owner(at, x.shape)])


class OverRms(ByScale):
    """x̂ = x/rms."""

    name = "over_rms"

    def compute(self, *arrays: Array) -> Array:
        return self.quotient(*arrays)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, rms = operands
        return x[at] / rms[self.sharing.owner(at, x.shape)]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        rms = read(node.inputs[1])
        if k == 0:
            return Divide(), (cotangent, self.sharing.spread(emit, rms, node.shape))
        local = emit(OverRmsByRms(self.sharing), node, rms, inline=False)
        return self.sharing.gathered(emit, inner(emit, times(cotangent, local)))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        rms = node.inputs[1]
        if k == 0:
            return Divide(), (tangent, self.sharing.spread(emit, rms, node.shape))
        local = emit(OverRmsByRms(self.sharing), node, rms, inline=False)
        return times(self.sharing.spread(emit, tangent, node.shape), local)


class OverRmsByRms(ByScale):
    """∂x̂/∂rms = -x̂/rms, from the result."""

    name = "over_rms_by_rms"

    def compute(self, *arrays: Array) -> Array:
        return -self.quotient(*arrays)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        result, rms = operands
        return -(result[at] / rms[self.sharing.owner(at, result.shape)])


__all__ = ["OverRms", "OverRmsByRms", "RootMeanSquare", "RootMeanSquareSlope"]
