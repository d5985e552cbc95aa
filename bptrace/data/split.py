"""Which rows are trained on, validated and tested with."""

from __future__ import annotations

import random
from collections.abc import Sequence


def order_of(count: int, shuffle: bool, seed: int) -> list[int]:
    """The rows from 0, shuffled: for i from count - 1 down to 1, places i and floor(r·(i + 1)) are
    swapped, where r is the next `random()` of Python's `random.Random(f"{seed}:split")`."""
    order = list(range(count))
    if shuffle:
        draw = random.Random(f"{seed}:split").random
        for i in range(count - 1, 0, -1):
            j = int(draw() * (i + 1))
            order[i], order[j] = order[j], order[i]
    return order


def rows_of(size: float, count: int) -> int:
    """A share below 1 as a number of rows, half a row rounded up; a whole number as it is."""
    return int(size * count + 0.5) if size < 1 else int(size)


def split(order: Sequence[int], validation: int, test: int) -> tuple[list[int], list[int], list[int]]:
    """The last `test` rows of the order test, those before validate, the first are trained on; each part
    in the order of the file."""
    first, second = len(order) - test - validation, len(order) - test
    return sorted(order[:first]), sorted(order[first:second]), sorted(order[second:])


def stratified(
    order: Sequence[int], classes: Sequence[object], validation: float, test: float
) -> tuple[list[int], list[int], list[int]]:
    """`split` of each class by itself, in the same order: of each the shares `validation` and `test`."""
    members: dict[object, list[int]] = {}
    for row in order:
        members.setdefault(classes[row], []).append(row)
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for own in members.values():
        made = split(own, rows_of(validation, len(own)), rows_of(test, len(own)))
        for part, rows in zip(parts, made, strict=True):
            part += rows
    training, validated, tested = map(sorted, parts)
    return training, validated, tested


def fold(order: Sequence[int], count: int, hold_out: int) -> tuple[list[int], list[int]]:
    """Training and validation rows where part `hold_out` (from 1) of `count` is held out; the first parts
    are one row larger where they cannot be equal."""
    size, larger = divmod(len(order), count)
    k = hold_out - 1
    start = k * size + min(k, larger)
    stop = start + size + (k < larger)
    return sorted([*order[:start], *order[stop:]]), sorted(order[start:stop])
