"""The average of each window, of a kernel's or of windows that cover everything evenly, and its spread."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import Expr, Index, Quotient, number
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import random_array
from bptrace.ops.lazy import np
from bptrace.ops.pooling import Pooling, pool_cases, pool_result, pool_source
from bptrace.ops.windows import TAP_LETTERS, WINDOW_LETTERS, WORDS, Grid, fresh, nested

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Average(Pooling):
    """Base of the averages: `divisors` are the elements counted in each window, axis by axis."""

    divisors: tuple[tuple[int, ...], ...] = ((1,),)

    @property
    def constant(self) -> int:
        """The divisor of every window, or 0 where windows differ."""
        found = 1
        for counts in self.divisors:
            found *= counts[0] if len(set(counts)) == 1 else 0
        return found

    def divisor(self, windows: Sequence[Any]) -> int:
        found = 1
        for counts, window in zip(self.divisors, windows, strict=True):
            found *= counts[window if isinstance(window, int) else len(counts) // 2]
        return found

    def divisor_array(self, y: Array) -> Array:
        """The divisors, in a shape that broadcasts against channels-first y."""
        if self.constant:
            return np.array(float(self.constant))
        counts = np.array(1.0)
        for axis in self.divisors:
            counts = np.multiply.outer(counts, np.array(axis, dtype=float))
        return counts


@dataclass(frozen=True)
class AveragePool(Average):
    """y[i] = the sum of window i over its divisor; padding counts as zeros or not at all."""

    name = "average_pool"

    def shape(self, *shapes: Shape) -> Shape:
        self.expect(shapes[0], self.grid.source)
        return self.replaced(shapes[0], self.grid.count)

    def compute(self, *arrays: Array) -> Array:
        x = self.view_of(arrays[0])
        out = np.zeros(self.shape(arrays[0].shape))
        y = self.view_of(out)
        for tap in self.grid.taps():
            y[tap.windows] += x[tap.places]
        y /= self.divisor_array(y)
        return out

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        x, y = self.view_of(arrays[0]), self.view_of(out)
        yield out.fill, (0.0,)
        for tap in self.grid.taps():
            if x[tap.places].size:
                yield np.add, (y[tap.windows], x[tap.places], y[tap.windows])
        yield np.divide, (y, self.divisor_array(y), y)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        total = self.over_window(at, lambda place, taps: operands[0][place])
        divisor = self.divisor(self.inner(at))
        return total if divisor == 1 else Quotient(total, number(divisor))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return AverageSpread(self.grid, self.last, self.divisors), (cotangent,)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self, (tangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(grid, last, divisors), (pool_source(rng, grid, last),)) for grid, last, divisors in _averages()]


@dataclass(frozen=True)
class AverageSpread(Average):
    """x[r] = Σ y[i]/divisor over the windows that cover r."""

    name = "average_spread"

    def shape(self, *shapes: Shape) -> Shape:
        self.expect(shapes[0], self.grid.count)
        return self.replaced(shapes[0], self.grid.source)

    def compute(self, *arrays: Array) -> Array:
        y = self.view_of(arrays[0]) / self.divisor_array(arrays[0])
        out = np.zeros(self.shape(arrays[0].shape))
        x = self.view_of(out)
        for tap in self.grid.taps():
            x[tap.places] += y[tap.windows]
        return out

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        y, x = self.view_of(arrays[0]), self.view_of(out)
        share = scratch(y.shape)
        yield np.divide, (y, self.divisor_array(y), share)
        yield out.fill, (0.0,)
        for tap in self.grid.taps():
            if x[tap.places].size:
                yield np.add, (x[tap.places], share[tap.windows], x[tap.places])

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (y,) = operands
        if self.constant:
            total = self.over_readers(at, lambda window, taps: y[window])
            return total if self.constant == 1 else Quotient(total, number(self.constant))

        def share(window: Index, taps: Sequence[Any]) -> Expr:
            divisor = self.divisor(self.inner(window))
            return y[window] if divisor == 1 else Quotient(y[window], number(divisor))

        return self.over_readers(at, share)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return AveragePool(self.grid, self.last, self.divisors), (cotangent,)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self, (tangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(grid, last, divisors), (pool_result(rng, grid, last),)) for grid, last, divisors in _averages()]


@dataclass(frozen=True)
class Adaptive(Op):
    """Base: windows of nearly the same size that together cover all places of each channel."""

    source: Shape = (1,)
    count: Shape = (1,)
    last: bool = False

    def window(self, axis: int, i: int) -> range:
        """The places of window `i`."""
        extent, count = self.source[axis], self.count[axis]
        return range(i * extent // count, -(-(i + 1) * extent // count))

    def readers(self, axis: int, place: Any) -> list[Any]:
        """The windows that cover a place."""
        windows = range(self.count[axis])
        if not isinstance(place, int):
            return list(windows)
        return [i for i in windows if place in self.window(axis, i)]

    def divisor(self, windows: Sequence[Any]) -> int:
        found = 1
        for axis, i in enumerate(windows):
            found *= len(self.window(axis, i if isinstance(i, int) else 0))
        return found

    def view_of(self, data: Array) -> Array:
        return np.moveaxis(data, -1, 1) if self.last else data

    def inner(self, index: Index) -> Index:
        return index[1:-1] if self.last else index[2:]

    def replaced(self, index: Index, inner: Sequence[Any]) -> Index:
        return (index[0], *inner, index[-1]) if self.last else (index[0], index[1], *inner)

    def expect(self, shape: Shape, extents: Shape) -> None:
        if len(shape) != len(extents) + 2 or self.inner(shape) != extents:
            raise ValueError(f"the shape {shape} where the places are {extents}")

    def blocks(self) -> Iterator[tuple[Any, Any, int]]:
        """Each window as an index of y and of x, with its divisor."""
        for at in itertools.product(*(range(count) for count in self.count)):
            ranges = [self.window(axis, i) for axis, i in enumerate(at)]
            yield (..., *at), (..., *(slice(found.start, found.stop) for found in ranges)), self.divisor(at)


@dataclass(frozen=True)
class AdaptiveAverage(Adaptive):
    """y[i] = the average of window i."""

    name = "adaptive_average"

    def shape(self, *shapes: Shape) -> Shape:
        self.expect(shapes[0], self.source)
        return self.replaced(shapes[0], self.count)

    def compute(self, *arrays: Array) -> Array:
        out = np.zeros(self.shape(arrays[0].shape))
        x, y = self.view_of(arrays[0]), self.view_of(out)
        for at, places, _ in self.blocks():
            y[at] = x[places].reshape(*x.shape[:2], -1).mean(axis=-1)
        return out

    def formula(self, at: Index, *operands: Operand) -> Expr:
        windows = self.inner(at)
        rank = len(self.source)
        letters = fresh(TAP_LETTERS[rank], at)
        levels = [
            (word, letters[axis], list(self.window(axis, i if isinstance(i, int) else 0)))
            for axis, (word, i) in enumerate(zip(WORDS[rank], windows, strict=True))
        ]
        total = nested(levels, lambda places: operands[0][self.replaced(at, places)])
        divisor = self.divisor(windows)
        return total if divisor == 1 else Quotient(total, number(divisor))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return AdaptiveSpread(self.source, self.count, self.last), (cotangent,)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self, (tangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls((5, 3), (2, 2)), (random_array(rng, 2, 2, 5, 3),)),
            (cls((2,), (3,), True), (random_array(rng, 2, 2, 2),)),
        ]


@dataclass(frozen=True)
class AdaptiveSpread(Adaptive):
    """x[r] = Σ y[i]/divisor over the windows that cover r."""

    name = "adaptive_spread"

    def shape(self, *shapes: Shape) -> Shape:
        self.expect(shapes[0], self.count)
        return self.replaced(shapes[0], self.source)

    def compute(self, *arrays: Array) -> Array:
        out = np.zeros(self.shape(arrays[0].shape))
        y, x = self.view_of(arrays[0]), self.view_of(out)
        for at, places, divisor in self.blocks():
            x[places] += (y[at] / divisor).reshape(*y.shape[:2], *(1 for _ in self.source))
        return out

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (y,) = operands
        rank = len(self.source)
        letters = fresh(WINDOW_LETTERS[rank], at)
        levels = [
            (word, letters[axis], self.readers(axis, place))
            for axis, (word, place) in enumerate(zip(WORDS[rank], self.inner(at), strict=True))
        ]

        def share(windows: tuple[Any, ...]) -> Expr:
            divisor, came = self.divisor(windows), y[self.replaced(at, windows)]
            return came if divisor == 1 else Quotient(came, number(divisor))

        return nested(levels, share)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        return AdaptiveAverage(self.source, self.count, self.last), (cotangent,)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        return self, (tangent,)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [
            (cls((5, 3), (2, 2)), (random_array(rng, 2, 2, 2, 2),)),
            (cls((2,), (3,), True), (random_array(rng, 2, 3, 2),)),
        ]


def _averages() -> list[tuple[Grid, bool, tuple[tuple[int, ...], ...]]]:
    found: list[tuple[Grid, bool, tuple[tuple[int, ...], ...]]] = []
    for grid, last in pool_cases():
        found.append((grid, last, tuple((size,) * n for size, n in zip(grid.kernel, grid.count, strict=True))))
    return [*found, (pool_cases()[1][0], False, ((1, 2, 2), (2, 3)))]
