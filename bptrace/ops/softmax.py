"""Softmax and log-softmax along an axis, and what they pass back.

The page shows the textbook formula; the kernel subtracts the largest argument first, which changes
no value but keeps exp from overflowing.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import ONE, Expr, Index, Sum, Terms, choose, exp, letter, ln
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class AlongAxis(Op):
    """Base: every element depends on all elements along one axis."""

    axis: int = -1
    word: str = "class"

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def along(self, operand: Operand, at: Index, term: Any) -> Expr:
        """Σ term(k) over the places k of the axis."""
        axis = self.axis % len(operand.shape)
        return Sum(Terms(operand.shape[axis], lambda k: term((*at[:axis], k, *at[axis + 1 :])), "k"), self.word)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3),)), (cls(0), (random_array(rng, 3, 2),)), (cls(), ([1.0, 2.0, 0.5],))]


def _softmax(x: Array, axis: int) -> Array:
    grown = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(grown / grown.sum(axis=axis, keepdims=True))


class Softmax(AlongAxis):
    """p[j] = exp(z[j]) / Σ exp(z[k])"""

    name = "softmax"

    def symbol(self) -> str:
        return "softmax"

    def compute(self, *arrays: Array) -> Array:
        return _softmax(arrays[0], self.axis)

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        """The same without new arrays."""
        z, axis = arrays[0], self.axis
        one = scratch(np.add.reduce(out, axis=axis, keepdims=True).shape)
        return [
            (np.maximum.reduce, (z, axis, None, one, True)),
            (np.subtract, (z, one, out)),
            (np.exp, (out, out)),
            (np.add.reduce, (out, axis, None, one, True)),
            (np.divide, (out, one, out)),
        ]

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (z,) = operands
        return exp(z[at]) / self.along(z, at, lambda place: exp(z[place]))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return SoftmaxChain(self.axis, self.word), (cotangent, node)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return SoftmaxChain(self.axis, self.word), (tangent, node)


class SoftmaxChain(AlongAxis):
    """Σ g[j]·∂p[j]/∂z[i], where ∂p[j]/∂z[i] is p[i]·(1 - p[i]) for i = j and -p[j]·p[i] otherwise.

    Operands are g (what arrives) and p (softmax's result). The matrix of the ∂p[j]/∂z[i] is
    symmetric, so the same op serves forward mode.
    """

    name = "softmax_chain"

    def compute(self, *arrays: Array) -> Array:
        g, p = arrays
        return np.asarray(p * (g - (g * p).sum(axis=self.axis, keepdims=True)))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        g, p = operands
        axis = self.axis % len(p.shape)

        def term(place: Index) -> Expr:
            same = g[place] * (p[place] * (ONE - p[place]))
            other = g[place] * -(p[place] * p[at])
            if isinstance(place[axis], str):  # for any element: both cases are said
                return choose(letter(place[axis]), "=", letter(at[axis]), same, other)
            return same if place[axis] == at[axis] else other

        return self.along(p, at, term)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3), [[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]]))]


class LogSoftmax(AlongAxis):
    """z[j] - ln Σ exp(z[k])"""

    name = "log_softmax"

    def symbol(self) -> str:
        return "log_softmax"

    def compute(self, *arrays: Array) -> Array:
        (z,) = arrays
        moved = z - z.max(axis=self.axis, keepdims=True)
        return np.asarray(moved - np.log(np.exp(moved).sum(axis=self.axis, keepdims=True)))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (z,) = operands
        return z[at] - ln(self.along(z, at, lambda place: exp(z[place])))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return LogSoftmaxChain(self.axis, self.word), (cotangent, node)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return LogSoftmaxTangent(self.axis, self.word), (tangent, node)


class LogSoftmaxChain(AlongAxis):
    """g[i] - exp(y[i])·Σ g[j], y the result of log-softmax."""

    name = "log_softmax_chain"

    def compute(self, *arrays: Array) -> Array:
        g, y = arrays
        return np.asarray(g - np.exp(y) * g.sum(axis=self.axis, keepdims=True))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        g, y = operands
        return g[at] - exp(y[at]) * self.along(g, at, lambda place: g[place])

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3), random_array(rng, 2, 3)))]


class LogSoftmaxTangent(AlongAxis):
    """ż[j] - Σ exp(y[k])·ż[k]"""

    name = "log_softmax_tangent"

    def compute(self, *arrays: Array) -> Array:
        tangent, y = arrays
        return np.asarray(tangent - (np.exp(y) * tangent).sum(axis=self.axis, keepdims=True))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        tangent, y = operands
        return tangent[at] - self.along(y, at, lambda place: exp(y[place]) * tangent[place])

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_array(rng, 2, 3), random_array(rng, 2, 3)))]
