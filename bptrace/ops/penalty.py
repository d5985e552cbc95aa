"""Penalties on parameters: λ2·Σw² + λ1·Σ|w|, each with the factor of its scale."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import ZERO, Expr, Function, Index, Sum, Terms, choose, number
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Emit, Op, Operand, Read, Sample, Term
from bptrace.ops.arithmetic import random_array, times
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class PenaltySum(Op):
    """Σ λ2·square·w² + Σ λ1·absolute·|w| over all elements of w; operands w, λ2, λ1.

    A part whose factor is 0 has no λ. `square` and `absolute` are what the scale makes of λ: 1/2 in
    λ/2·Σw², 1/N in λ/N·Σ|w|. Without `weighted` there are no λ at all.
    """

    name = "penalty"
    square: Fraction = Fraction(1, 2)
    absolute: Fraction = Fraction(0)
    weighted: bool = True

    def shape(self, *shapes: Shape) -> Shape:
        return ()

    def compute(self, *arrays: Array) -> Array:
        w, *weights = arrays
        total = 0.0
        for factor, weight, size in zip(self._factors, self._weights(weights), (w * w, np.abs(w)), strict=True):
            if factor:
                total = total + float(factor) * weight * size.sum()
        return np.asarray(total)

    @property
    def _factors(self) -> tuple[Fraction, Fraction]:
        return self.square, self.absolute

    def _weights(self, weights: Sequence[Any]) -> list[Any]:
        """λ2 and λ1, each 1 where it is not an operand."""
        left = list(weights)
        return [left.pop(0) if factor and self.weighted else 1.0 for factor in self._factors]

    def formula(self, at: Index, *operands: Operand) -> Expr:
        w, *weights = operands
        square, absolute = self._weights([weight[()] for weight in weights])
        parts: list[Expr] = []
        if self.square:
            parts.append(over_all(w, lambda element: _times(square, self.square, element**2)))
        if self.absolute:
            parts.append(over_all(w, lambda element: _times(absolute, self.absolute, Function("abs", (element,)))))
        return parts[0] if len(parts) == 1 else Sum(tuple(parts))

    def _slope(self, w: Node, weights: tuple[Node, ...]) -> tuple[Op, tuple[Node, ...]]:
        return PenaltySlope(self.square, self.absolute, self.weighted), (w, *weights)

    def _alone(self, k: int) -> Op:
        """What operand `k`, a λ, is multiplied with."""
        squares = bool(self.square) and k == 1
        return PenaltySum(self.square if squares else Fraction(0), Fraction(0) if squares else self.absolute, False)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        w, *weights = map(read, node.inputs)
        if k:
            return times(cotangent, emit(self._alone(k), w))
        slope = self._slope(w, tuple(weights))
        if getattr(cotangent.op, "value", None) == 1:
            return slope
        from bptrace.ops.shaping import Expand

        spread = emit(Expand(node.inputs[0].shape, ()), cotangent)
        return times(spread, emit(*slope[:1], *slope[1]))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        from bptrace.ops.arithmetic import Multiply
        from bptrace.ops.reduction import Total

        if k:
            return times(tangent, emit(self._alone(k), node.inputs[0]))
        op, operands = self._slope(node.inputs[0], node.inputs[1:])
        slope = emit(op, *operands)
        axes = tuple(range(len(tangent.shape)))
        if not axes:
            return times(tangent, slope)
        return Total(axes, ("place",) * len(axes)), (emit(Multiply(), slope, tangent),)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return _samples(cls, rng)


@dataclass(frozen=True)
class PenaltySlope(Op):
    """2·square·λ2·w + absolute·λ1·sign(w); operands as of `PenaltySum`."""

    name = "penalty_slope"
    elementwise = True
    square: Fraction = Fraction(1, 2)
    absolute: Fraction = Fraction(0)
    weighted: bool = True

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def _weights(self, weights: Sequence[Any]) -> list[Any]:
        left = list(weights)
        return [left.pop(0) if factor and self.weighted else 1.0 for factor in (self.square, self.absolute)]

    def compute(self, *arrays: Array) -> Array:
        w, *weights = arrays
        square, absolute = self._weights(weights)
        return np.asarray(2.0 * float(self.square) * square * w + float(self.absolute) * absolute * np.sign(w))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        w, *weights = operands
        square, absolute = self._weights([weight[()] for weight in weights])
        parts: list[Expr] = []
        if self.square:
            parts.append(_times(square, self.square * 2, w[at]))
        if self.absolute:
            sign = choose(w[at], ">", ZERO, 1, choose(w[at], "<", ZERO, -1, 0))
            parts.append(_times(absolute, self.absolute, sign))
        return parts[0] if len(parts) == 1 else Sum(tuple(parts))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return _samples(cls, rng)


def _samples(op: Any, rng: random.Random) -> list[Sample]:
    w, half, none = random_array(rng, 2, 3), Fraction(1, 2), Fraction(0)
    return [
        (op(), (w, 0.3)), (op(none, Fraction(1, 4)), (w, 0.2)), (op(Fraction(1, 8), Fraction(1)), (w, 0.3, 0.2)),
        (op(half, none, False), (w,)), (op(none, Fraction(1), False), (w,)), (op(Fraction(2)), (0.75, 0.3)),
    ]  # fmt: skip


def _times(weight: Any, factor: Fraction, of: Expr) -> Expr:
    """factor·λ·of, written λ/2·of; without a λ (1.0) the factor alone."""
    if not isinstance(weight, Expr):
        return of if factor == 1 else number(factor) * of
    top = weight if factor.numerator == 1 else number(factor.numerator) * weight
    return (top if factor.denominator == 1 else top / number(factor.denominator)) * of


def over_all(w: Operand, term: Any) -> Expr:
    """Σ term(element) over all elements."""
    shape = w.shape
    count = 1
    for extent in shape:
        count *= extent

    def at(k: Any) -> Expr:
        if isinstance(k, str):
            return term(w[tuple(k if len(shape) == 1 else letter for letter in "ijkl"[: len(shape)])])  # type: ignore[no-any-return]
        index: list[int] = []
        for extent in reversed(shape):
            k, place = divmod(k, extent)
            index.append(place)
        return term(w[tuple(reversed(index))])  # type: ignore[no-any-return]

    return Sum(Terms(count, at, "k"), "place")
