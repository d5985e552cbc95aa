"""Which elements of an array share a statistic: those of a channel, of a sample, of a group of channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import Expr, Index, Quotient, Sum, Terms, number
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Emit, Op, Term
from bptrace.ops.arithmetic import constant_of
from bptrace.ops.leaves import Fill
from bptrace.ops.reduction import LETTERS, Total
from bptrace.ops.shaping import Expand, Reshape

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Sharing:
    """A statistic is taken over `axes`, which are gone in it; `words` says what each of them counts.

    With `groups` the axis `channel` is cut into so many equal parts, each with a statistic of its own;
    its places are then the first that `words` names.
    """

    axes: tuple[int, ...] = (0,)
    words: tuple[str, ...] = ("sample",)
    groups: int = 0
    channel: int = 1

    # shapes

    def statistic(self, shape: Shape) -> Shape:
        """The shape of a statistic of an array."""
        if max(self.axes, default=0) >= len(shape):
            raise ValueError(f"axis {max(self.axes)} of an array with {len(shape)} axes")
        if self.groups and shape[self.channel] % self.groups:
            raise ValueError(f"{self.groups} groups of {shape[self.channel]} channels")
        return tuple(
            self.groups if self.groups and axis == self.channel else extent
            for axis, extent in enumerate(shape)
            if axis not in self.axes
        )

    def count(self, shape: Shape) -> int:
        """How many elements share one."""
        count = shape[self.channel] // self.groups if self.groups else 1
        for axis in self.axes:
            count *= shape[axis]
        return count

    def cut(self, shape: Shape) -> Shape:
        """The shape in which the channels of a group have an axis of their own."""
        if not self.groups:
            return shape
        channel = self.channel
        return (*shape[:channel], self.groups, shape[channel] // self.groups, *shape[channel + 1 :])

    @property
    def summed(self) -> tuple[int, ...]:
        """The axes of a cut array that are gone in a statistic."""
        if not self.groups:
            return self.axes
        return (self.channel + 1, *(axis + (axis > self.channel) for axis in self.axes))

    def kept(self, shape: Shape) -> tuple[int, ...]:
        """The axes of a cut array that a statistic has."""
        return tuple(axis for axis in range(len(self.cut(shape))) if axis not in self.summed)

    # arrays

    def grouped(self, x: Array) -> Array:
        """A cut view."""
        return x.reshape(self.cut(x.shape)) if self.groups else x

    def widened(self, statistic: Array, shape: Shape) -> Array:
        """A view of a statistic that broadcasts against a cut array."""
        full = [1] * len(self.cut(shape))
        for axis, extent in zip(self.kept(shape), statistic.shape, strict=True):
            full[axis] = extent
        return statistic.reshape(full)

    # formulas

    def owner(self, at: Index, shape: Shape) -> Index:
        """Where the statistic of an element stands."""
        return tuple(
            self._group(place, shape) if axis == self.channel and self.groups else place
            for axis, place in enumerate(at)
            if axis not in self.axes
        )

    def _group(self, place: Any, shape: Shape) -> Any:
        size = shape[self.channel] // self.groups
        if not isinstance(place, str):
            return place // size
        if self.groups == 1:
            return 0
        return place if size == 1 else f"⌈{place}/{size}⌉"

    def total(self, at: Index, shape: Shape, term: Callable[[Index], Expr]) -> Expr:
        """Σ term(place) over the elements whose statistic stands at `at`, one sum an axis."""
        kept = [axis for axis in range(len(shape)) if axis not in self.axes]
        fixed: dict[int, Any] = dict(zip(kept, at, strict=True))
        size = shape[self.channel] // self.groups if self.groups else 1
        group: Any = fixed.pop(self.channel) if self.groups else None
        order = (self.channel, *self.axes) if self.groups else self.axes

        def place_in(axis: int, k: Any) -> Any:
            if not self.groups or axis != self.channel:
                return k
            if isinstance(group, str):  # letters count from 1
                return f"{size}({group}-1)+{k if isinstance(k, str) else k + 1}"
            start = group * size
            return start + k if not isinstance(k, str) else f"{start}+{k}" if start else k

        def level(position: int, places: dict[int, Any]) -> Expr:
            if position == len(order):
                return term(tuple(places[axis] for axis in range(len(shape))))
            axis = order[position]
            extent = size if self.groups and axis == self.channel else shape[axis]
            inside = lambda k: level(position + 1, {**places, axis: place_in(axis, k)})  # noqa: E731
            return Sum(Terms(extent, inside, LETTERS[position]), self.words[position])

        return level(0, fixed)

    # nodes

    def spread(self, emit: Emit, statistic: Node, shape: Shape) -> Node:
        """Each element's statistic, as an inner node."""
        constant = constant_of(statistic)
        if constant is not None:
            return emit(Fill(constant, shape))
        whole = emit(Expand(self.cut(shape), self.kept(shape)), statistic)
        return emit(Reshape(shape), whole) if self.groups else whole

    def gathered(self, emit: Emit, node: Node) -> Term:
        """The sum of the elements that share a statistic."""
        whole = emit(Reshape(self.cut(node.shape)), node) if self.groups else node
        return Total(self.summed, self.words), (whole,)


@dataclass(frozen=True)
class Shared(Op):
    """Base of the ops on an array x, their first operand, of which some elements share a statistic."""

    sharing: Sharing = Sharing()


def inner(emit: Emit, term: Term) -> Node:
    """An operation as an inner node."""
    op, inputs = term
    return emit(op, *inputs)


def everything(node: Node) -> Term:
    """The sum of all elements."""
    return Total(tuple(range(len(node.shape))), ("place",) * len(node.shape)), (node,)


def over(total: Expr, count: int) -> Expr:
    """A sum divided by a number."""
    return total if count == 1 else Quotient(total, number(count))


def ways_of_sharing() -> list[tuple[Sharing, Shape]]:
    """Some, with the shape of an array each, for the universal tests."""
    return [
        (Sharing(), (4, 2)),
        (Sharing((1,), ("unit",)), (2, 3)),
        (Sharing((0, 2), ("sample", "place")), (2, 2, 3)),
        (Sharing((2,), ("channel", "place"), 2, 1), (2, 4, 2)),
        (Sharing((1,), ("channel", "place"), 1, 2), (2, 2, 2)),
    ]


__all__ = ["Shared", "Sharing", "everything", "inner", "over", "ways_of_sharing"]
