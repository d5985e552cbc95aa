"""Random numbers that a formula can name: `drawn(0:drop.mask, 3, 5)`.

The stream of an iteration is `random.Random(f"{stream}:{iteration}")`, of which only `.random()` is used,
so that its numbers depend on nothing but the seed, the id and the iteration: not on the engine, on a
library's version, on other layers, or on where a run was resumed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import lru_cache

__all__ = ["drawn", "drawn_numbers"]


def drawn(stream: str, iteration: int, place: int) -> float:
    """The number at `place`, counted from 1: uniform from 0 to below 1."""
    return drawn_numbers(stream, place, iteration)[place - 1]


def drawn_numbers(stream: str, count: int, iteration: float) -> Sequence[float]:
    """The first `count` numbers of an iteration (or more, where more were asked for before)."""
    numbers, following = _begun(f"{stream}:{int(iteration)}")
    while len(numbers) < count:
        numbers.append(following())
    return numbers


@lru_cache(maxsize=64)
def _begun(text: str) -> tuple[list[float], Callable[[], float]]:
    return [], random.Random(text).random
