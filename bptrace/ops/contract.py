"""Contraction: sums of products of two operands, `z[n,j] = Σ W[j,k]·x[n,k] + b[j]`.

Dense layers, their gradients, attention and recurrence are all this one op, written with einsum
labels. It is closed under differentiation: each vjp is a contraction of the cotangent with the
other operand.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import ONE, Expr, Index, Number, Sum, Terms
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, MatrixForm, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import copy_of, random_array, scaled
from bptrace.ops.lazy import np
from bptrace.ops.reduction import Total
from bptrace.ops.shaping import Expand

if TYPE_CHECKING:
    from bptrace.graph.op import Array


STACKS = "*+"
"""Letters of the axes along which kernels are stacked; no formula has them."""
EINSUM = str.maketrans(STACKS, "YZ")


@dataclass(frozen=True)
class Contract(Op):
    """out[labels] = Σ left[labels]·right[labels] (+ bias[labels])

    `left`, `right`, `out` and `bias` hold one letter an axis; letters missing from `out` are summed
    over. `words` says what each letter counts (`k` -> `input`). `swapped` writes the right factor
    first, as the page wants `w·x` and not `x·w`; `minus` subtracts the bias (a threshold).
    """

    name = "contract"
    left: str = "nk"
    right: str = "jk"
    out: str = "nj"
    bias: str | None = None
    minus: bool = False
    swapped: bool = False
    words: tuple[tuple[str, str], ...] = ()

    @property
    def summed(self) -> str:
        """The letters that are summed over, in order of appearance."""
        return "".join(dict.fromkeys(c for c in self.left + self.right if c not in self.out))

    def extents(self, *shapes: Shape) -> dict[str, int]:
        """The size of each letter's axis."""
        found: dict[str, int] = {}
        for labels, shape in zip((self.left, self.right, self.bias or ""), shapes, strict=False):
            if len(labels) != len(shape):
                raise ValueError(f"an operand of shape {shape} where {len(labels)} axes were expected")
            for label, extent in zip(labels, shape, strict=True):
                if found.setdefault(label, extent) != extent:
                    raise ValueError(f"axis {self.word(label)} has {found[label]} and {extent} places")
        return found

    def word(self, label: str) -> str:
        return dict(self.words).get(label, label)

    def shape(self, *shapes: Shape) -> Shape:
        extents = self.extents(*shapes)
        if self.bias and self.bias != "".join(label for label in self.out if label in self.bias):
            raise ValueError(f"the bias axes {self.bias} are not in the order of the result's, {self.out}")
        return tuple(extents[label] for label in self.out)

    def compute(self, *arrays: Array) -> Array:
        result = np.asarray(np.einsum(f"{self.left},{self.right}->{self.out}", *arrays[:2]))
        if self.bias is not None:
            bias = aligned(arrays[2], self.bias, self.out)
            result = np.asarray(result - bias if self.minus else result + bias)
        return result

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        yield from self._product(out, arrays[0], arrays[1], scratch)
        if self.bias is not None:
            bias = aligned(arrays[2], self.bias, self.out)
            yield (np.subtract if self.minus else np.add), (out, bias, out)

    def stacked(self, which: Sequence[bool]) -> Contract:
        mark = next(mark for mark in STACKS if mark not in self.out)
        left, right, *bias = (
            mark + own if many else own for own, many in zip(self._labels, which, strict=True)
        )
        return replace(self, left=left, right=right, out=mark + self.out, bias=bias[0] if bias else None)

    @property
    def _labels(self) -> tuple[str, ...]:
        return (self.left, self.right) if self.bias is None else (self.left, self.right, self.bias)

    def _product(self, out: Array, left: Array, right: Array, scratch: Scratch) -> Iterator[Call]:
        """Products and sums by the cheapest kernel: elementwise, or matrices over the axes that both
        operands and the result have in front."""
        lone = [c for own, other in ((self.left, self.right), (self.right, self.left)) for c in own if c not in other]
        if len(set(self.left)) < len(self.left) or len(set(self.right)) < len(self.right) or set(lone) - set(self.out):
            labels = f"{self.left},{self.right}->{self.out}".translate(EINSUM)
            yield _einsum, (labels, left, right, out)
        elif not self.summed:
            yield np.multiply, (aligned(left, self.left, self.out), aligned(right, self.right, self.out), out)
        elif not lone:
            order = self.summed + self.out
            products = scratch(tuple(self.extents(left.shape, right.shape)[c] for c in order))
            yield np.multiply, (aligned(left, self.left, order), aligned(right, self.right, order), products)
            axes = tuple(range(len(self.summed)))
            yield np.add.reduce, (products, axes if len(axes) > 1 else 0, None, out)
        else:
            yield from self._matrices(out, left, right, scratch)

    def _matrices(self, out: Array, left: Array, right: Array, scratch: Scratch) -> Iterator[Call]:
        front = 0
        while True:  # the axes of the result behind the front: all of one operand's, then all of the other's
            rest = self.out[front:]
            if not any(c in self.left and c in self.right for c in rest):
                cut = next((k for k, c in enumerate(rest) if (c in self.left) != (rest[0] in self.left)), len(rest))
                if all((c in self.left) != (rest[0] in self.left) for c in rest[cut:]):
                    break
            front += 1
        rows, columns = rest[:cut], rest[cut:]
        swap = bool(rest) and rest[0] not in self.left
        (a_labels, a), (b_labels, b) = ((self.left, left), (self.right, right))[:: -1 if swap else 1]
        a = yield from _joined(aligned(a, a_labels, self.out[:front] + rows + self.summed), front, len(rows), scratch)
        b = yield from _joined(
            aligned(b, b_labels, self.out[:front] + self.summed + columns), front, len(self.summed), scratch
        )
        made = out.reshape(*out.shape[:front], a.shape[-2], b.shape[-1])
        if np.shares_memory(made, out):
            yield _matmul(a, b, made)
        else:
            work = scratch(made.shape)
            yield _matmul(a, b, work)
            yield np.copyto, (out, work.reshape(out.shape))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        extents = self.extents(*(operand.shape for operand in operands))
        total = self._sum(dict(zip(self.out, at, strict=True)), list(self.summed), extents, operands)
        if self.bias is None:
            return total
        bias = operands[2][tuple(dict(zip(self.out, at, strict=True))[label] for label in self.bias)]
        return total - bias if self.minus else total + bias

    def _sum(
        self, places: dict[str, Any], summed: list[str], extents: dict[str, int], operands: tuple[Operand, ...]
    ) -> Expr:
        if not summed:
            left = operands[0][tuple(places[label] for label in self.left)]
            right = operands[1][tuple(places[label] for label in self.right)]
            first, second = (right, left) if self.swapped else (left, right)
            if isinstance(first, Number) and first.value == 1:
                return second
            return first if second == ONE else first * second
        label, *rest = summed
        return Sum(
            Terms(extents[label], lambda k: self._sum({**places, label: k}, rest, extents, operands), label),
            self.word(label),
        )

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        if k == 2:
            assert self.bias is not None
            summed = tuple(i for i, label in enumerate(self.out) if label not in self.bias)
            words = tuple(self.word(self.out[i]) for i in summed)
            term: Term = (Total(summed, words), (cotangent,)) if summed else copy_of(cotangent)
            return scaled(emit, Fraction(-1 if self.minus else 1), term)
        other = read(node.inputs[1 - k])
        labels = (self.left, self.right)
        op = replace(
            self, left=self.out, right=labels[1 - k], out=labels[k], bias=None, minus=False, swapped=_leads(other)
        )
        return op, (cotangent, other)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        if k == 2:
            assert self.bias is not None
            places = tuple(self.out.index(label) for label in self.bias)
            return scaled(emit, Fraction(-1 if self.minus else 1), (Expand(node.shape, places), (tangent,)))
        operands = list(node.inputs[:2])
        operands[k] = tangent
        return replace(self, bias=None, minus=False), tuple(operands)

    def matrix(self, node: Node) -> MatrixForm | None:
        if len(self.left) != 2 or len(self.right) != 2 or len(self.out) != 2 or len(self.summed) != 1:
            return None
        k = self.summed
        left, right = node.inputs[:2]
        ends = (left, self.left.index(k) == 0), (right, self.right.index(k) == 1)
        # one sample makes vectors of the operands: the page writes W·x, and δ·xᵀ
        words = [self.word(label) for label in self.out]
        if "sample" in words and node.shape[words.index("sample")] == 1:
            sample = words.index("sample")
            vector_first = self.out[sample] in self.left
            vector, matrix = ((left, self.left), (right, self.right))[:: 1 if vector_first else -1]
            product = ((matrix[0], matrix[1].index(k) == 0), (vector[0], False))
        else:
            first = ends if self.out[0] in self.left else (ends[1], ends[0])
            product = (first[0], first[1]) if self.out[0] in self.left else (
                (right, self.right.index(k) == 0), (left, self.left.index(k) == 1)
            )  # fmt: skip
        terms: list[tuple[str, tuple[tuple[Node, bool], ...]]] = [("", product)]
        if self.bias is not None:
            terms.append(("-" if self.minus else "+", ((node.inputs[2], False),)))
        return MatrixForm(tuple(terms))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        x, w, b = random_array(rng, 3, 4), random_array(rng, 2, 4), random_array(rng, 2)
        return [
            (cls(), (x, w)),
            (cls(bias="j", swapped=True), (x, w, b)),
            (cls(bias="j", minus=True), (x, w, b)),
            (cls(bias=""), (x, w, 0.5)),
            (cls("nj", "jk", "nk"), (random_array(rng, 3, 2), w)),
            (cls("nj", "nk", "jk"), (random_array(rng, 3, 2), x)),
            (cls("ntk", "jk", "ntj", "j"), (random_array(rng, 2, 3, 4), w, b)),
            (cls("nqd", "nkd", "nqk"), (random_array(rng, 2, 3, 4), random_array(rng, 2, 5, 4))),
            (cls("k", "k", ""), (random_array(rng, 4), random_array(rng, 4))),
            (cls("ik", "k", "i"), (x, random_array(rng, 4))),
        ]


def _leads(node: Node) -> bool:
    """Whether a factor is written before the error it is multiplied with: parameters are."""
    return node.phase in ("parameter", "update")


def aligned(array: Array, labels: str, order: str) -> Array:
    """A view with the axes in an order, and axes of one place where the array has none."""
    present = [letter for letter in order if letter in labels]
    view = array.transpose([labels.index(letter) for letter in present])
    return view[tuple(slice(None) if letter in labels else None for letter in order)]


def _matmul(a: Array, b: Array, out: Array) -> Call:
    if a.ndim == b.ndim == out.ndim == 2 and out.flags.c_contiguous:
        dot: Callable[..., Any] = a.dot
        return dot, (b, out)
    return np.matmul, (a, b, out)


def _joined(array: Array, front: int, rows: int, scratch: Scratch) -> Generator[Call, None, Array]:
    """(front..., rows..., columns...) as matrices (front..., rows, columns): a view, or a copy that is
    renewed in every run."""
    shape = array.shape
    count = math.prod(shape[front : front + rows])
    made = array.reshape(*shape[:front], count, array.size // max(1, count * math.prod(shape[:front])))
    if np.shares_memory(made, array):
        return made
    copy = scratch(shape)
    yield np.copyto, (copy, array)
    return copy.reshape(made.shape)


def _einsum(labels: str, left: Array, right: Array, out: Array) -> None:
    np.einsum(labels, left, right, out=out, optimize=True)
