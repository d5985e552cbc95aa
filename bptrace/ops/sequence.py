"""Time steps of a sequence: one place of an axis, and places side by side along a new axis."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import ZERO, Expr, Index
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import constant_of, copy_of
from bptrace.ops.lazy import np
from bptrace.ops.leaves import Fill
from bptrace.ops.shaping import View, random_values
from bptrace.ops.stacks import runs

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Pick(View):
    """One place of an axis, which goes: x@2 of x."""

    name = "pick"
    by_place = True
    axis: int = 1
    place: int = 0

    def shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if not self.axis < len(shape) or not 0 <= self.place < shape[self.axis]:
            raise ValueError(f"place {self.place + 1} of axis {self.axis + 1} of the shape {list(shape)}")
        return (*shape[: self.axis], *shape[self.axis + 1 :])

    def view(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0][_at(self.axis, self.place)])

    def formula(self, at: Index, *operands: Operand) -> Expr:
        return operands[0][(*at[: self.axis], self.place, *at[self.axis :])]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return Place(self.axis, self.place, node.inputs[0].shape[self.axis]), (cotangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(1, 2), (random_values(rng, 2, 3, 2),)), (cls(0, 0), (random_values(rng, 2),))]


@dataclass(frozen=True)
class Place(View):
    """The operand at one place of a new axis of `extent` places, zeros at the others."""

    name = "place"
    axis: int = 1
    place: int = 0
    extent: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        return (*shapes[0][: self.axis], self.extent, *shapes[0][self.axis :])

    def view(self, *arrays: Array) -> None:
        return None

    def compute(self, *arrays: Array) -> Array:
        out = np.zeros(self.shape(arrays[0].shape))
        out[_at(self.axis, self.place)] = arrays[0]
        return out

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        yield out.fill, (0.0,)
        yield np.copyto, (out[_at(self.axis, self.place)], arrays[0])

    def formula(self, at: Index, *operands: Operand) -> Expr:
        here = at[self.axis]
        if isinstance(here, int) and here != self.place:
            return ZERO
        return operands[0][(*at[: self.axis], *at[self.axis + 1 :])]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return picked(cotangent, self.axis, self.place)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(1, 1, 3), (random_values(rng, 2, 2),)), (cls(0, 0, 2), (random_values(rng, 2),))]


@dataclass(frozen=True)
class Stack(View):
    """The operands side by side along a new axis: a sequence from its steps."""

    name = "stack"
    by_place = True
    axis: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        if any(shape != shapes[0] for shape in shapes):
            raise ValueError(f"the steps differ in shape: {', '.join(map(str, shapes))}")
        return (*shapes[0][: self.axis], len(shapes), *shapes[0][self.axis :])

    def view(self, *arrays: Array) -> None:
        return None

    def compute(self, *arrays: Array) -> Array:
        return np.stack(arrays, axis=self.axis)

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        steps = np.moveaxis(out, self.axis, 0)
        for run in runs([(array,) for array in arrays]):
            yield np.copyto, (steps[run.start : run.stop], run.columns[0])

    def formula(self, at: Index, *operands: Operand) -> Expr:
        here = at[self.axis]
        rest = (*at[: self.axis], *at[self.axis + 1 :])
        return operands[here if isinstance(here, int) else 0][rest]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return picked(cotangent, self.axis, k)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return Place(self.axis, k, len(node.inputs)), (tangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls(1), tuple(random_values(rng, 2, 2) for _ in range(3))),
            (cls(0), tuple(random_values(rng, 2) for _ in range(2))),
        ]


@dataclass(frozen=True)
class Hold(Op):
    """The same value, through which no error is passed back: where truncated backpropagation ends."""

    name = "hold"

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def view(self, *arrays: Array) -> Array:
        return arrays[0].view()

    def compute(self, *arrays: Array) -> Array:
        return arrays[0].copy()

    def formula(self, at: Index, *operands: Operand) -> Expr:
        return operands[0][at]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> None:
        return None

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> None:
        return None

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_values(rng, 2, 2),))]


def _at(axis: int, place: int) -> Any:
    """The index of one place of an axis."""
    return (*(slice(None) for _ in range(axis)), place, ...)


def picked(sequence: Node, axis: int, place: int) -> Term:
    """One step of a sequence, as an operation."""
    constant = constant_of(sequence)
    if constant is not None:
        return Fill(constant, (*sequence.shape[:axis], *sequence.shape[axis + 1 :])), ()
    if isinstance(sequence.op, Stack) and sequence.op.axis == axis:
        return copy_of(sequence.inputs[place])
    return Pick(axis, place), (sequence,)


def gathered(emit: Emit, terms: Sequence[Term]) -> Term | None:
    """What comes back to the steps of a sequence side by side, where no step has more than one; zeros to
    steps that nothing reads."""
    ops = [op for op, _ in terms if isinstance(op, Place)]
    if len(ops) < len(terms) or len({(op.axis, op.extent) for op in ops}) > 1:
        return None
    back = {op.place: inputs[0] for op, (_, inputs) in zip(ops, terms, strict=True)}
    if len(back) < len(ops):
        return None
    one = next(iter(back.values())).shape
    zeros = [] if len(back) == ops[0].extent else [emit(Fill(Fraction(0), one))]
    return Stack(ops[0].axis), tuple(back[t] if t in back else zeros[0] for t in range(ops[0].extent))


__all__ = ["Hold", "Pick", "Place", "Stack", "gathered", "picked"]
