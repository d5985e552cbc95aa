"""Reductions over axes: sum, mean, and the largest or smallest element."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import Choice, Expr, Function, Index, Quotient, Sum, Terms, choose, number
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import constant_of, random_array, scaled, times
from bptrace.ops.lazy import np
from bptrace.ops.leaves import Fill
from bptrace.ops.shaping import Expand

if TYPE_CHECKING:
    from bptrace.graph.op import Array

LETTERS = "klmpqr"


@dataclass(frozen=True)
class Reduction(Op):
    """Base: `axes` are reduced and go; `words` says what each of them counts."""

    axes: tuple[int, ...] = (0,)
    words: tuple[str, ...] = ("",)

    def shape(self, *shapes: Shape) -> Shape:
        if self.axes and max(self.axes) >= len(shapes[0]):
            raise ValueError(f"axis {max(self.axes)} of an array with {len(shapes[0])} axes")
        return tuple(extent for i, extent in enumerate(shapes[0]) if i not in self.axes)

    def stacked(self, which: Sequence[bool]) -> Op | None:
        return replace(self, axes=tuple(axis + 1 for axis in self.axes)) if which[0] else None

    def kept(self, shape: Shape) -> tuple[int, ...]:
        return tuple(i for i in range(len(shape)) if i not in self.axes)

    def terms(self, at: Index, operand: Operand) -> Expr:
        """The sum over the axes, as one sum an axis."""

        def level(position: int, places: dict[int, Any]) -> Expr:
            if position == len(self.axes):
                return operand[tuple(places[i] for i in range(len(operand.shape)))]
            axis = self.axes[position]
            at_place = lambda k: level(position + 1, {**places, axis: k})  # noqa: E731
            return Sum(Terms(operand.shape[axis], at_place, LETTERS[position]), self.words[position] or "place")

        return level(0, dict(zip(self.kept(operand.shape), at, strict=True)))

    def spread(self, emit: Emit, node: Node, cotangent: Node) -> Term:
        """The cotangent, repeated along the reduced axes."""
        whole = node.inputs[0].shape
        constant = constant_of(cotangent)
        if constant is not None:
            return Fill(constant, whole), ()
        return Expand(whole, self.kept(whole)), (cotangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        x = random_array(rng, 2, 3)
        return [(cls((0,), ("sample",)), (x,)), (cls((1,), ("unit",)), (x,)), (cls((0, 1), ("a", "b")), (x,))]


class Total(Reduction):
    """The sum."""

    name = "sum"

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.add.reduce, (arrays[0], self.axes if len(self.axes) > 1 else self.axes[0], None, out))]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0].sum(axis=self.axes))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        return self.terms(at, operands[0])

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return self.spread(emit, node, cotangent)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self, (tangent,)


class Mean(Reduction):
    """The arithmetic mean."""

    name = "mean"

    def count(self, shape: Shape) -> int:
        count = 1
        for axis in self.axes:
            count *= shape[axis]
        return count

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        count = np.array(float(self.count(arrays[0].shape)))
        yield np.add.reduce, (arrays[0], self.axes if len(self.axes) > 1 else self.axes[0], None, out)
        yield np.divide, (out, count, out)

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0].mean(axis=self.axes))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        count = self.count(operands[0].shape)
        total = self.terms(at, operands[0])
        return total if count == 1 else Quotient(total, number(count))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return scaled(emit, Fraction(1, self.count(node.inputs[0].shape)), self.spread(emit, node, cotangent))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self, (tangent,)


@dataclass(frozen=True)
class Extreme(Reduction):
    """The largest (or, with `least`, the smallest) element along one axis or several.

    The gradient goes to the first such element, or with `ties: all` to every one.
    """

    name = "extreme"
    least: bool = False
    ties: str = "first"

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0].min(axis=self.axes) if self.least else arrays[0].max(axis=self.axes))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        return Function("min" if self.least else "max", _leaves(self.terms(at, operands[0])))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        (x,) = node.inputs
        chosen = emit(Chosen(self.axes, self.words, self.least, self.ties), x, node, inline=False)
        op, inputs = self.spread(emit, node, cotangent)
        return times(emit(op, *inputs), chosen)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        (x,) = node.inputs
        chosen = emit(Chosen(self.axes, self.words, self.least, self.ties), x, node, inline=False)
        op, inputs = times(tangent, chosen)
        return Total(self.axes, self.words), (emit(op, *inputs),)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [*super().samples(rng), (cls((0,), ("place",), True), (random_array(rng, 4),))]


@dataclass(frozen=True)
class Chosen(Reduction):
    """1 at the element that `Extreme` chose, 0 at the others; operands are x and the extreme."""

    name = "chosen"
    least: bool = False
    ties: str = "first"

    def stacked(self, which: Sequence[bool]) -> None:
        return None

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def counts(self) -> bool:
        return True

    def compute(self, *arrays: Array) -> Array:
        x, extreme = arrays
        equal = x == np.expand_dims(extreme, self.axes)
        if self.ties == "first":
            kept = self.kept(x.shape)
            order = (*kept, *self.axes)
            rows = equal.transpose(order).reshape(*(x.shape[i] for i in kept), -1)
            rows = rows & (np.cumsum(rows, axis=-1) == 1)
            moved = rows.reshape([x.shape[i] for i in order])
            equal = moved.transpose(np.argsort(order))
        return np.asarray(equal, dtype=np.float64)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, extreme = operands
        outer = tuple(place for i, place in enumerate(at) if i not in self.axes)
        here: Expr = choose(x[at], "=", extreme[outer], 1, 0)
        if self.ties == "all" or any(isinstance(place, str) for place in at):
            return here
        for earlier in _before(at, self.axes, x.shape):
            assert isinstance(here, Choice)
            here = choose(x[earlier], "=", extreme[outer], 0, here)
        return here

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        x = [[1.0, 3.0, 3.0], [2.0, 0.0, -1.0]]
        return [
            (cls((1,), ("unit",)), (x, [3.0, 2.0])),
            (cls((1,), ("unit",), ties="all"), (x, [3.0, 2.0])),
            (cls((0, 1), ("a", "b")), (x, 3.0)),
        ]


def _leaves(expr: Expr) -> list[Expr]:
    return [leaf for term in expr.terms for leaf in _leaves(term)] if isinstance(expr, Sum) else [expr]


def _before(at: Index, axes: tuple[int, ...], shape: Shape) -> list[Index]:
    """The places along `axes` that come before `at`, nearest last."""
    places: list[list[int]] = [[]]
    for axis in axes:
        places = [[*p, k] for p in places for k in range(shape[axis])]
    here = [at[axis] for axis in axes]
    found: list[Index] = []
    for place in places:
        if place == here:
            break
        index = list(at)
        for axis, k in zip(axes, place, strict=True):
            index[axis] = k
        found.append(tuple(index))
    return found


__all__ = ["Chosen", "Extreme", "Mean", "Reduction", "Total"]
