"""Normalisation by mean and variance of the elements that share them.

The steps are those of Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 1: a mean, a variance,
x̂ = (x - μ)/√(σ² + ε); the scale γ and the shift β follow as a sum of products. The divisor of the variance is N,
or N - 1 (`unbiased`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from bptrace.formula.expr import Expr, Index, number, sqrt
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import Divide, copy_of, random_array, scaled, times
from bptrace.ops.lazy import np
from bptrace.ops.shaping import Expand
from bptrace.ops.sharing import Shared, everything, inner, over, ways_of_sharing

if TYPE_CHECKING:
    from bptrace.graph.op import Array


class SharedMean(Shared):
    """μ = Σ x/N; operand x."""

    name = "shared_mean"

    def shape(self, *shapes: Shape) -> Shape:
        return self.sharing.statistic(shapes[0])

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        x = arrays[0]
        if not self.sharing.groups:
            return averaged(out, x, self.sharing.summed, self.sharing.count(x.shape))
        return super().bind(out, *arrays, scratch=scratch)

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(self.sharing.grouped(arrays[0]).mean(axis=self.sharing.summed))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (x,) = operands
        return over(self.sharing.total(at, x.shape, lambda place: x[place]), self.sharing.count(x.shape))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        x = node.inputs[0].shape
        return scaled(emit, Fraction(1, self.sharing.count(x)), copy_of(self.sharing.spread(emit, cotangent, x)))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self, (tangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(sharing), (random_array(rng, *shape),)) for sharing, shape in ways_of_sharing()]


@dataclass(frozen=True)
class AboutMean(Shared):
    """Base: operands x and its mean μ; the divisor is N, or with `unbiased` N - 1."""

    unbiased: bool = False

    def divisor(self, shape: Shape) -> int:
        return self.sharing.count(shape) - self.unbiased

    def away(self, x: Array, mean: Array) -> Array:
        """x - μ, cut into groups."""
        return np.asarray(self.sharing.grouped(x) - self.sharing.widened(mean, x.shape))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls(sharing, unbiased), (random_array(rng, *shape), random_array(rng, *sharing.statistic(shape))))
            for sharing, shape in ways_of_sharing()
            for unbiased in (False, True)
        ]


class SharedVariance(AboutMean):
    """σ² = Σ (x - μ)²/N, or with `unbiased` /(N - 1); operands x, μ."""

    name = "shared_variance"

    def shape(self, *shapes: Shape) -> Shape:
        return self.sharing.statistic(shapes[0])

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        x, mean = arrays
        if self.sharing.groups:
            yield from super().bind(out, *arrays, scratch=scratch)
            return
        work = scratch(x.shape)
        yield np.subtract, (x, self.sharing.widened(mean, x.shape), work)
        yield np.multiply, (work, work, work)
        yield from averaged(out, work, self.sharing.summed, self.divisor(x.shape))

    def compute(self, *arrays: Array) -> Array:
        x, mean = arrays
        return np.asarray((self.away(x, mean) ** 2).sum(axis=self.sharing.summed) / self.divisor(x.shape))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, mean = operands
        return over(self.sharing.total(at, x.shape, lambda place: (x[place] - mean[at]) ** 2), self.divisor(x.shape))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        x, mean = map(read, node.inputs)
        if k == 0:
            slope = emit(VarianceSlope(self.sharing, self.unbiased), x, mean)
            return times(self.sharing.spread(emit, cotangent, x.shape), slope)
        return times(cotangent, emit(VarianceByMean(self.sharing, self.unbiased), x, mean, inline=False))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        if k == 0:
            slope = emit(VarianceSlope(self.sharing, self.unbiased), *node.inputs)
            return self.sharing.gathered(emit, inner(emit, times(tangent, slope)))
        return times(tangent, emit(VarianceByMean(self.sharing, self.unbiased), *node.inputs, inline=False))


class VarianceSlope(AboutMean):
    """∂σ²/∂x = 2·(x - μ)/N; operands x, μ."""

    name = "variance_slope"

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        x, mean = arrays
        if self.sharing.groups:
            yield from super().bind(out, *arrays, scratch=scratch)
            return
        yield np.subtract, (x, self.sharing.widened(mean, x.shape), out)
        yield np.multiply, (out, np.array(2.0 / self.divisor(x.shape)), out)

    def compute(self, *arrays: Array) -> Array:
        x, mean = arrays
        return np.asarray((2.0 / self.divisor(x.shape)) * self.away(x, mean)).reshape(x.shape)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, mean = operands
        return over(number(2) * (x[at] - mean[self.sharing.owner(at, x.shape)]), self.divisor(x.shape))


class VarianceByMean(AboutMean):
    """∂σ²/∂μ = -Σ 2·(x - μ)/N, which is 0 where μ is the mean; operands x, μ."""

    name = "variance_by_mean"

    def shape(self, *shapes: Shape) -> Shape:
        return self.sharing.statistic(shapes[0])

    def compute(self, *arrays: Array) -> Array:
        x, mean = arrays
        return np.asarray(self.away(x, mean).sum(axis=self.sharing.summed) * (-2.0 / self.divisor(x.shape)))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, mean = operands
        term = lambda place: number(2) * (x[place] - mean[at])  # noqa: E731
        return -over(self.sharing.total(at, x.shape, term), self.divisor(x.shape))


class Deviation(Op):
    """√(σ² + ε); operands σ² and the number ε."""

    name = "deviation"

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def compute(self, *arrays: Array) -> Array:
        return np.sqrt(arrays[0] + arrays[1])

    def formula(self, at: Index, *operands: Operand) -> Expr:
        return sqrt(operands[0][at] + operands[1][()])

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 3, low=0.1), 0.01)), (cls(), (random_array(rng, 2, 2, low=0.0), 0.01))]


class Standardized(Shared):
    """x̂ = (x - μ)/√(σ² + ε); operands x, μ, σ² and the number ε."""

    name = "standardized"

    def shape(self, *shapes: Shape) -> Shape:
        if any(shape != self.sharing.statistic(shapes[0]) for shape in shapes[1:3]):
            raise ValueError(f"statistics of shapes {shapes[1]} and {shapes[2]} for an array of shape {shapes[0]}")
        return shapes[0]

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        x, mean, variance, epsilon = arrays
        if self.sharing.groups:
            yield from super().bind(out, *arrays, scratch=scratch)
            return
        deviation = scratch(variance.shape)
        yield np.add, (variance, epsilon, deviation)
        yield np.sqrt, (deviation, deviation)
        yield np.subtract, (x, self.sharing.widened(mean, x.shape), out)
        yield np.divide, (out, self.sharing.widened(deviation, x.shape), out)

    def compute(self, *arrays: Array) -> Array:
        x, mean, variance, epsilon = arrays
        away = self.sharing.grouped(x) - self.sharing.widened(mean, x.shape)
        return np.asarray(away / np.sqrt(self.sharing.widened(variance, x.shape) + epsilon)).reshape(x.shape)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, mean, variance, epsilon = operands
        owner = self.sharing.owner(at, x.shape)
        return (x[at] - mean[owner]) / sqrt(variance[owner] + epsilon[()])

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        x, _, variance, epsilon = map(read, node.inputs)
        if k < 2:
            deviation = self.sharing.spread(emit, emit(Deviation(), variance, epsilon), x.shape)
            share: Term = (Divide(), (cotangent, deviation))
            return share if k == 0 else scaled(emit, Fraction(-1), self.sharing.gathered(emit, inner(emit, share)))
        slope = StandardizedByVariance(self.sharing)
        # ε is added to the variance: the derivative by both is the same
        local = emit(slope, node, variance, epsilon, inline=k == 3)
        product = inner(emit, times(cotangent, local))
        return self.sharing.gathered(emit, product) if k == 2 else everything(product)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        x, _, variance, epsilon = node.inputs
        if k < 2:
            moved = self.sharing.spread(emit, tangent, x.shape) if k else tangent
            deviation = self.sharing.spread(emit, emit(Deviation(), variance, epsilon), x.shape)
            return scaled(emit, Fraction(-1 if k else 1), (Divide(), (moved, deviation)))
        local = emit(StandardizedByVariance(self.sharing), node, variance, epsilon, inline=k == 3)
        moved = self.sharing.spread(emit, tangent, x.shape) if k == 2 else emit(Expand(x.shape, ()), tangent)
        return times(moved, local)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        found: list[Sample] = []
        for sharing, shape in ways_of_sharing():
            statistic = sharing.statistic(shape)
            mean, variance = random_array(rng, *statistic), random_array(rng, *statistic, low=0.1)
            found.append((cls(sharing), (random_array(rng, *shape), mean, variance, 0.01)))
        return found


class StandardizedByVariance(Shared):
    """∂x̂/∂σ² = -x̂/(2·(σ² + ε)), from the result; operands x̂, σ² and the number ε."""

    name = "standardized_by_variance"

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def compute(self, *arrays: Array) -> Array:
        result, variance, epsilon = arrays
        wide = self.sharing.widened(variance, result.shape)
        return np.asarray(self.sharing.grouped(result) / (-2.0 * (wide + epsilon))).reshape(result.shape)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        result, variance, epsilon = operands
        owner = self.sharing.owner(at, result.shape)
        return -(result[at] / (number(2) * (variance[owner] + epsilon[()])))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls(sharing), (random_array(rng, *shape), random_array(rng, *sharing.statistic(shape), low=0.1), 0.01))
            for sharing, shape in ways_of_sharing()
        ]


def averaged(out: Array, x: Array, axes: tuple[int, ...], count: int) -> Iterable[Call]:
    """The sum over axes divided by a number, as calls."""
    yield np.add.reduce, (x, axes, None, out)
    yield np.divide, (out, np.array(float(count)), out)


__all__ = [
    "Deviation", "SharedMean", "SharedVariance", "Standardized", "StandardizedByVariance", "VarianceByMean",
    "VarianceSlope",
]  # fmt: skip
