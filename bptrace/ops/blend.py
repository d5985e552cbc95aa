"""A mixture of two by a gate: (1 - z)·a + z·b."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.formula.expr import ONE, Expr
from bptrace.graph.node import Node
from bptrace.graph.op import Call, Emit, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import Pointwise, Subtract, random_array, times
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Blend(Pointwise):
    """(1 - z)·a + z·b, element by element; operands z, a, b."""

    name = "blend"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        z, a, b = arrays
        work = scratch(out.shape)
        return [
            (np.subtract, (np.array(1.0), z, out)),
            (np.multiply, (out, a, out)),
            (np.multiply, (z, b, work)),
            (np.add, (out, work, out)),
        ]

    def compute(self, *arrays: Array) -> Array:
        z, a, b = arrays
        return np.asarray((1.0 - z) * a + z * b)

    def value(self, *operands: Expr) -> Expr:
        z, a, b = operands
        return (ONE - z) * a + z * b

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        z, a, b = map(read, node.inputs)
        factor = (emit(Subtract(), b, a), emit(Remainder(), z), z)[k]
        return times(cotangent, factor)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self.vjp(emit, node, k, tangent, lambda operand: operand)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        gate = random_array(rng, 2, 2, low=0.0, high=1.0)
        return [(cls(), (gate, random_array(rng, 2, 2), random_array(rng, 2, 2)))]


@dataclass(frozen=True)
class Remainder(Pointwise):
    """1 - z: what a gate leaves."""

    name = "remainder"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.subtract, (np.array(1.0), arrays[0], out))]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(1.0 - arrays[0])

    def value(self, *operands: Expr) -> Expr:
        return ONE - operands[0]

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 2),))]


__all__ = ["Blend", "Remainder"]
