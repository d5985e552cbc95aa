"""Running statistics: a new value is mixed in with a small weight, as batch normalisation keeps them for later."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.formula.expr import ONE, Expr, Index, Quotient, number
from bptrace.graph.node import Shape
from bptrace.graph.op import Call, Op, Operand, Sample, Scratch
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Running(Op):
    """(1 - m)·old + m·new; operands old, new and the number m.

    Where `count` is not 0, new is a variance with the divisor N = count, and m·new·N/(N - 1) is mixed in.
    """

    name = "running"
    count: int = 0

    def shape(self, *shapes: Shape) -> Shape:
        if shapes[0] != shapes[1]:
            raise ValueError(f"the operands differ in shape: {shapes[0]}, {shapes[1]}")
        return shapes[0]

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        old, new, weight = arrays
        left, part = scratch(()), scratch(new.shape)
        yield np.multiply, (new, weight, part)
        if self.count:
            yield np.multiply, (part, np.array(self.count / (self.count - 1)), part)
        yield np.subtract, (np.array(1.0), weight, left)
        yield np.multiply, (old, left, out)
        yield np.add, (out, part, out)

    def compute(self, *arrays: Array) -> Array:
        old, new, weight = arrays
        corrected = new * (self.count / (self.count - 1)) if self.count else new
        return np.asarray((1.0 - weight) * old + weight * corrected)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        old, new, weight = operands
        part = weight[()] * new[at]
        if self.count:
            part = Quotient(part * number(self.count), number(self.count) - ONE)
        return (ONE - weight[()]) * old[at] + part

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        old, new = random_array(rng, 3), random_array(rng, 3, low=0.1)
        return [(cls(count), (old, new, 0.1)) for count in (0, 2, 5)]


__all__ = ["Running"]
