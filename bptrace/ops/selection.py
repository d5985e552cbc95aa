"""Choosing: the larger of two, one of two by a condition, places of an axis."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.formula.expr import ZERO, Expr, Function, Index, Sum, choose
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Emit, Op, Operand, Read, Sample, Term
from bptrace.ops.arithmetic import Pointwise, random_array, times
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Larger(Pointwise):
    """The larger (or, with `least`, the smaller) of two, element by element.

    Where both are equal the gradient goes to the first, or with `ties: all` to both.
    """

    name = "larger"
    least: bool = False
    ties: str = "first"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.minimum(*arrays) if self.least else np.maximum(*arrays))

    def value(self, *operands: Expr) -> Expr:
        return Function("min" if self.least else "max", operands)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        mine, other = node.inputs[k], node.inputs[1 - k]
        strict = k == 1 and self.ties == "first"
        return times(cotangent, emit(Wins(self.least, strict), mine, other, inline=False))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self.vjp(emit, node, k, tangent, lambda operand: operand)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        pair = (random_array(rng, 2, 3), random_array(rng, 2, 3))
        return [(cls(), pair), (cls(least=True), pair), (cls(), ([1.0, 2.0], [3.0, -1.0]))]


@dataclass(frozen=True)
class Wins(Pointwise):
    """1 where the first operand is chosen over the second, else 0."""

    name = "wins"
    least: bool = False
    strict: bool = False

    def counts(self) -> bool:
        return True

    def compute(self, *arrays: Array) -> Array:
        a, b = arrays[::-1] if self.least else arrays
        return np.asarray(a > b if self.strict else a >= b, dtype=np.float64)

    def value(self, *operands: Expr) -> Expr:
        a, b = operands
        if self.least:
            return choose(a, "<" if self.strict else "<=", b, 1, 0)
        return choose(a, ">" if self.strict else ">=", b, 1, 0)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        pair = ([1.0, 2.0, 3.0], [2.0, 2.0, 1.0])
        return [(cls(least, strict), pair) for least in (False, True) for strict in (False, True)]


class Where(Pointwise):
    """The second operand where the first is not 0, else the third."""

    name = "where"

    def compute(self, *arrays: Array) -> Array:
        return np.where(arrays[0] != 0.0, arrays[1], arrays[2])

    def value(self, *operands: Expr) -> Expr:
        condition, then, otherwise = operands
        return choose(condition, "=", ZERO, otherwise, then)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term | None:
        if k == 0:
            return None  # a condition is no quantity that could be varied a little
        return times(cotangent, emit(Mask(k == 1), node.inputs[0], inline=False))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term | None:
        return self.vjp(emit, node, k, tangent, lambda operand: operand)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), ([1.0, 0.0, -1.0], random_array(rng, 3), random_array(rng, 3)))]


@dataclass(frozen=True)
class Mask(Pointwise):
    """1 where the operand is not 0 (or, without `kept`, where it is), else 0."""

    name = "mask"
    kept: bool = True

    def counts(self) -> bool:
        return True

    def compute(self, *arrays: Array) -> Array:
        return np.asarray((arrays[0] != 0.0) == self.kept, dtype=np.float64)

    def value(self, *operands: Expr) -> Expr:
        return choose(operands[0], "=", ZERO, 0 if self.kept else 1, 1 if self.kept else 0)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(kept), ([1.0, 0.0, -1.0],)) for kept in (True, False)]


@dataclass(frozen=True)
class Take(Op):
    """The places `places` (from 0) of an axis; a place may be taken more than once."""

    name = "take"
    places: tuple[int, ...] = (0,)
    axis: int = 0

    def shape(self, *shapes: Shape) -> Shape:
        extent = shapes[0][self.axis]
        if any(not 0 <= place < extent for place in self.places):
            raise ValueError(f"places {list(self.places)} of an axis with places 0 to {extent - 1}")
        return (*shapes[0][: self.axis], len(self.places), *shapes[0][self.axis + 1 :])

    def compute(self, *arrays: Array) -> Array:
        return np.take(arrays[0], self.places, axis=self.axis)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        place = at[self.axis]
        taken = place if isinstance(place, str) else self.places[place]
        return operands[0][(*at[: self.axis], taken, *at[self.axis + 1 :])]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return PutBack(self.places, self.axis, node.inputs[0].shape[self.axis]), (cotangent,)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self, (tangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls((0, 2, 2), 1), (random_array(rng, 2, 3),)), (cls((1,)), (random_array(rng, 3),))]


@dataclass(frozen=True)
class PutBack(Op):
    """Adds each place of the operand to the place it was taken from."""

    name = "put_back"
    places: tuple[int, ...] = (0,)
    axis: int = 0
    extent: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        return (*shapes[0][: self.axis], self.extent, *shapes[0][self.axis + 1 :])

    def compute(self, *arrays: Array) -> Array:
        out = np.zeros(self.shape(arrays[0].shape))
        for k, place in enumerate(self.places):
            target = np.moveaxis(out, self.axis, 0)
            target[place] += np.moveaxis(arrays[0], self.axis, 0)[k]
        return out

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (x,) = operands
        place = at[self.axis]
        if isinstance(place, str):
            return x[at]
        back = [x[(*at[: self.axis], k, *at[self.axis + 1 :])] for k, p in enumerate(self.places) if p == place]
        return Sum(tuple(back), "place") if back else ZERO

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return Take(self.places, self.axis), (cotangent,)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self, (tangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls((0, 2, 2), 1, 3), (random_array(rng, 2, 3),))]
