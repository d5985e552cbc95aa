"""Pooling: windows over channels; the largest element of each, and how errors go back to it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import Expr, Function, Index, choose, number
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch, Term
from bptrace.ops.arithmetic import random_array
from bptrace.ops.convolution import ONE_PLACE, windows_reading
from bptrace.ops.lazy import np
from bptrace.ops.windows import TAP_LETTERS, WINDOW_LETTERS, Grid, Tap, fresh, nested, product

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        found = [(cls(grid, last), (pool_source(rng, grid, last),)) for grid, last in pool_cases()]
        return [*found, (cls(pool_cases()[0][0], ties="all"), (pool_source(rng, pool_cases()[0][0], False),))]


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
        here, taken = _flags(scratch, y.shape), _flags(scratch, y.shape)
        yield taken.fill, (False,)
        for tap in self.grid.taps():
            part = self.of_tap(out, tap)
            if not tap.whole:
                yield part.fill, (0.0,)
            if not x[tap.places].size:
                continue
            found, gone = here[tap.windows], taken[tap.windows]
            yield np.equal, (x[tap.places], y[tap.windows], found)
            if self.ties == "first":
                yield np.greater, (found, gone, found)
                yield np.logical_or, (gone, found, gone)
            yield np.copyto, (part[tap.windows], found)

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
            for grid, last in pool_cases():
                x = np.round(np.array(pool_source(rng, grid, last)))
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
            chosen, into = self.of_tap(arrays[1], tap), x[tap.places]
            if not into.size:
                continue
            if self.grid.apart:  # no other window reads these places
                yield np.multiply, (y[tap.windows], chosen[tap.windows], into)
            else:
                yield np.multiply, (y, chosen, part)
                yield np.add, (into, part[tap.windows], into)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        y, chosen = operands
        return self.over_readers(at, lambda window, taps: product(y[window], chosen[(*window, *taps)]))

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(op, (pool_result(rng, grid, last), chosen)) for op, grid, last, _, chosen in _choices(cls, rng)]


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


def _flags(scratch: Scratch, shape: Shape) -> NDArray[np.bool_]:
    """Work space of truth values, an eighth of that of numbers."""
    numbers = scratch(shape)
    return numbers.reshape(-1).view(bool)[: numbers.size].reshape(shape)


# samples


def pool_cases() -> list[tuple[Grid, bool]]:
    return [
        (Grid((4, 4), (2, 2), (2, 2), (2, 2), (1, 1), (0, 0)), False),
        (Grid((3, 4), (2, 3), (3, 2), (1, 2), (1, 1), (1, 1)), False),
        (Grid((3, 3), (2, 2), (2, 2), (1, 1), (1, 1), (0, 0)), True),
        (Grid((5,), (2,), (3,), (2,), (2,), (1,)), False),
    ]


def pool_source(rng: random.Random, grid: Grid, last: bool) -> Any:
    return random_array(rng, *((2, *grid.source, 2) if last else (2, 2, *grid.source)))


def pool_result(rng: random.Random, grid: Grid, last: bool) -> Any:
    return random_array(rng, *((2, *grid.count, 2) if last else (2, 2, *grid.count)))


def _choices(cls: Any, rng: random.Random) -> Iterator[tuple[Op, Grid, bool, Any, Any]]:
    for grid, last in pool_cases():
        x = np.array(pool_source(rng, grid, last))
        chosen = WindowChoice(grid, last).compute(x, MaxPool(grid, last).compute(x))
        yield cls(grid, last), grid, last, x.tolist(), chosen.tolist()
