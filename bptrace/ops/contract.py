"""Contraction: sums of products of two operands, `z[n,j] = Σ W[j,k]·x[n,k] + b[j]`.

Dense layers, their gradients, attention and recurrence are all this one op, written with einsum
labels. It is closed under differentiation: each vjp is a contraction of the cotangent with the
other operand.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import ONE, Expr, Index, Number, Sum, Terms
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, MatrixForm, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import copy_of, random_array, scaled
from bptrace.ops.contraction import STACKS, aligned, contraction
from bptrace.ops.lazy import np
from bptrace.ops.reduction import Total
from bptrace.ops.shaping import Expand

if TYPE_CHECKING:
    from bptrace.graph.op import Array


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
        yield from contraction((self.left, self.right, self.out), out, arrays[0], arrays[1], scratch)
        if self.bias is not None:
            bias = aligned(arrays[2], self.bias, self.out)
            yield (np.subtract if self.minus else np.add), (out, bias, out)

    def stacked(self, which: Sequence[bool]) -> Contract:
        mark = next(mark for mark in STACKS if mark not in self.out)
        labels = (self.left, self.right) if self.bias is None else (self.left, self.right, self.bias)
        left, right, *bias = (mark + own if many else own for own, many in zip(labels, which, strict=True))
        return replace(self, left=left, right=right, out=mark + self.out, bias=bias[0] if bias else None)

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
        op = self._of_one_sample(node)
        if len(op.left) != 2 or len(op.right) != 2 or len(op.out) != 2 or len(op.summed) != 1:
            return None
        k = op.summed
        left, right = node.inputs[:2]
        ends = (left, op.left.index(k) == 0), (right, op.right.index(k) == 1)
        # one sample makes vectors of the operands: the page writes W·x, and δ·xᵀ
        words = [op.word(label) for label in op.out]
        if "sample" in words and node.shape[words.index("sample")] == 1:
            sample = words.index("sample")
            vector_first = op.out[sample] in op.left
            vector, matrix = ((left, op.left), (right, op.right))[:: 1 if vector_first else -1]
            product = ((matrix[0], matrix[1].index(k) == 0), (vector[0], False))
        else:
            first = ends if op.out[0] in op.left else (ends[1], ends[0])
            product = (first[0], first[1]) if op.out[0] in op.left else (
                (right, op.right.index(k) == 0), (left, op.left.index(k) == 1)
            )  # fmt: skip
        terms: list[tuple[str, tuple[tuple[Node, bool], ...]]] = [("", product)]
        if op.bias is not None:
            terms.append(("-" if op.minus else "+", ((node.inputs[2], False),)))
        return MatrixForm(tuple(terms))

    def _of_one_sample(self, node: Node) -> Contract:
        """Without the axis of a single sample, where matrices are left: the positions of a sequence."""
        extents = self.extents(*(operand.shape for operand in node.inputs))
        alone = [c for c, extent in extents.items() if extent == 1 and self.word(c) == "sample"]
        if max(len(self.left), len(self.right)) != 3 or not alone:
            return self
        gone = str.maketrans("", "", alone[0])
        left, right, out = (labels.translate(gone) for labels in (self.left, self.right, self.out))
        return replace(self, left=left, right=right, out=out)

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
