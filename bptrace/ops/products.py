"""Sums of several products: `z[n,j] = Σ W[j,k]·x[n,k] + Σ U[j,m]·h[n,m] + b[j]`.

One op for everything that recurrence adds up: a pre-activation (two products and biases), a cell state
(two products element by element), and the gradient of a parameter that is used at every time step
(a product a step).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import ONE, Expr, Index, Number, Sum, Terms
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, MatrixForm, Op, Operand, Part, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import Copy, Scale, copy_of, random_array, scaled, times
from bptrace.ops.contract import Contract
from bptrace.ops.contraction import STACKS, aligned
from bptrace.ops.lazy import np
from bptrace.ops.reduction import Total
from bptrace.ops.shaping import Expand
from bptrace.ops.stacks import address, runs

if TYPE_CHECKING:
    from bptrace.graph.op import Array

Words = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Products(Op):
    """out[labels] = Σ over the terms; a term is one operand or the product of two.

    `terms` and `out` hold one letter an axis, as in einsum (`nk,jk` a product, `j` an operand alone);
    letters missing from `out` are summed over, and an operand alone is repeated along those that it
    lacks. `words` says what each letter counts. `swapped` writes the right factor first.
    """

    name = "products"
    terms: tuple[str, ...] = ("nk,jk", "nm,jm", "j")
    out: str = "nj"
    swapped: bool = False
    words: Words = ()

    def word(self, label: str) -> str:
        return dict(self.words).get(label, label)

    @property
    def labels(self) -> list[tuple[str, ...]]:
        """The letters of each term's operands."""
        return [tuple(term.split(",")) for term in self.terms]

    def grouped(self, operands: Sequence[Any]) -> Iterator[tuple[tuple[str, ...], Sequence[Any]]]:
        """Each term's letters with its operands."""
        start = 0
        for labels in self.labels:
            yield labels, operands[start : start + len(labels)]
            start += len(labels)

    def extents(self, *shapes: Shape) -> dict[str, int]:
        """The size of each letter's axis, which is the same in every term."""
        found: dict[str, int] = {}
        for labels, operands in self.grouped(shapes):
            for letters, shape in zip(labels, operands, strict=True):
                if len(letters) != len(shape):
                    raise ValueError(f"an operand of shape {shape} where {len(letters)} axes were expected")
                for letter, extent in zip(letters, shape, strict=True):
                    if found.setdefault(letter, extent) != extent:
                        raise ValueError(f"axis {self.word(letter)} has {found[letter]} and {extent} places")
        return found

    def shape(self, *shapes: Shape) -> Shape:
        if len(shapes) != sum(map(len, self.labels)):
            raise ValueError(f"{len(shapes)} operands for the terms {' + '.join(self.terms)}")
        extents = self.extents(*shapes)
        return tuple(extents[letter] for letter in self.out)

    def compute(self, *arrays: Array) -> Array:
        total = np.zeros(self.shape(*(array.shape for array in arrays)))
        for labels, operands in self.grouped(arrays):
            if len(labels) == 2:
                total += np.einsum(f"{labels[0]},{labels[1]}->{self.out}", *operands)
            else:
                total += aligned(*_reduced(operands[0], labels[0], self.out), self.out)
        return total

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        started = isinstance(self, _Added)
        work = scratch(out.shape) if started or len(self.terms) > 1 else out
        for labels, operands in self._joined(arrays):
            into = work if started else out
            if len(labels) == 1 and set(labels[0]) <= set(self.out):
                view = aligned(operands[0], labels[0], self.out)
                yield (np.add, (out, view, out)) if started else (np.copyto, (out, view))
                started = True
                continue
            if labels == (self.out, self.out):
                yield np.multiply, (*operands, into)
            elif len(labels) == 2:
                yield from Contract(labels[0], labels[1], self.out).bind(into, *operands, scratch=scratch)
            else:
                summed = tuple(i for i, letter in enumerate(labels[0]) if letter not in self.out)
                yield np.add.reduce, (operands[0], summed, None, into)
            if started:
                yield np.add, (out, work, out)
            started = True

    def _joined(self, arrays: Sequence[Array]) -> Iterator[tuple[tuple[str, ...], Sequence[Array]]]:
        """The terms; alike ones whose operands stand side by side, as the time steps of a gradient do,
        as one that is summed over an axis more."""
        for labels, group in itertools.groupby(self.grouped(arrays), key=lambda term: term[0]):
            terms = [operands for _, operands in group]
            if set("".join(labels)) <= set(self.out):  # nothing to be summed within a term
                yield from ((labels, operands) for operands in terms)
                continue
            terms.sort(key=lambda operands: address(operands[0]))
            for run in runs(terms):
                if all(run.stacked):
                    yield tuple(STACKS[0] + letters for letters in labels), run.columns
                else:
                    yield from ((labels, terms[k]) for k in range(run.start, run.stop))

    def stacked(self, which: Sequence[bool]) -> Products | None:
        summed = [set(term) - set(self.out + ",") for term in self.terms]
        repeated = ["," not in term or self.terms.count(term) > 1 for term in self.terms]
        if any(letters and many for letters, many in zip(summed, repeated, strict=True)):
            return None  # the time steps of a gradient: they are joined within
        mark = next(mark for mark in STACKS if mark not in self.out)
        marks = iter(mark if many else "" for many in which)
        terms = tuple(",".join(next(marks) + letters for letters in labels) for labels in self.labels)
        return replace(self, terms=terms, out=mark + self.out)

    def ahead(self, ready: Sequence[bool]) -> tuple[Part, Part] | None:
        now: list[tuple[str, tuple[int, ...]]] = []
        later: list[tuple[str, tuple[int, ...]]] = []
        for term, (_, places) in zip(self.terms, self.grouped(range(len(ready))), strict=True):
            (now if all(ready[k] for k in places) else later).append((term, tuple(places)))
        if not now or not later or not any("," in term for term, _ in now):
            return None
        (terms, first), (others, rest) = (
            (tuple(term for term, _ in part), tuple(k for _, places in part for k in places)) for part in (now, later)
        )
        return (Products(terms, self.out), first), (_Added(others, self.out), rest)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        extents = self.extents(*(operand.shape for operand in operands))
        here: dict[str, Any] = dict(zip(self.out, at, strict=True))
        parts: list[Expr] = []
        for labels, factors in self.grouped(operands):
            summed = [c for c in dict.fromkeys("".join(labels)) if c not in self.out]
            parts.append(self._sum(labels, factors, here, summed, extents))
        return parts[0] if len(parts) == 1 else Sum(tuple(parts))

    def _sum(
        self,
        labels: tuple[str, ...],
        factors: Sequence[Operand],
        places: dict[str, Any],
        summed: list[str],
        extents: dict[str, int],
    ) -> Expr:
        if summed:
            letter, *rest = summed
            at: Callable[[Any], Expr] = lambda k: self._sum(  # noqa: E731
                labels, factors, {**places, letter: k}, rest, extents
            )
            return Sum(Terms(extents[letter], at, letter), self.word(letter))
        elements = [f[tuple(places[c] for c in letters)] for letters, f in zip(labels, factors, strict=True)]
        if len(elements) == 1:
            return elements[0]
        first, second = reversed(elements) if self.swapped else elements
        if isinstance(first, Number) and first.value == 1:
            return second
        return first if second == ONE else first * second

    def _place(self, k: int) -> tuple[tuple[str, ...], int, int]:
        """The letters of the term that operand `k` is in, its place there, and the term's first."""
        start = 0
        for labels in self.labels:
            if k < start + len(labels):
                return labels, k - start, start
            start += len(labels)
        raise IndexError(k)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        labels, place, start = self._place(k)
        mine = labels[place]
        if len(labels) == 2:
            other = read(node.inputs[start + 1 - place])
            if labels == (self.out, self.out):
                return times(cotangent, other)
            leads = other.phase in ("parameter", "update")
            return Contract(self.out, labels[1 - place], mine, swapped=leads, words=self.words), (cotangent, other)
        repeated = tuple(i for i, letter in enumerate(self.out) if letter not in mine)
        total: Term = copy_of(cotangent)
        if repeated:
            total = Total(repeated, tuple(self.word(self.out[i]) for i in repeated)), (cotangent,)
        kept = tuple(i for i, letter in enumerate(mine) if letter in self.out)
        return total if len(kept) == len(mine) else (Expand(node.inputs[k].shape, kept), (emit(total[0], *total[1]),))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        labels, place, start = self._place(k)
        operands = list(node.inputs[start : start + len(labels)])
        operands[place] = tangent
        if labels == (self.out, self.out):
            return times(tangent, operands[1 - place])
        if len(labels) == 2:
            return Contract(labels[0], labels[1], self.out, swapped=self.swapped, words=self.words), tuple(operands)
        mine = labels[0]
        summed = tuple(i for i, letter in enumerate(mine) if letter not in self.out)
        total: Term = copy_of(tangent)
        if summed:
            total = Total(summed, tuple(self.word(mine[i]) for i in summed)), (tangent,)
        kept = tuple(self.out.index(letter) for letter in mine if letter in self.out)
        return total if len(kept) == len(self.out) else (Expand(node.shape, kept), (emit(total[0], *total[1]),))

    def matrix(self, node: Node) -> MatrixForm | None:
        terms: list[tuple[str, tuple[tuple[Node, bool], ...]]] = []
        for labels, operands in self.grouped(node.inputs):
            if len(labels) == 1:
                if not set(labels[0]) <= set(self.out):
                    return None
                terms.append(("+" if terms else "", ((operands[0], False),)))
                continue
            product = Contract(labels[0], labels[1], self.out, swapped=self.swapped, words=self.words)
            form = product.matrix(replace(node, op=product, inputs=tuple(operands)))
            if form is None:
                return None
            terms.append(("+" if terms else "", form.terms[0][1]))
        return MatrixForm(tuple(terms))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        x, w = random_array(rng, 3, 4), random_array(rng, 2, 4)
        h, u = random_array(rng, 3, 2), random_array(rng, 2, 2)
        b = random_array(rng, 2)
        return [
            (cls(), (x, w, h, u, b)),
            (cls(("nk,jk", "nm,jm", "j", "j"), swapped=True), (x, w, h, u, b, random_array(rng, 2))),
            (cls(("nk,kj", "nm,mj")), (x, random_array(rng, 4, 2), h, u)),
            (cls(("nk,jk", "nj,nj", "j")), (x, w, h, random_array(rng, 3, 2), b)),
            (cls(("nj,nj", "nj,nj")), tuple(random_array(rng, 3, 2) for _ in range(4))),
            (cls(("nj,nk", "nj,nk"), "jk"), (h, x, random_array(rng, 3, 2), random_array(rng, 3, 4))),
            (cls(("nj", "nj"), "j"), (h, random_array(rng, 3, 2))),
            (cls(("nj", "nj"), "nj"), (h, random_array(rng, 3, 2))),
            (cls(("n", "nj"), "n"), (random_array(rng, 3), h)),
        ]


class _Added(Products):
    """A kernel alone: the terms are added to what stands in the result already."""

    name = ""


def added(emit: Emit, terms: Sequence[Term]) -> Term | None:
    """What comes back from several time steps as one sum of products, where it is of that form."""
    factors = {op.factor for op, _ in terms if isinstance(op, Scale)}
    if factors and all(isinstance(op, Scale) for op, _ in terms) and len(factors) == 1:
        inner = [inputs[0] for _, inputs in terms]
        whole = added(emit, [(node.op, node.inputs) if node.inline else (Copy(), (node,)) for node in inner])
        return scaled(emit, factors.pop(), whole) if whole else None
    forms = [_form(op, inputs) for op, inputs in terms]
    found = [form for form in forms if form is not None]
    kinds = {(form.out, form.swapped) for form in found}
    if len(found) < len(terms) or len(kinds) > 1:
        return None
    words = dict(pair for form in found for pair in form.words)
    op = replace(found[0], terms=tuple(term for form in found for term in form.terms), words=tuple(words.items()))
    return op, tuple(node for _, inputs in terms for node in inputs)


def _form(op: Op, inputs: tuple[Node, ...]) -> Products | None:
    """An operation as a sum of products of one term."""
    match op:
        case Products():
            return op
        case Contract(bias=None):
            return Products((f"{op.left},{op.right}",), op.out, op.swapped, op.words)
        case Total() | Copy():
            letters = "njkm"[: len(inputs[0].shape)]
            axes = op.axes if isinstance(op, Total) else ()
            words = tuple((letters[axis], word) for axis, word in zip(axes, getattr(op, "words", ()), strict=True))
            out = "".join(letter for i, letter in enumerate(letters) if i not in axes)
            return Products((letters,), out, False, words) if len(letters) == len(inputs[0].shape) else None
        case _:
            return None


def _reduced(array: Array, letters: str, out: str) -> tuple[Array, str]:
    """The array summed over the letters that the result lacks, and the letters left."""
    summed = tuple(i for i, letter in enumerate(letters) if letter not in out)
    return np.asarray(array.sum(axis=summed)) if summed else array, "".join(c for c in letters if c in out)


__all__ = ["Products", "added"]
