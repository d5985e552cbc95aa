"""Embedding: a row of a table for each whole number, and the table's gradient."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import ZERO, Expr, Index, Sum, Terms, choose
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array

ONE_BY_ONE = 32
"""Rows among which a formula looks one after the other; of more it first finds the right half."""


@dataclass(frozen=True)
class Embed(Op):
    """out[..., u] = W[x[...], u]; operands x (whole numbers from 0) and W (vocabulary, units)."""

    name = "embed"

    def shape(self, *shapes: Shape) -> Shape:
        return (*shapes[0], shapes[1][1])

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(_look_up, (*arrays, out))]

    def compute(self, *arrays: Array) -> Array:
        x, w = arrays
        return np.asarray(w[x.astype(np.intp)])

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, w = operands
        *place, unit = at
        number = x[tuple(place)]

        def among(low: int, high: int) -> Expr:
            """The choice among the rows from `low` to before `high`."""
            if high - low > ONE_BY_ONE:
                middle = (low + high) // 2
                return choose(number, "<", middle, among(low, middle), among(middle, high))
            found: Expr = ZERO  # of no row: what is read was looked at
            for row in range(high - 1, low - 1, -1):
                found = choose(number, "=", row, w[row, unit], found)
            return found

        return among(0, w.shape[0])

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term | None:
        if k == 0:
            return None  # there is no number between two words
        x, w = node.inputs
        return EmbedBack(w.shape[0]), (x, cotangent)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term | None:
        return None if k == 0 else (self, (node.inputs[0], tangent))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls(), ([[0.0, 2.0, 2.0], [1.0, 0.0, 2.0]], random_array(rng, 3, 2))),
            (cls(), ([3.0, 1.0], random_array(rng, 5, 2))),
            (cls(), ([[39.0, 0.0, 17.0]], random_array(rng, 40, 1))),
        ]


@dataclass(frozen=True)
class EmbedBack(Op):
    """out[v, u] = Σ g[..., u] over the places where x is v; operands x and g."""

    name = "embed_back"
    vocabulary: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        return (self.vocabulary, shapes[1][-1])

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(_add_up, (*arrays, out))]

    def compute(self, *arrays: Array) -> Array:
        x, g = arrays
        out = np.zeros((self.vocabulary, g.shape[-1]))
        _add_up(x, g, out)
        return out

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, g = operands
        row, unit = at
        return _summed(x, g, row, unit, ())

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls(3), ([[0.0, 2.0, 2.0], [1.0, 0.0, 2.0]], random_array(rng, 2, 3, 2))),
            (cls(4), ([3.0, 1.0], random_array(rng, 2, 2))),
        ]


def _summed(x: Operand, g: Operand, row: Any, unit: Any, place: tuple[Any, ...]) -> Expr:
    """Over every place of the numbers, what arrives there if the number is this row."""
    axis = len(place)
    if axis == len(x.shape):
        number = float(row) if isinstance(row, int) else 0.0
        return choose(x[place], "=", number, g[(*place, unit)], ZERO)
    words = ("sample", "time")
    terms = Terms(x.shape[axis], lambda k: _summed(x, g, row, unit, (*place, k)), "nt"[axis] if axis < 2 else "k")
    return Sum(terms, words[axis] if axis < 2 else "place")


def _look_up(x: Array, w: Array, out: Array) -> None:
    out[...] = w[x.astype(np.intp)]


def _add_up(x: Array, g: Array, out: Array) -> None:
    out[...] = 0.0
    np.add.at(out, x.astype(np.intp), g)


__all__ = ["Embed", "EmbedBack"]
