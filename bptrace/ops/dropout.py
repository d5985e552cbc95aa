"""Dropout: what is kept of each element."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from bptrace.formula.expr import Expr, Number, Product, Quotient
from bptrace.graph.node import Node
from bptrace.graph.op import Emit, Read, Sample, Term
from bptrace.ops.arithmetic import Pointwise, constant_of, random_array, scaled
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Dropped(Pointwise):
    """x·m/keep: inverted dropout, by the mask m and the probability of being kept. x, m: alike.

    `text` is how the probability is written. With one operand it is that operand over keep.
    """

    name = "dropped"
    keep: Fraction = Fraction(1, 2)
    text: str = "0.5"

    def compute(self, *arrays: Array) -> Array:
        whole = arrays[0] if len(arrays) == 1 else arrays[0] * arrays[1]
        return np.asarray(whole / (self.keep.numerator / self.keep.denominator))

    def value(self, *operands: Expr) -> Expr:
        return Quotient(operands[0] if len(operands) == 1 else Product(operands), Number(self.keep, self.text))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return self._times(emit, cotangent, [read(o) for j, o in enumerate(node.inputs) if j != k])

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self._times(emit, tangent, [o for j, o in enumerate(node.inputs) if j != k])

    def _times(self, emit: Emit, cotangent: Node, others: Sequence[Node]) -> Term:
        constant = constant_of(cotangent)
        if constant is None or not others:
            return self, (cotangent, *others)
        return scaled(emit, constant, (self, tuple(others)))  # no page shows 1·m/0.8

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        mask = [[float(rng.random() < 0.7) for _ in range(3)] for _ in range(2)]
        op = cls(Fraction(7, 10), "0.7")
        return [(op, (random_array(rng, 2, 3), mask)), (op, (mask,)), (op, (1.5, 1.0))]
