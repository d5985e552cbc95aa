"""Sizes: the norm ‖x‖ is the root of the sum of the squares of all elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import hypot, isfinite

from bptrace.engine.values import Values
from bptrace.graph.node import Node


def numbers(values: Values, node: Node) -> list[float]:
    """All numbers of a node as floats, also where they are decimals or fractions."""
    return [float(value) for value in values.flat(node)]


def norm(values: Values, *nodes: Node) -> float | None:
    """The norm of all elements of some nodes together; none where one of them is no number."""
    return size(x for node in nodes for x in numbers(values, node))


def size(elements: Iterable[float]) -> float | None:
    """The norm of some numbers; none where one of them is no number, or where there are none."""
    found = list(elements)
    total = hypot(*found)
    return total if found and isfinite(total) else None


def total(values: Values, nodes: Sequence[Node]) -> list[float]:
    """The sum of some nodes of one shape, element by element."""
    return [sum(column) for column in zip(*(numbers(values, node) for node in nodes), strict=True)]


def ratio(part: float | None, whole: float | None) -> float | None:
    """part/whole; none where one is missing, or the whole is 0."""
    return None if part is None or not whole else part / whole
