"""Scaling of columns, and filling of missing cells; every constant comes from the rows trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bptrace.data.source import Rows


@dataclass(frozen=True)
class Scaling:
    """number = (value - shift)/divisor, for each column of a row.

    `kind` is standard (shift the mean, divisor the standard deviation, whose squares are divided by the
    number of rows), min_max (the least, and the largest minus the least) or divide. Columns of classes
    have shift 0 and divisor 1, and a column that does not vary the divisor 1.
    """

    kind: str
    shift: tuple[float, ...]
    divisor: tuple[float, ...]

    def scaled(self, row: Sequence[float]) -> list[float]:
        return [(value - a) / b for value, a, b in zip(row, self.shift, self.divisor, strict=True)]

    def undo(self, row: Sequence[float]) -> list[float]:
        """The numbers in the units of the file."""
        return [number * b + a for number, a, b in zip(row, self.shift, self.divisor, strict=True)]

    @property
    def constants(self) -> dict[str, list[float]]:
        """The constants under the names that they have in the YAML's words."""
        if self.kind == "standard":
            return {"mean": list(self.shift), "std": list(self.divisor)}
        if self.kind == "min_max":
            return {"min": list(self.shift), "range": list(self.divisor)}
        return {"divide": list(self.divisor)}


def scaling(kind: str | float, rows: Rows, training: Sequence[int], one_hot: Sequence[bool]) -> Scaling:
    """The constants of `kind` (a number divides), from the rows trained on."""
    width = len(rows[0])
    kept = [bool(one_hot) and one_hot[k] for k in range(width)]
    if not isinstance(kind, str):
        return Scaling("divide", (0.0,) * width, tuple(1.0 if keep else float(kind) for keep in kept))
    shift, divisor = [], []
    for k in range(width):
        column = [rows[n][k] for n in training]
        if kept[k]:
            a, b = 0.0, 1.0
        elif kind == "standard":
            a = math.fsum(column) / len(column)
            b = math.sqrt(math.fsum((value - a) ** 2 for value in column) / len(column))
        else:
            a = min(column)
            b = max(column) - a
        shift.append(a)
        divisor.append(1.0 if constant(a, b) else b)
    return Scaling(kind, tuple(shift), tuple(divisor))


def constant(shift: float, spread: float) -> bool:
    """Whether a column does not vary, up to the rounding of its mean."""
    return spread <= 1e-12 * abs(shift)


def unvarying(rows: Rows, training: Sequence[int], one_hot: Sequence[bool]) -> list[int]:
    """The columns that are no classes and have one value in all rows trained on."""
    return [
        k for k in range(len(rows[0]))
        if not (one_hot and one_hot[k]) and len({rows[n][k] for n in training}) == 1
    ]  # fmt: skip


def filled(rows: Rows, rule: str | float, training: Sequence[int]) -> tuple[Rows, dict[int, tuple[int, float]]]:
    """The rows without missing cells, and for each column that had some: how many, and the number they got."""
    constants: dict[int, tuple[int, float]] = {}
    for k in range(len(rows[0])):
        missing = sum(row[k] != row[k] for row in rows)
        if missing:
            known = sorted(rows[n][k] for n in training if rows[n][k] == rows[n][k])
            constants[k] = (missing, _constant(rule, known))
    if not constants:
        return rows, constants
    whole = [[constants[k][1] if value != value else value for k, value in enumerate(row)] for row in rows]
    return whole, constants


def _constant(rule: str | float, known: list[float]) -> float:
    if not isinstance(rule, str):
        return float(rule)
    if not known:
        raise ValueError("no value in the rows that are trained on")
    middle = len(known) // 2
    if rule == "median":
        return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
    return math.fsum(known) / len(known)
