"""Views: expand, reshape, transpose, concatenate, slice. They move numbers and compute none."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import ZERO, Expr, Function, Index
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


def random_values(rng: random.Random, *shape: int) -> Any:
    if not shape:
        return round(rng.uniform(-2, 2), 3)
    return [random_values(rng, *shape[1:]) for _ in range(shape[0])]


class View(Op):
    """Base of the views: the result shares the operand's numbers wherever NumPy can."""


    def compute(self, *arrays: Array) -> Array:
        view = self.view(*arrays)
        assert view is not None
        return view.copy()

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.copyto, (out, self.view(*arrays)))]

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self, (tangent,)


@dataclass(frozen=True)
class Expand(View):
    """The operand repeated to a larger shape; its axis i becomes axis `places[i]`.

    Axes of size one are repeated too, as NumPy broadcasts them.
    """

    name = "expand"
    extents: Shape = ()
    places: tuple[int, ...] = ()

    def shape(self, *shapes: Shape) -> Shape:
        if list(self.places) != sorted(set(self.places)):
            raise ValueError(f"places {self.places} are not in order")
        for place, extent in zip(self.places, shapes[0], strict=True):
            if extent not in (1, self.extents[place]):
                raise ValueError(f"shape {shapes[0]} does not broadcast to {self.extents}")
        return self.extents

    def view(self, *arrays: Array) -> Array:
        (x,) = arrays
        full = [1] * len(self.extents)
        for place, extent in zip(self.places, x.shape, strict=True):
            full[place] = extent
        return np.broadcast_to(x.reshape(full), self.extents)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (x,) = operands
        return x[tuple(0 if x.shape[i] == 1 else at[place] for i, place in enumerate(self.places))]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        from bptrace.ops.reduction import Total

        operand = node.inputs[0].shape
        gone = tuple(i for i in range(len(self.extents)) if i not in self.places)
        repeated = tuple(p for p, extent in zip(self.places, operand, strict=True) if extent != self.extents[p])
        total = Total((*gone, *repeated), tuple("place" for _ in (*gone, *repeated)))
        if not repeated:
            return total, (cotangent,)
        return Reshape(operand), (emit(total, cotangent),)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls((3, 2), (1,)), (random_values(rng, 2),)),
            (cls((3, 2), (0, 1)), (random_values(rng, 1, 2),)),
            (cls((2, 2), ()), (1.5,)),
        ]


@dataclass(frozen=True)
class Reshape(View):
    """The same numbers, row by row, in another shape."""

    name = "reshape"
    extents: Shape = ()

    def shape(self, *shapes: Shape) -> Shape:
        if _size(shapes[0]) != _size(self.extents):
            raise ValueError(f"{_size(shapes[0])} elements of shape {shapes[0]} do not fill {self.extents}")
        return self.extents

    def view(self, *arrays: Array) -> Array | None:
        view = arrays[0].view()
        try:
            view.shape = self.extents
        except AttributeError:
            return None
        return view

    def compute(self, *arrays: Array) -> Array:
        return arrays[0].reshape(self.extents).copy()

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(np.copyto, (out.reshape(arrays[0].shape), arrays[0]))]

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (x,) = operands
        if any(isinstance(place, str) for place in at):
            return x[at] if len(at) == len(x.shape) else x[(*("·" for _ in x.shape),)]
        flat = 0
        for place, extent in zip(at, self.extents, strict=True):
            flat = flat * extent + place
        index: list[int] = []
        for extent in reversed(x.shape):
            flat, place = divmod(flat, extent)
            index.append(place)
        return x[tuple(reversed(index))]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return Reshape(node.inputs[0].shape), (cotangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls((3, 2)), (random_values(rng, 2, 3),)), (cls((6,)), (random_values(rng, 2, 3),))]


@dataclass(frozen=True)
class Transpose(View):
    """Axes in another order: axis i of the result is axis `order[i]` of the operand."""

    name = "transpose"
    order: tuple[int, ...] = (1, 0)

    def shape(self, *shapes: Shape) -> Shape:
        if sorted(self.order) != list(range(len(shapes[0]))):
            raise ValueError(f"order {self.order} does not fit {len(shapes[0])} axes")
        return tuple(shapes[0][axis] for axis in self.order)

    def view(self, *arrays: Array) -> Array:
        return arrays[0].transpose(self.order)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        index: list[Any] = [None] * len(at)
        for place, axis in zip(at, self.order, strict=True):
            index[axis] = place
        return operands[0][tuple(index)]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return Transpose(tuple(self.order.index(i) for i in range(len(self.order)))), (cotangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(), (random_values(rng, 2, 3),)), (cls((2, 0, 1)), (random_values(rng, 2, 3, 2),))]


@dataclass(frozen=True)
class Concat(View):
    """The operands one after the other along an axis."""

    name = "concat"
    by_place = True
    axis: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        rest = {shape[: self.axis] + shape[self.axis + 1 :] for shape in shapes}
        if len(rest) != 1:
            raise ValueError(f"shapes {', '.join(map(str, shapes))} differ beside axis {self.axis}")
        extents = list(shapes[0])
        extents[self.axis] = sum(shape[self.axis] for shape in shapes)
        return tuple(extents)

    def view(self, *arrays: Array) -> None:
        return None

    def compute(self, *arrays: Array) -> Array:
        return np.concatenate(arrays, axis=self.axis)

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        start = 0
        for array in arrays:
            stop = start + array.shape[self.axis]
            yield np.copyto, (out[(slice(None),) * self.axis + (slice(start, stop),)], array)
            start = stop

    def formula(self, at: Index, *operands: Operand) -> Expr:
        place = at[self.axis]
        if isinstance(place, str):  # of any element: what is joined
            return Function("concat", tuple(operand[at] for operand in operands))
        for operand in operands:
            if place < operand.shape[self.axis]:
                return operand[(*at[: self.axis], place, *at[self.axis + 1 :])]
            place -= operand.shape[self.axis]
        raise IndexError(at)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        start = sum(operand.shape[self.axis] for operand in node.inputs[:k])
        return Slice(self.axis, start, start + node.inputs[k].shape[self.axis]), (cotangent,)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        start = sum(operand.shape[self.axis] for operand in node.inputs[:k])
        return Pad(self.axis, start, node.shape[self.axis]), (tangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls(), (random_values(rng, 2, 1), random_values(rng, 2, 3))),
            (cls(0), (random_values(rng, 1), random_values(rng, 3))),
        ]


@dataclass(frozen=True)
class Slice(View):
    """The places from `start` to before `stop` of an axis."""

    name = "slice"
    axis: int = 0
    start: int = 0
    stop: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        if not 0 <= self.start < self.stop <= shapes[0][self.axis]:
            raise ValueError(f"places {self.start + 1} to {self.stop} of {shapes[0][self.axis]}")
        return (*shapes[0][: self.axis], self.stop - self.start, *shapes[0][self.axis + 1 :])

    def view(self, *arrays: Array) -> Array:
        return arrays[0][(slice(None),) * self.axis + (slice(self.start, self.stop),)]

    def formula(self, at: Index, *operands: Operand) -> Expr:
        place = at[self.axis]
        moved = place if isinstance(place, str) else place + self.start
        return operands[0][(*at[: self.axis], moved, *at[self.axis + 1 :])]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return Pad(self.axis, self.start, node.inputs[0].shape[self.axis]), (cotangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(1, 1, 3), (random_values(rng, 2, 4),)), (cls(0, 0, 1), (random_values(rng, 3),))]


@dataclass(frozen=True)
class Pad(View):
    """The operand from place `start` on along an axis of size `extent`, zeros elsewhere."""

    name = "pad"
    axis: int = 0
    start: int = 0
    extent: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        return (*shapes[0][: self.axis], self.extent, *shapes[0][self.axis + 1 :])

    def view(self, *arrays: Array) -> None:
        return None

    def _inside(self, out: Array, size: int) -> Array:
        return out[(slice(None),) * self.axis + (slice(self.start, self.start + size),)]

    def compute(self, *arrays: Array) -> Array:
        out = np.zeros(self.shape(arrays[0].shape))
        self._inside(out, arrays[0].shape[self.axis])[...] = arrays[0]
        return out

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        yield out.fill, (0.0,)
        yield np.copyto, (self._inside(out, arrays[0].shape[self.axis]), arrays[0])

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (x,) = operands
        place = at[self.axis]
        if isinstance(place, str):
            return x[at]
        moved = place - self.start
        if not 0 <= moved < x.shape[self.axis]:
            return ZERO
        return x[(*at[: self.axis], moved, *at[self.axis + 1 :])]

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return Slice(self.axis, self.start, self.start + node.inputs[0].shape[self.axis]), (cotangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(1, 1, 4), (random_values(rng, 2, 2),))]


def _size(shape: Shape) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size
