"""Penalties on parameters: c2·Σw² + c1·Σ|w|."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import ZERO, Expr, Function, Index, Sum, Terms, choose, number
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Emit, Op, Operand, Read, Sample, Term
from bptrace.ops.arithmetic import Pointwise, random_array, times
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


def _number(value: Fraction) -> Expr:
    """A coefficient as a decimal where it has a short one, else as a fraction."""
    return number(float(value)) if Fraction(repr(float(value))) == value else number(value)


@dataclass(frozen=True)
class PenaltySum(Op):
    """square·Σw² + absolute·Σ|w| over all elements of the operand."""

    name = "penalty"
    square: Fraction = Fraction(1, 2)
    absolute: Fraction = Fraction(0)

    def shape(self, *shapes: Shape) -> Shape:
        return ()

    def compute(self, *arrays: Array) -> Array:
        (w,) = arrays
        return np.asarray(float(self.square) * (w * w).sum() + float(self.absolute) * np.abs(w).sum())

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (w,) = operands
        parts: list[Expr] = []
        if self.square:
            parts.append(_number(self.square) * over_all(w, lambda element: element**2))
        if self.absolute:
            parts.append(_number(self.absolute) * over_all(w, lambda element: Function("abs", (element,))))
        return parts[0] if len(parts) == 1 else Sum(tuple(parts))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        slope: tuple[Op, tuple[Node, ...]] = (PenaltySlope(self.square, self.absolute), (read(node.inputs[0]),))
        if getattr(cotangent.op, "value", None) == 1:
            return slope
        from bptrace.ops.shaping import Expand

        spread = emit(Expand(node.inputs[0].shape, ()), cotangent)
        return times(spread, emit(*slope[:1], *slope[1]))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        from bptrace.ops.arithmetic import Multiply
        from bptrace.ops.reduction import Total

        slope = emit(PenaltySlope(self.square, self.absolute), node.inputs[0])
        axes = tuple(range(len(tangent.shape)))
        if not axes:
            return times(tangent, slope)
        return Total(axes, ("place",) * len(axes)), (emit(Multiply(), slope, tangent),)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        w = random_array(rng, 2, 3)
        return [(cls(), (w,)), (cls(Fraction(0), Fraction(1, 10)), (w,)), (cls(Fraction(1, 10), Fraction(1, 5)), (w,))]


@dataclass(frozen=True)
class PenaltySlope(Pointwise):
    """2·square·w + absolute·sign(w)"""

    name = "penalty_slope"
    square: Fraction = Fraction(1, 2)
    absolute: Fraction = Fraction(0)

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(2.0 * float(self.square) * arrays[0] + float(self.absolute) * np.sign(arrays[0]))

    def value(self, *operands: Expr) -> Expr:
        (w,) = operands
        parts: list[Expr] = []
        if self.square:
            parts.append(w if self.square * 2 == 1 else _number(self.square * 2) * w)
        if self.absolute:
            sign = choose(w, ">", ZERO, 1, choose(w, "<", ZERO, -1, 0))
            parts.append(_number(self.absolute) * sign)
        return parts[0] if len(parts) == 1 else Sum(tuple(parts))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        w = random_array(rng, 2, 3)
        return [(cls(), (w,)), (cls(Fraction(0), Fraction(1, 10)), (w,)), (cls(Fraction(1, 10), Fraction(1, 5)), (w,))]


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
