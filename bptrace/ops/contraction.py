"""The kernel of contraction: products of two arrays summed over letters, by the cheapest calls.

Letters that nothing is summed over make an elementwise product; where both operands have all letters
it is added up; anything else is matrix products, one for each place of the axes in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bptrace.graph.op import Call, Scratch
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array

STACKS = "*+"
"""Letters of the axes along which kernels are stacked; no formula has them."""
EINSUM = str.maketrans(STACKS, "YZ")

Labels = tuple[str, str, str]
"""The letters of the left operand, of the right one, and of the result."""


def contraction(labels: Labels, out: Array, left: Array, right: Array, scratch: Scratch) -> Iterator[Call]:
    """out[labels] = Σ left[labels]·right[labels] over the letters that the result lacks."""
    first, second, result = labels
    alone = {letter for letter in first + second if (letter in first) != (letter in second)}
    summed = "".join(dict.fromkeys(letter for letter in first + second if letter not in result))
    if len(set(first)) < len(first) or len(set(second)) < len(second) or alone & set(summed):
        yield _einsum, (f"{first},{second}->{result}".translate(EINSUM), left, right, out)
    elif not summed:
        yield np.multiply, (aligned(left, first, result), aligned(right, second, result), out)
    elif not alone:
        order = summed + result
        operands = aligned(left, first, order), aligned(right, second, order)
        products = scratch(operands[0].shape)
        yield np.multiply, (*operands, products)
        axes = tuple(range(len(summed)))
        yield np.add.reduce, (products, axes if len(axes) > 1 else 0, None, out)
    else:
        yield from _matrices(labels, summed, out, left, right, scratch)


def _matrices(
    labels: Labels, summed: str, out: Array, left: Array, right: Array, scratch: Scratch
) -> Iterator[Call]:
    first, second, result = labels
    count = _in_front(first, second, result)
    front, rest = result[:count], result[count:]
    if rest and rest[0] not in first:
        first, second, left, right = second, first, right, left
    rows = "".join(letter for letter in rest if letter in first)
    columns = rest[len(rows) :]
    a = yield from _joined(aligned(left, first, front + rows + summed), count, len(rows), scratch)
    b = yield from _joined(aligned(right, second, front + summed + columns), count, len(summed), scratch)
    made = out.reshape(*out.shape[:count], a.shape[-2], b.shape[-1])
    if np.shares_memory(made, out):
        yield _matrix_product(a, b, made)
    else:
        work = scratch(made.shape)
        yield _matrix_product(a, b, work)
        yield np.copyto, (out, work.reshape(out.shape))


def _in_front(first: str, second: str, result: str) -> int:
    """How many axes of the result there is a matrix for each place of: behind them stand the axes of one
    operand, then those of the other, and none that both have."""
    count = 0
    while True:
        owners = [(letter in first, letter in second) for letter in result[count:]]
        changes = sum(one != following for one, following in pairwise(owners))
        if (True, True) not in owners and changes <= 1:
            return count
        count += 1


def aligned(array: Array, labels: str, order: str) -> Array:
    """A view with the axes in an order, and axes of one place where the array has none."""
    present = [letter for letter in order if letter in labels]
    view = array.transpose([labels.index(letter) for letter in present])
    return view[tuple(slice(None) if letter in labels else None for letter in order)]


def _joined(array: Array, front: int, rows: int, scratch: Scratch) -> Generator[Call, None, Array]:
    """(front..., rows..., columns...) as matrices (front..., rows, columns): a view, or a copy that is
    renewed in every run."""
    shape = array.shape
    sides = math.prod(shape[front : front + rows]), math.prod(shape[front + rows :])
    made = array.reshape(*shape[:front], *sides)
    if np.shares_memory(made, array):
        return made
    copy = scratch(shape)
    yield np.copyto, (copy, array)
    return copy.reshape(made.shape)


def _matrix_product(a: Array, b: Array, out: Array) -> Call:
    if a.ndim == b.ndim == out.ndim == 2 and out.flags.c_contiguous:
        dot: Callable[..., Any] = a.dot
        return dot, (b, out)
    return np.matmul, (a, b, out)


def _einsum(labels: str, left: Array, right: Array, out: Array) -> None:
    np.einsum(labels, left, right, out=out, optimize=True)
