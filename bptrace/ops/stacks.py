"""Arrays at even distances in memory, seen as one array with an axis more.

The steps of a sequence and the gates of a step are nodes of their own. Where their numbers stand in
rank and file one call computes all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True, slots=True)
class Run:
    """Rows `start` to before `stop`; of each column its arrays stacked, or the one that all rows share."""

    start: int
    stop: int
    columns: tuple[Array, ...]
    stacked: tuple[bool, ...]


def runs(rows: Sequence[Sequence[Array]]) -> Iterator[Run]:
    """Cut rows of arrays into runs, as long as they can be from the first row on."""
    start = 0
    while start < len(rows):
        steps: list[int | None] = [None] * len(rows[start])
        stop = start + 1
        while stop < len(rows):
            found = [_distance(*pair) for pair in zip(rows[stop - 1], rows[stop], strict=True)]
            if None in found or (stop > start + 1 and found != steps):
                break
            steps, stop = found, stop + 1
        yield Run(
            start, stop,
            tuple(_stack(array, step, stop - start) for array, step in zip(rows[start], steps, strict=True)),
            tuple(bool(step) for step in steps),
        )  # fmt: skip
        start = stop


def _distance(first: Array, second: Array) -> int | None:
    """The bytes from one array to another of the same memory and layout; None for others."""
    if first is second:
        return 0
    if first.shape != second.shape or first.strides != second.strides or _memory(first) is not _memory(second):
        return None
    return address(second) - address(first)


def address(array: Array) -> int:
    """Where the first number of an array stands in memory."""
    return int(array.__array_interface__["data"][0])


def _memory(array: Any) -> Any:
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _stack(first: Array, step: int | None, count: int) -> Array:
    if not step:
        return first
    return np.lib.stride_tricks.as_strided(first, (count, *first.shape), (step, *first.strides))
