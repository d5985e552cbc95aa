"""Windows over an input, shared by convolution and pooling: which place is read from where.

Everything rests on one relation, axis by axis: tap `u` of window `i` reads the place
`i·stride + u·dilation - before` of the source. Padding before the source shows in `before` alone;
padding after it, rounding up and output padding only decide how many windows or places there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bptrace.formula.expr import ONE, ZERO, Expr, Number, Sum, Terms
from bptrace.graph.node import Shape

Pair = tuple[Any, Any]
"""A window and its tap, each a number from 0 or a letter."""

WORDS = {1: ("place",), 2: ("row", "column"), 3: ("depth", "row", "column")}
"""What the axes of an image count."""

WINDOW_LETTERS = {1: "i", 2: "ij", 3: "ijl"}
TAP_LETTERS = {1: "u", 2: "uv", 3: "uvw"}
SOURCE_LETTERS = {1: "r", 2: "rq", 3: "prq"}


@dataclass(frozen=True, slots=True)
class Tap:
    """One tap of the kernel as indices of arrays: its weight, where it reads a place (`windows`), and
    the places that it reads; `whole` if it does so in every window."""

    at: tuple[int, ...]
    weight: Any
    windows: Any
    places: Any
    whole: bool


@dataclass(frozen=True, slots=True)
class Grid:
    """How windows lie over a source; all extents are known.

    `source` are the extents of what is read, `kernel` those of a window, `count` how many windows
    there are. Taps outside the source fall into the padding and are left out. With `flip` the taps
    are counted from the far end, as true convolution wants it.
    """

    source: Shape
    kernel: Shape
    count: Shape
    stride: Shape
    dilation: Shape
    before: Shape
    flip: bool = False

    @property
    def rank(self) -> int:
        return len(self.source)

    @property
    def words(self) -> tuple[str, ...]:
        return WORDS[self.rank]

    @property
    def apart(self) -> bool:
        """Whether no two windows read the same place."""
        axes = zip(self.kernel, self.stride, self.dilation, strict=True)
        return all(stride > (size - 1) * step for size, stride, step in axes)

    def place(self, axis: int, window: Any, tap: Any) -> Any:
        """The place that a tap of a window reads; a text where one of them is a letter."""
        step = self.dilation[axis]
        if self.flip:
            return linear((self.stride[axis], window), (-step, tap), (self.kernel[axis] - 1) * step - self.before[axis])
        return linear((self.stride[axis], window), (step, tap), -self.before[axis])

    def tap(self, axis: int, window: Any, place: Any) -> Any:
        """The tap with which a window reads a place."""
        stride, step, before = self.stride[axis], self.dilation[axis], self.before[axis]
        last = self.kernel[axis] - 1
        if isinstance(window, int) and isinstance(place, int):
            tap = (place + before - window * stride) // step
            return last - tap if self.flip else tap
        if step == 1:
            if self.flip:
                return linear((stride, window), (-1, place), last - before)
            return linear((1, place), (-stride, window), before)
        if self.flip:
            return f"({linear((stride, window), (-1, place), step * (last + 1) - before - 1)})/{step}"
        return f"({linear((1, place), (-stride, window), before + step - 1)})/{step}"

    def taps_of(self, axis: int, window: Any) -> range:
        """The taps of a window that read a place of the source."""
        size = self.kernel[axis]
        if not isinstance(window, int):
            return range(size)
        start = window * self.stride[axis] - self.before[axis]
        first = max(0, -(start // self.dilation[axis]))
        last = min(size - 1, (self.source[axis] - 1 - start) // self.dilation[axis])
        taps = range(first, max(first, last + 1))
        return range(size - taps.stop, size - taps.start) if self.flip else taps

    def readers(self, axis: int, place: int) -> list[tuple[int, int]]:
        """The windows that read a place, each with its tap."""
        found: list[tuple[int, int]] = []
        for window in self._near(axis, place):
            ahead = place + self.before[axis] - window * self.stride[axis]
            if ahead % self.dilation[axis] == 0 and 0 <= ahead // self.dilation[axis] < self.kernel[axis]:
                found.append((window, self.tap(axis, window, place)))
        return found

    def _near(self, axis: int, place: int) -> range:
        stride, ahead = self.stride[axis], place + self.before[axis]
        reach = (self.kernel[axis] - 1) * self.dilation[axis]
        return range(max(0, -((reach - ahead) // stride)), min(self.count[axis] - 1, ahead // stride) + 1)

    def windows_of(self, axis: int, tap: int) -> range:
        """The windows in which a tap reads a place of the source."""
        offset = int(self.place(axis, 0, tap))
        first = max(0, -(offset // self.stride[axis]))
        last = min(self.count[axis] - 1, (self.source[axis] - 1 - offset) // self.stride[axis])
        return range(first, max(first, last + 1))

    def taps(self) -> Iterator[Tap]:
        """Every tap, row by row, with the slices that kernels copy and add."""
        for at in itertools.product(*(range(size) for size in self.kernel)):
            windows = [self.windows_of(axis, tap) for axis, tap in enumerate(at)]
            places = [self._read(axis, found, at[axis]) for axis, found in enumerate(windows)]
            whole = all(len(found) == count for found, count in zip(windows, self.count, strict=True))
            slices = (slice(found.start, found.stop) for found in windows)
            yield Tap(at, (..., *at), (..., *slices), (..., *places), whole)

    def _read(self, axis: int, windows: range, tap: int) -> slice:
        """The places that a tap reads in these windows."""
        if not windows:
            return slice(0, 0)
        start, step = int(self.place(axis, windows[0], tap)), self.stride[axis]
        return slice(start, start + (len(windows) - 1) * step + 1, step)


def linear(*parts: tuple[int, Any] | int) -> Any:
    """A sum of multiples of places and a constant, counted from 0: a number, or with letters the
    text of the same place counted from 1, as a page counts: `i+u-1`."""
    constant, letters = 0, []
    for part in parts:
        if isinstance(part, int):
            constant += part
        elif isinstance(part[1], int):
            constant += part[0] * part[1]
        elif part[0]:
            letters.append(part)
    if not letters:
        return constant
    letters.sort(key=lambda part: part[0] < 0)  # a difference begins with what is positive
    text = ""
    for factor, letter in letters:
        letter = f"({letter})" if any(sign in letter for sign in "+-/") and factor != 1 else letter
        text += ("-" if factor < 0 else "+" if text else "") + (str(abs(factor)) if abs(factor) != 1 else "") + letter
    constant += 1 - sum(factor for factor, _ in letters)
    if text.startswith("-") and constant > 0:
        return f"{constant}{text}"  # 3-i, not -i+3
    return text + (f"{constant:+d}" if constant else "")


def fresh(letters: str, taken: Any) -> list[str]:
    """Letters for sums, others where a caption already uses them for the places of the result."""
    used = {letter for place in taken if isinstance(place, str) for letter in place}
    chosen: list[str] = []
    for letter in letters:
        free = next(c for c in letter + "abdefghmst" + "klnpqrxyz" if c not in used)
        used.add(free)
        chosen.append(free)
    return chosen


def nested(levels: list[tuple[str, str, list[Any]]], last: Callable[[tuple[Any, ...]], Expr]) -> Expr:
    """A sum of sums, one an axis: each level is its word, its letter and the places along it."""

    def level(chosen: tuple[Any, ...]) -> Expr:
        if len(chosen) == len(levels):
            return last(chosen)
        word, letter, places = levels[len(chosen)]
        return Sum(Terms(len(places), lambda k: level((*chosen, places[k] if isinstance(k, int) else k)), letter), word)

    return level(()) if all(places for _, _, places in levels) else ZERO


def product(first: Expr, second: Expr, swapped: bool = False) -> Expr:
    """Two factors, without a constant 1."""
    first, second = (second, first) if swapped else (first, second)
    if isinstance(first, Number) and first.value == 1:
        return second
    return first if second == ONE else first * second
