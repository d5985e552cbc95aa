"""Op: one place for everything about one operation.

An op says what shape it makes (`shape`), how NumPy computes it (`bind`), what one element of it is
as a formula (`formula`), and how derivatives pass through it (`vjp` for the backward pass, `jvp`
for forward mode). The kernel and the formula are two independent statements of the same thing; the
tests compare them on every element. Ops know no names, no ids and no layout of a page.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from bptrace.formula.expr import Expr, Index, Ref
from bptrace.graph.node import Node, Shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A kernel step: a function and its arguments, bound to views that are made once."""

Term = tuple["Op", tuple[Node, ...]]
"""An operation to be given a place in the graph: an op and its operands."""

Part = tuple["Op", tuple[int, ...]]
"""A kernel that does a part of an op's work, and which of the op's operands it takes."""

Read = Callable[[Node], Node]
"""Which node stands for an operand in the error path (itself, or its updated value)."""


class Emit(Protocol):
    """Puts an inner node of a derivative rule into the graph; `inline` ones are written into the
    formula that uses them, others get an id of their own (`local.h.a`)."""

    def __call__(self, op: Op, *inputs: Node, inline: bool = True) -> Node: ...


class Operand:
    """An operand as a formula sees it: `x[n, k]` refers to one element, `x.shape` is known."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def __getitem__(self, index: Any) -> Expr:
        return element(self.node, index if isinstance(index, tuple) else (index,))

    @property
    def shape(self) -> Shape:
        return self.node.shape


def element(node: Node, index: Index) -> Expr:
    """A reference to an element; of an inline node, its formula, where there is one for the index."""
    if not node.inline or (node.op.by_place and any(isinstance(place, str) for place in index)):
        return Ref(node, index)
    return formula_of(node, index)


def formula_of(node: Node, index: Index) -> Expr:
    """The formula of one element of a node, inline operands written out.

    `index` holds 0-based integers, or letters for the formula of any element.
    """
    return node.op.formula(index, *(Operand(operand) for operand in node.inputs))


class Scratch(Protocol):
    """Gives work space to a kernel, reused in every iteration."""

    def __call__(self, shape: Shape) -> Array:
        """An array of a shape, with whatever other kernels left in it."""

    def arranged(self, source: Array, how: Hashable, shape: Shape, arrange: Callable[[Array], Iterable[Call]]) -> Array:
        """An operand in another order: zeros of a shape into which the calls of `arrange` copy it.

        Done once for all kernels that ask for the same `source` in the same way (`how`).
        """


Sample = tuple["Op", tuple[Any, ...]]
"""An op and operand values (nested lists) on which the universal tests try it."""


@dataclass(frozen=True, slots=True)
class MatrixForm:
    """A result as a sum of products of whole arrays: `W·x + b`.

    Each term is a sign and its factors; a factor is an operand and whether it is transposed.
    """

    terms: tuple[tuple[str, tuple[tuple[Node, bool], ...]], ...]
    scale: str = ""


def _copy_result(compute: Callable[..., Array], arrays: tuple[Array, ...], out: Array) -> None:
    out[...] = compute(*arrays)


@dataclass(frozen=True)
class Op:
    """Base of all operations; frozen, so that equal ops are interchangeable."""

    name: ClassVar[str] = ""
    elementwise: ClassVar[bool] = False
    """Whether each element is computed from the same places of the operands (and from numbers), so
    that several such nodes whose arrays lie side by side can be computed as one."""

    infinite: ClassVar[bool] = False
    """Whether results may be infinite in a run that goes well (masked scores)."""

    by_place: ClassVar[bool] = False
    """Whether a place says what an element is (the steps of a sequence): in a formula with letters an
    inline node of the op stands for itself, `x@2`."""

    given: ClassVar[bool] = False
    """Whether the numbers come from outside, as data do: paper mode does not round them."""

    def counts(self) -> bool:
        """Whether every result is a whole number by the formula (0 or 1 of a branch)."""
        return False

    def shape(self, *shapes: Shape) -> Shape:
        """The shape of the result; raises ValueError with a sentence where operands do not fit."""
        raise NotImplementedError

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        """The kernel as calls over fixed views, for the loop.

        Ops that matter for speed write this one and allocate nothing when the calls run; for the
        others the plain form is computed and copied.
        """
        return [(_copy_result, (self.compute, arrays, out))]

    def stacked(self, which: Sequence[bool]) -> Op | None:
        """The op that makes many such results in one call, along a new first axis of the result and of
        the operands of `which` it is said; None where there is none."""
        return self if self.elementwise else None

    def ahead(self, ready: Sequence[bool]) -> tuple[Part, Part] | None:
        """The op as two kernels: what the operands that are `ready` allow, and what then remains to be
        added to it; None where it cannot be cut."""
        return None

    def compute(self, *arrays: Array) -> Array:
        """The kernel in its plain form: the result as a new array."""
        raise NotImplementedError

    def formula(self, at: Index, *operands: Operand) -> Expr:
        """One element of the result."""
        raise NotImplementedError

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term | None:
        """What `cotangent` (the derivative by `node`) passes back to operand `k`."""
        raise NotImplementedError

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term | None:
        """What a tangent of operand `k` contributes to the tangent of `node`."""
        raise NotImplementedError

    def view(self, *arrays: Array) -> Array | None:
        """The result as a view of the operands, where no number needs to be computed."""
        return None

    def symbol(self) -> str:
        """The short symbol (`σ`), or nothing."""
        return ""

    def matrix(self, node: Node) -> MatrixForm | None:
        """The matrix form for the caption, where the op has one."""
        return None

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        """Operands on which the universal tests try this op: random ones and edge cases."""
        return ()
