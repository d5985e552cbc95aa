"""What attention does to its scores: divided by a root, and closed where nothing may be looked at."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.formula.expr import INFINITY, ZERO, Expr, choose, number, sqrt
from bptrace.graph.node import Node
from bptrace.graph.op import Call, Emit, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import Pointwise, random_array, times
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class OverRoot(Pointwise):
    """x / √width"""

    name = "over_root"
    width: int = 1

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.divide, (arrays[0], np.sqrt(np.array(float(self.width))), out))]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0] / np.sqrt(float(self.width)))

    def value(self, *operands: Expr) -> Expr:
        return operands[0] / sqrt(number(self.width))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return self, (cotangent,)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self, (tangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(3), (random_array(rng, 2, 3),)), (cls(64), (112.0,))]


@dataclass(frozen=True)
class Masked(Pointwise):
    """x where the mask is not 0, else -∞, of which softmax makes a weight of 0; operands mask and x.

    Nothing is passed back to a masked place.
    """

    name = "masked"
    infinite = True

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(_close, (*arrays, out))]

    def compute(self, *arrays: Array) -> Array:
        mask, x = arrays
        return np.where(mask == 0.0, -np.inf, x)

    def value(self, *operands: Expr) -> Expr:
        mask, x = operands
        return choose(mask, "=", ZERO, -INFINITY, x)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term | None:
        return None if k == 0 else times(cotangent, node.inputs[0])

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term | None:
        return None if k == 0 else times(tangent, node.inputs[0])

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls(), ([[1.0, 1.0], [1.0, 1.0]], random_array(rng, 2, 2))),
            (cls(), ([[1.0, 0.0], [1.0, 1.0]], random_array(rng, 2, 2))),
        ]


def _close(mask: Array, x: Array, out: Array) -> None:
    np.copyto(out, x)
    np.copyto(out, -np.inf, where=mask == 0.0)


__all__ = ["Masked", "OverRoot"]
