"""Memory for recorded rows, and the search for numbers that are none."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import isfinite
from mmap import mmap
from typing import Any

CHUNK_BYTES = 1 << 20
"""Rows are kept in pieces of about this size, so that a growing trace is never copied."""
LARGE_CHUNK = 4 << 20


class Rows:
    """Rows of `size` numbers each: packed float64, or with `packed=False` Python numbers.

    At most `expected` rows will come.
    """

    def __init__(self, size: int, expected: int, *, packed: bool = True) -> None:
        self.size = max(1, size)
        self.packed = packed
        self.in_chunk = max(1, min(expected, CHUNK_BYTES // (8 * self.size)))
        self.count = 0
        self._chunks: list[Any] = []

    def reserve(self, wanted: int) -> tuple[Any, int, int]:
        """Room for up to `wanted` rows: a chunk, where in it (in numbers), and for how many."""
        chunk, place = divmod(self.count, self.in_chunk)
        if chunk == len(self._chunks):
            size = self.in_chunk * self.size
            self._chunks.append(_memory(8 * size) if self.packed else [0] * size)
        return self._chunks[chunk], place * self.size, min(wanted, self.in_chunk - place)

    def row(self, k: int) -> Sequence[Any]:
        chunk, place = divmod(k, self.in_chunk)
        start = place * self.size
        return self._chunks[chunk][start : start + self.size]  # type: ignore[no-any-return]


def _memory(size: int) -> Any:
    """Zeros as packed float64. Large pieces come straight from the system, which is three times as
    fast for them as to fill a bytearray that is filled again at once."""
    memory: bytearray | mmap = bytearray(size) if size < LARGE_CHUNK else mmap(-1, size)
    return memoryview(memory).cast("d")


def first_not_finite(row: Sequence[float]) -> int | None:
    """The place of the first NaN or infinity."""
    for k, value in enumerate(row):
        if not isfinite(value):
            return k
    return None


def suspicious(chunk: memoryview, start: int, stop: int) -> bool:
    """Whether the numbers of a chunk from `start` to before `stop` may hold a NaN or an infinity.

    Both have an exponent of ones, so their topmost byte is 0x7f or 0xff (as is that of numbers above
    1e303). To look for two bytes in every eighth is some 50 times as fast as to look at each number.
    """
    memory: Any = chunk.obj
    tops = memory[8 * start + _TOP : 8 * stop : 8]
    return b"\x7f" in tops or b"\xff" in tops


_TOP = 7 if sys.byteorder == "little" else 0
