"""Contraction: sums of products of two operands, `z[n,j] = Σ W[j,k]·x[n,k] + b[j]`.

Dense layers, their gradients, attention and recurrence are all this one op, written with einsum
labels. It is closed under differentiation: each vjp is a contraction of the cotangent with the
other operand.
"""

from __future__ import annotations

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
            bias = _aligned(arrays[2], self.bias, self.out)
            result = np.asarray(result - bias if self.minus else result + bias)
        return result

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        yield from self._product(out, arrays[0], arrays[1], scratch)
        if self.bias is not None:
            bias = _aligned(arrays[2], self.bias, self.out)
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
        """A matrix product where the letters allow one, otherwise einsum."""
        k = self.summed
        if len(self.left) == len(self.right) == len(self.out) == 2 and len(k) == 1:
            a = left if self.left[1] == k else left.T
            b = right if self.right[0] == k else right.T
            yield _matmul(a, b, out) if self.out[0] in self.left else _matmul(b.T, a.T, out)
            return
        if len(self.right) == 2 and len(k) == 1 and self.left[-1] == k:
            rows = left.reshape(-1, left.shape[-1])
            shared = np.shares_memory(rows, left) and out.flags.c_contiguous
            if shared and self.out == self.left[:-1] + self.right.replace(k, ""):
                yield _matmul(rows, right if self.right[0] == k else right.T, out.reshape(-1, out.shape[-1]))
                return
        if len(k) > 1 and self.left[:-1] == self.right[:-1] == k and len(self.out) == 2:
            # the gradient of weights that all time steps or positions share
            a = yield from _rows(left, scratch)
            b = yield from _rows(right, scratch)
            yield _matmul(a.T, b, out) if self.out[0] == self.left[-1] else _matmul(b.T, a, out)
            return
        labels = f"{self.left},{self.right}->{self.out}".translate(EINSUM)
        yield self._many_products(out, left, right) or (_einsum, (labels, left, right, out))

    def _many_products(self, out: Array, left: Array, right: Array) -> Call | None:
        """A matrix product for each place of the first axes of the result, where an operand has
        some of these axes in front, or none."""
        k, outer = self.summed, self.out[:-2]
        if not outer or len(k) != 1:
            return None
        ends = []
        for labels, array in ((self.left, left), (self.right, right)):
            own, front = labels[-2:], labels[:-2]
            in_order = front == "".join(letter for letter in outer if letter in front)
            if len(own) != 2 or k not in own or set(own) & set(outer) or not in_order:
                return None
            ends.append((own, array[tuple(slice(None) if c in front else None for c in outer)] if front else array))
        if ends[0][0].replace(k, "") != self.out[-2]:
            ends.reverse()
        (a_labels, a), (b_labels, b) = ends
        if a_labels.replace(k, "") != self.out[-2] or b_labels.replace(k, "") != self.out[-1]:
            return None
        a = a if a_labels[1] == k else a.swapaxes(-1, -2)
        b = b if b_labels[0] == k else b.swapaxes(-1, -2)
        return np.matmul, (a, b, out)

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


def _aligned(bias: Array, labels: str, out: str) -> Array:
    """A view of the bias that broadcasts against the result."""
    view = bias
    for i, label in enumerate(out):
        if label not in labels:
            view = np.expand_dims(view, i) if labels else view
    return view


def _matmul(a: Array, b: Array, out: Array) -> Call:
    dot: Callable[..., Any] = a.dot
    if out.flags.c_contiguous:
        return dot, (b, out)
    return np.matmul, (a, b, out)


def _rows(array: Array, scratch: Scratch) -> Generator[Call, None, Array]:
    """All but the last axis as one: a view, or a copy that is renewed in every run."""
    rows = array.reshape(-1, array.shape[-1])
    if np.shares_memory(rows, array):
        return rows
    copy = scratch(array.shape)
    yield np.copyto, (copy, array)
    return copy.reshape(rows.shape)


def _einsum(labels: str, left: Array, right: Array, out: Array) -> None:
    np.einsum(labels, left, right, out=out, optimize=True)
