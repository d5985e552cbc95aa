"""What is kept of a run: rows by iteration, in memory that never moves."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from bptrace.engine.rows import Rows


class Recorder:
    """The kept rows of a run, by iteration (from 0), and the states that no kept row holds."""

    def __init__(self, packed: bool, expected: int) -> None:
        self._packed = packed
        self._expected = expected
        self._stores: dict[int, Rows] = {}
        self._firsts: list[int] = []
        self._pieces: list[tuple[int, int, int]] = []
        self.after: dict[int, Sequence[Any]] = {}

    def store(self, batch_size: int, row_size: int) -> Rows:
        if batch_size not in self._stores:
            self._stores[batch_size] = Rows(row_size, self._expected, packed=self._packed)
        return self._stores[batch_size]

    def add(self, iteration: int, count: int, batch_size: int) -> None:
        """Note that `count` rows from this iteration on now stand in the store of a batch size."""
        store = self._stores[batch_size]
        if self._pieces:
            size, row, held = self._pieces[-1]
            if size == batch_size and row + held == store.count and self._firsts[-1] + held == iteration:
                self._pieces[-1] = (size, row, held + count)
                store.count += count
                return
        self._firsts.append(iteration)
        self._pieces.append((batch_size, store.count, count))
        store.count += count

    def drop(self, count: int) -> None:
        """Forget the last `count` rows, which were added together."""
        size, row, held = self._pieces.pop()
        self._stores[size].count -= count
        if held > count:
            self._pieces.append((size, row, held - count))
        else:
            self._firsts.pop()

    def row(self, iteration: int) -> Sequence[Any] | None:
        """The row of an iteration."""
        k = bisect_right(self._firsts, iteration) - 1
        if k < 0:
            return None
        size, row, held = self._pieces[k]
        place = iteration - self._firsts[k]
        return self._stores[size].row(row + place) if place < held else None

    @property
    def iterations(self) -> list[int]:
        return [first + k for first, (_, _, held) in zip(self._firsts, self._pieces, strict=True) for k in range(held)]
