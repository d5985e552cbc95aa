"""Pooling: the largest element or the average of each window, and how errors go back through them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import Expr, Function, Index, Quotient, choose, number
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import random_array
from bptrace.ops.convolution import ONE_PLACE, windows_reading
from bptrace.ops.lazy import np
from bptrace.ops.windows import TAP_LETTERS, WINDOW_LETTERS, WORDS, Grid, Tap, fresh, nested, product

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Pooling(Op):
    """Base: windows over the places of each channel. x: (N, C, *source), y: (N, C, *count), or with
    `last` the channels last."""

    grid: Grid = ONE_PLACE
    last: bool = False

    def expect(self, shape: Shape, extents: Shape) -> None:
        if len(shape) != len(extents) + 2 or self.inner(shape) != extents:
            raise ValueError(f"the shape {shape} where the places are {extents}")

    def inner(self, index: Index) -> Index:
        """The part of a shape or an index that counts places."""
        rank = self.grid.rank
        return index[1 : 1 + rank] if self.last else index[2 : 2 + rank]

    def replaced(self, index: Index, inner: Sequence[Any]) -> Index:
        """The index with other places."""
        rank = self.grid.rank
        return (index[0], *inner, index[1 + rank]) if self.last else (index[0], index[1], *inner)

    def view_of(self, data: Array) -> Array:
        """x, y or what belongs to them, channels first."""
        return np.moveaxis(data, 1 + self.grid.rank, 1) if self.last else data

    def of_tap(self, chosen: Array, tap: Tap) -> Array:
        """The part of an array (N, C, *count, *kernel) that belongs to one tap."""
        part: Array = self.view_of(chosen)[tap.weight]
        return part

    def window(self, at: Index) -> list[Index]:
        """The places that a window covers, row by row."""
        windows = self.inner(at)
        found: list[list[Any]] = [[]]
        for axis, window in enumerate(windows):
            taps = self.grid.taps_of(axis, window)
            found = [[*places, self.grid.place(axis, window, tap)] for places in found for tap in taps]
        return [self.replaced(at, places) for places in found]

    def over_window(self, at: Index, term: Any) -> Expr:
        """The sum over the taps of a window of `term(place index, taps)`."""
        windows = self.inner(at)
        levels = [
            (word, letter, list(self.grid.taps_of(axis, windows[axis])))
            for axis, (word, letter) in enumerate(
                zip(self.grid.words, fresh(TAP_LETTERS[self.grid.rank], at), strict=True)
            )
        ]

        def of(taps: tuple[Any, ...]) -> Expr:
            places = [self.grid.place(axis, windows[axis], tap) for axis, tap in enumerate(taps)]
            expr: Expr = term(self.replaced(at, places), taps)
            return expr

        return nested(levels, of)

    def over_readers(self, at: Index, term: Any) -> Expr:
        """The sum over the windows that cover a place of `term(window index, taps)`."""
        places = self.inner(at)
        levels = [
            (word, letter, windows_reading(self.grid, axis, places[axis]))
            for axis, (word, letter) in enumerate(
                zip(self.grid.words, fresh(WINDOW_LETTERS[self.grid.rank], at), strict=True)
            )
        ]

        def of(windows: tuple[Any, ...]) -> Expr:
            taps = [self.grid.tap(axis, window, places[axis]) for axis, window in enumerate(windows)]
            expr: Expr = term(self.replaced(at, windows), taps)
            return expr

        return nested(levels, of)


@dataclass(frozen=True)
class MaxPool(Pooling):
    """y[i] = the largest x in window i. The gradient goes to the first that is largest, or with
    `ties: all` to every one."""

    name = "max_pool"
    ties: str = "first"

    def shape(self, *shapes: Shape) -> Shape:
        self.expect(shapes[0], self.grid.source)
        return self.replaced(shapes[0], self.grid.count)

    def compute(self, *arrays: Array) -> Array:
        out = np.full(self.shape(arrays[0].shape), -np.inf)
        x, y = self.view_of(arrays[0]), self.view_of(out)
        for tap in self.grid.taps():
            y[tap.windows] = np.maximum(y[tap.windows], x[tap.places])
        return out

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        x, y = self.view_of(arrays[0]), self.view_of(out)
        started = False
        taps = list(self.grid.taps())
        for tap in sorted(taps, key=lambda tap: not tap.whole):
            if not started:
                yield (np.copyto, (y, x[tap.places])) if tap.whole else (out.fill, (-np.inf,))
                started = True
                if tap.whole:
                    continue
            if y[tap.windows].size:
                yield partial(np.maximum, y[tap.windows], x[tap.places], out=y[tap.windows]), ()

    def formula(self, at: Index, *operands: Operand) -> Expr:
        return Function("max", tuple(operands[0][place] for place in self.window(at)))

    def chosen(self) -> Op:
        """What says where the largest stand; its operands are x and y."""
        return WindowChoice(self.grid, self.last, self.ties)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        chosen = emit(self.chosen(), node.inputs[0], node, inline=False)
        return WindowScatter(self.grid, self.last), (cotangent, chosen)

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        chosen = emit(self.chosen(), node.inputs[0], node, inline=False)
        return WindowGather(self.grid, self.last), (tangent, chosen)

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        found = [(cls(grid, last), (_source(rng, grid, last),)) for grid, last in _cases()]
        return [*found, (cls(_cases()[0][0], ties="all"), (_source(rng, _cases()[0][0], False),))]


@dataclass(frozen=True)
class WindowChoice(Pooling):
    """1 at the tap of each window that reads its largest element, else 0: (N, C, *count, *kernel)."""

    name = "window_choice"
    ties: str = "first"

    def shape(self, *shapes: Shape) -> Shape:
        self.expect(shapes[0], self.grid.source)
        self.expect(shapes[1], self.grid.count)
        return (*shapes[1], *self.grid.kernel)

    def compute(self, *arrays: Array) -> Array:
        x, y = map(self.view_of, arrays)
        out = np.zeros(self.shape(*(array.shape for array in arrays)))
        free = np.ones(y.shape)
        for tap in self.grid.taps():
            part = self.of_tap(out, tap)[tap.windows]
            part[...] = (x[tap.places] == y[tap.windows]) * free[tap.windows]
            if self.ties == "first":
                free[tap.windows] -= part
        return out

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        x, y = map(self.view_of, arrays)
        free = scratch(y.shape)
        yield free.fill, (1.0,)
        for tap in self.grid.taps():
            part = self.of_tap(out, tap)
            if not tap.whole:
                yield part.fill, (0.0,)
            if not x[tap.places].size:
                continue
            part = part[tap.windows]
            yield np.equal, (x[tap.places], y[tap.windows], part)
            if self.ties == "first":
                yield np.multiply, (part, free[tap.windows], part)
                yield np.subtract, (free[tap.windows], part, free[tap.windows])

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, y = operands
        rank = self.grid.rank
        window, taps = at[:-rank], at[-rank:]
        inner = self.inner(window)
        reads = [self.grid.place(axis, inner[axis], tap) for axis, tap in enumerate(taps)]
        if any(isinstance(place, int) and not 0 <= place < n for place, n in zip(reads, self.grid.source, strict=True)):
            return number(0)
        mine = self.replaced(window, reads)
        here: Expr = choose(x[mine], "=", y[window], 1, 0)
        if self.ties == "all" or any(isinstance(place, str) for place in at):
            return here
        covered = self.window(window)
        for earlier in reversed(covered[: covered.index(mine)]):
            here = choose(x[earlier], "=", y[window], 0, here)
        return here

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        found: list[Sample] = []
        for ties in ("first", "all"):
            for grid, last in _cases():
                x = np.round(np.array(_source(rng, grid, last)))
                found.append((cls(grid, last, ties), (x.tolist(), MaxPool(grid, last).compute(x).tolist())))
        return found


@dataclass(frozen=True)
class WindowScatter(Pooling):
    """x[r] = Σ y[i]·chosen[i,u]: what came back to each window goes to the places that it chose."""

    name = "window_scatter"

    def shape(self, *shapes: Shape) -> Shape:
        self.expect(shapes[0], self.grid.count)
        if shapes[1] != (*shapes[0], *self.grid.kernel):
            raise ValueError(f"choices of shape {shapes[1]} for windows of shape {shapes[0]}")
        return self.replaced(shapes[0], self.grid.source)

    def compute(self, *arrays: Array) -> Array:
        y = self.view_of(arrays[0])
        out = np.zeros(self.shape(*(array.shape for array in arrays)))
        x = self.view_of(out)
        for tap in self.grid.taps():
            x[tap.places] += (y * self.of_tap(arrays[1], tap))[tap.windows]
        return out

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        y, x = self.view_of(arrays[0]), self.view_of(out)
        part = scratch(y.shape)
        yield out.fill, (0.0,)
        for tap in self.grid.taps():
            if x[tap.places].size:
                yield np.multiply, (y, self.of_tap(arrays[1], tap), part)
                yield np.add, (x[tap.places], part[tap.windows], x[tap.places])

    def formula(self, at: Index, *operands: Operand) -> Expr:
        y, chosen = operands
        return self.over_readers(at, lambda window, taps: product(y[window], chosen[(*window, *taps)]))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(op, (_pooled(rng, grid, last), chosen)) for op, grid, last, _, chosen in _choices(cls, rng)]


@dataclass(frozen=True)
class WindowGather(Pooling):
    """y[i] = Σ x[r]·chosen[i,u]: of each window what it chose."""

    name = "window_gather"

    def shape(self, *shapes: Shape) -> Shape:
        self.expect(shapes[0], self.grid.source)
        made = self.replaced(shapes[0], self.grid.count)
        if shapes[1] != (*made, *self.grid.kernel):
            raise ValueError(f"choices of shape {shapes[1]} for windows of shape {made}")
        return made

    def compute(self, *arrays: Array) -> Array:
        x = self.view_of(arrays[0])
        out = np.zeros(self.shape(*(array.shape for array in arrays)))
        y = self.view_of(out)
        for tap in self.grid.taps():
            y[tap.windows] += x[tap.places] * self.of_tap(arrays[1], tap)[tap.windows]
        return out

    def formula(self, at: Index, *operands: Operand) -> Expr:
        x, chosen = operands
        return self.over_window(at, lambda place, taps: product(x[place], chosen[(*at, *taps)]))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(op, (x, chosen)) for op, _, _, x, chosen in _choices(cls, rng)]


# averages


@dataclass(frozen=True)
class Average(Pooling):
    """Base of the averages: `divisors` are the elements counted in each window, axis by axis."""

    linear = True
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
        return [(cls(grid, last, divisors), (_source(rng, grid, last),)) for grid, last, divisors in _averages()]


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
        return [(cls(grid, last, divisors), (_pooled(rng, grid, last),)) for grid, last, divisors in _averages()]


@dataclass(frozen=True)
class Adaptive(Op):
    """Base: windows of nearly the same size that together cover all places of each channel."""

    linear = True
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


# samples


def _cases() -> list[tuple[Grid, bool]]:
    return [
        (Grid((4, 4), (2, 2), (2, 2), (2, 2), (1, 1), (0, 0)), False),
        (Grid((3, 4), (2, 3), (3, 2), (1, 2), (1, 1), (1, 1)), False),
        (Grid((3, 3), (2, 2), (2, 2), (1, 1), (1, 1), (0, 0)), True),
        (Grid((5,), (2,), (3,), (2,), (2,), (1,)), False),
    ]


def _averages() -> list[tuple[Grid, bool, tuple[tuple[int, ...], ...]]]:
    found: list[tuple[Grid, bool, tuple[tuple[int, ...], ...]]] = []
    for grid, last in _cases():
        found.append((grid, last, tuple((size,) * n for size, n in zip(grid.kernel, grid.count, strict=True))))
    return [*found, (_cases()[1][0], False, ((1, 2, 2), (2, 3)))]


def _source(rng: random.Random, grid: Grid, last: bool) -> Any:
    return random_array(rng, *((2, *grid.source, 2) if last else (2, 2, *grid.source)))


def _pooled(rng: random.Random, grid: Grid, last: bool) -> Any:
    return random_array(rng, *((2, *grid.count, 2) if last else (2, 2, *grid.count)))


def _choices(cls: Any, rng: random.Random) -> Iterator[tuple[Op, Grid, bool, Any, Any]]:
    for grid, last in _cases():
        x = np.array(_source(rng, grid, last))
        chosen = WindowChoice(grid, last).compute(x, MaxPool(grid, last).compute(x))
        yield cls(grid, last), grid, last, x.tolist(), chosen.tolist()
