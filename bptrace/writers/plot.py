"""Plots as plain text: letters on a raster, with the numbers of the axes beside it. ASCII throughout."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor, isfinite, log10

from bptrace.report.study import Plot

HEIGHT = 17
MEETING = "*"
"""The mark where several curves have a point."""


def plot_lines(plot: Plot, columns: int) -> Iterator[str]:
    """The raster with its axes; nothing where no point has a place."""
    curves = [(c.letter, [p for p in c.points if _has_place(plot, p)]) for c in plot.curves]
    points = [point for _, found in curves for point in found]
    if not points:
        return
    across = _Axis([x for x, _ in points], False)
    up = _Axis([y for _, y in points], plot.log)
    ticks = {row: text for value, text in up.ticks(5) if (row := up.place(value, HEIGHT)) is not None}
    label = max(map(len, ticks.values()))
    wide = max(10, min(columns, 100) - label - 4)
    raster = [[" "] * wide for _ in range(HEIGHT)]
    for letter, found in curves:
        for x, y in found:
            column, row = across.place(x, wide), up.place(y, HEIGHT)
            if column is not None and row is not None:
                there = raster[row][column]
                raster[row][column] = letter if there in (" ", letter) else MEETING
    for row in reversed(range(HEIGHT)):
        text = ticks.get(row, "")
        yield f" {text.rjust(label)} {'+' if text else '|'}{''.join(raster[row])}".rstrip()
    rule, below = ["-"] * wide, ""
    for value, text in across.ticks(6):
        place = across.place(value, wide)
        start = None if place is None else max(0, place - len(text) // 2)
        if place is not None and start is not None and (not below or start > len(below) + 1):
            rule[place] = "+"
            below = below.ljust(start) + text
    yield f" {' ' * label} +{''.join(rule)}"
    yield f" {' ' * label}  {below}"


def _has_place(plot: Plot, point: tuple[float, float]) -> bool:
    return all(map(isfinite, point)) and (point[1] > 0 or not plot.log)


class _Axis:
    """From numbers to places; the ends are the smallest and the largest number."""

    def __init__(self, found: list[float], log: bool) -> None:
        self.log = log
        low, high = min(map(self.on, found)), max(map(self.on, found))
        if low == high:
            low, high = low - max(1.0, abs(low)) / 2, high + max(1.0, abs(high)) / 2
        self.low, self.high = low, high

    def on(self, value: float) -> float:
        return log10(value) if self.log else value

    def place(self, value: float, count: int) -> int | None:
        share = (self.on(value) - self.low) / (self.high - self.low)
        return round(share * (count - 1)) if -1e-9 <= share <= 1 + 1e-9 else None

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Round numbers within the axis, about `most`; of logarithms whole powers of ten if there are two."""
        if self.log:
            first, last = ceil(self.low - 1e-9), floor(self.high + 1e-9)
            if last > first:
                every = max(1, ceil((last - first) / most))
                powers = range(first, last + 1, every)
                return [(10.0**k, f"1e{k:+03d}" if abs(k) > 3 else f"{10.0**k:g}") for k in powers]
            return [(10.0**end, f"{10.0**end:.3g}") for end in (self.low, self.high)]
        rough = (self.high - self.low) / most
        power = 10.0 ** floor(log10(rough))
        step = next(k * power for k in (1, 2, 5, 10) if k * power >= rough * (1 - 1e-9))
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [(k * step, f"{k * step:.6g}") for k in range(first, last + 1)]
