"""The sinusoids that tell the positions of a sequence apart."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.formula.expr import Expr, Function, Index, choose, letter, number
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Emit, Op, Operand, Read, Sample, Term
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array

BASE = 10_000


@dataclass(frozen=True)
class Sinusoid(Op):
    """out[t, 2i] = sin(p[t]/10000^(2i/units)), out[t, 2i+1] = cos of the same; p: (T), features from 0.

    Source: Vaswani et al., Attention Is All You Need, 2017, section 3.5.
    """

    name = "sinusoid"
    units: int = 2

    def shape(self, *shapes: Shape) -> Shape:
        return (*shapes[0], self.units)

    def compute(self, *arrays: Array) -> Array:
        even = np.arange(self.units) // 2 * 2
        angle = arrays[0][:, None] / np.power(float(BASE), even / self.units)
        return np.where(np.arange(self.units) % 2 == 0, np.sin(angle), np.cos(angle))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        place, feature = at
        position = operands[0][place]

        def angle(even: Expr) -> Expr:
            return position / number(BASE) ** (even / number(self.units))

        if isinstance(feature, str):  # on paper features count from 1
            wave = angle(letter("2i"))
            return choose(
                letter(feature), "=", letter("2i + 1"), Function("sin", (wave,)), Function("cos", (wave,))
            )  # fmt: skip
        return Function("cos" if feature % 2 else "sin", (angle(number(feature // 2 * 2)),))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term | None:
        return None  # there is nothing between two positions

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term | None:
        return None

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(4), ([0.0, 1.0, 2.0, 40.0],)), (cls(3), ([0.0, 1.0],)), (cls(1), ([0.0],))]


__all__ = ["Sinusoid"]
