"""Kernels of convolution: windows side by side as the columns of a matrix (im2col), and back.

In this work space samples stand last: (groups, channels, *places, N). So each copy or addition of one
tap runs over places and samples at once, not over one row of an image, which halves its time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from bptrace.graph.node import Shape
from bptrace.graph.op import Call, Scratch
from bptrace.ops.lazy import np
from bptrace.ops.windows import Grid, Tap

if TYPE_CHECKING:
    from bptrace.graph.op import Array


PIECE = 2048
"""Numbers of a row above which a long product is cut."""


def samples_last(data: Array) -> Array:
    """A view (groups, channels, *places, N) of (groups, channels, N, *places)."""
    return np.moveaxis(data, 2, -1)


def windows_of(grid: Grid, source: Array, x: Array, scratch: Scratch) -> Array:
    """The windows of x as (groups, in·taps, windows·N); zeros where a tap lies in the padding.

    `source` is the operand that x is a view of; all kernels that read its windows share one matrix.
    """
    x = samples_last(x)
    shape = (*x.shape[:2], *grid.kernel, *grid.count, x.shape[-1])

    def arrange(columns: Array) -> Iterator[Call]:
        read = x
        if not x.flags.c_contiguous:
            read = scratch(x.shape)
            yield np.copyto, (read, x)
        for tap in grid.taps():
            into = _of_tap(columns, tap)
            if into.size:
                yield np.copyto, (into, read[_places(tap.places)])

    columns = scratch.arranged(source, (grid, x.shape, x.strides), shape, arrange)
    return flat(columns, 2 + grid.rank)


def add_windows(grid: Grid, columns: Array, x: Array, scratch: Scratch) -> Iterator[Call]:
    """Add (groups, in·taps, windows·N) into the places of x that each tap reads, after zeros."""
    x = samples_last(x)
    columns = columns.reshape(*x.shape[:2], *grid.kernel, *grid.count, x.shape[-1])
    total = x if x.flags.c_contiguous else scratch(x.shape)
    yield total.fill, (0.0,)
    for tap in grid.taps():
        into = total[_places(tap.places)]
        if into.size:
            yield np.add, (into, _of_tap(columns, tap), into)
    if total is not x:
        yield np.copyto, (x, total)


def _of_tap(columns: Array, tap: Tap) -> Array:
    """What one tap reads, in the windows in which it reads a place: (groups, in, *windows, N)."""
    index: Any = (slice(None), slice(None), *tap.at)
    part: Array = columns[index][_places(tap.windows)]
    return part


def _places(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """The index of a tap's places where the samples stand last."""
    return (*index, slice(None))


def packed(array: Array, kept: int, scratch: Scratch) -> Generator[Call, None, Array]:
    """An array as (groups, rows, columns): a view, or a copy that is renewed in every run."""
    made = flat(array, kept)
    if np.shares_memory(made, array):
        return made
    copy = scratch(array.shape)
    yield np.copyto, (copy, array)
    return flat(copy, kept)


def flat(array: Array, kept: int) -> Array:
    """(groups, rows..., columns...) as (groups, rows, columns); `kept` axes come before the columns."""
    rows = 1
    for extent in array.shape[1:kept]:
        rows *= extent
    return array.reshape(array.shape[0], rows, -1)


def columns_shape(grid: Grid, x: Array) -> Shape:
    """(groups, in·taps, windows·N) for x (groups, in, N, *source)."""
    taps, windows = 1, x.shape[2]
    for size, count in zip(grid.kernel, grid.count, strict=True):
        taps, windows = taps * size, windows * count
    return (x.shape[0], x.shape[1] * taps, windows)


def matrix_product(left: Array, right: Array, out: Array) -> Call:
    """One product a group."""
    if left.shape[0] == 1 and out.flags.c_contiguous:
        dot: Callable[..., Any] = left[0].dot
        return dot, (right[0], out[0])
    return np.matmul, (left, right, out)


def long_product(left: Array, right: Array, out: Array, scratch: Scratch) -> Iterator[Call]:
    """left·rightᵀ of few long rows, a product a group. Both are cut into pieces that stay in the
    cache, which for the gradient of a first layer takes less than half the time."""
    groups, rows, length = left.shape
    pieces = next((count for count in range(length // PIECE, length // PIECE * 2) if length % max(1, count) == 0), 0)
    if pieces < 2:
        yield matrix_product(left, right.transpose(0, 2, 1), out)
        return
    cut = (groups, -1, pieces, length // pieces)
    products = scratch((groups, pieces, rows, right.shape[1]))
    yield np.matmul, (left.reshape(cut).swapaxes(1, 2), right.reshape(cut).transpose(0, 2, 3, 1), products)
    yield np.add.reduce, (products, 1, None, out)
