"""Leaves: values that the graph starts from, and constants that its rules introduce."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from bptrace.formula.expr import Expr, Index, number
from bptrace.graph.node import Shape
from bptrace.graph.op import Call, Op, Operand, Sample, Scratch
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Leaf(Op):
    """A value that is given: data, a setting, a parameter, a state. Its node says which."""

    name = "leaf"


@dataclass(frozen=True)
class Fill(Op):
    """One constant in every place: a seed cotangent, 1/N of a mean, a literal of an expression."""

    name = "fill"
    value: Fraction = Fraction(1)
    extents: Shape = ()
    text: str = ""

    def shape(self, *shapes: Shape) -> Shape:
        return self.extents

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(out.fill, (self.value.numerator / self.value.denominator,))]

    def compute(self, *arrays: Array) -> Array:
        return np.full(self.extents, self.value.numerator / self.value.denominator)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        return number(float(self.text)) if self.text else number(self.value)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(Fraction(1, 3), (2, 3)), ()), (cls(Fraction(-2)), ())]
