"""Where two runs part: the first iteration and, in the order of computing, the first number that differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.engine.values import index_at, position
from bptrace.formula.expr import refs
from bptrace.formula.text import symbols
from bptrace.graph.lookup import element_id
from bptrace.graph.node import Node
from bptrace.graph.op import formula_of
from bptrace.study.norms import numbers

if TYPE_CHECKING:
    from bptrace.trace import Trace

ROUNDING = 1e-12
"""Differences up to this (relative above 1) are those of another order of the same operations."""


@dataclass(frozen=True)
class Difference:
    """The first difference between two runs.

    `values` are those of the element `id` in both; of a node of another shape in each, none. `causes`
    are what its formula reads that differs, by id with both numbers, where both have the same formula.
    """

    iteration: int
    id: str
    node: str
    values: tuple[float, float] | None
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    leaf: bool
    same_formula: bool
    causes: tuple[tuple[str, float, float], ...] = ()


def first_difference(first: Trace, second: Trace) -> Difference | None:
    """The first number under the same id that differs, in the iterations that both recorded."""
    for iteration in sorted({*first.recorded} & {*second.recorded}):
        found = _in_iteration(first, second, iteration)
        if found is not None:
            return found
    return None


def _in_iteration(first: Trace, second: Trace, iteration: int) -> Difference | None:
    a, b = first.values(iteration), second.values(iteration)
    others = b.assembly.graph.by_id
    for node in a.assembly.graph.nodes:
        other = others.get(node.id)
        if other is None or node.inline or other.inline or node.phase in ("setting", "check") or node.word == "state":
            continue
        if node.shape != other.shape:
            return Difference(iteration, node.id, node.id, None, (node.shape, other.shape), not node.inputs, False)
        for k, pair in enumerate(zip(numbers(a, node), numbers(b, other), strict=True)):
            if _apart(*pair):
                return _difference(iteration, node, other, k, pair, first, second)
    return None


def _apart(x: float, y: float) -> bool:
    if x != x or y != y:
        return (x != x) != (y != y)
    return x != y and not abs(x - y) <= ROUNDING * max(1.0, abs(x), abs(y))


def _difference(
    iteration: int, node: Node, other: Node, k: int, pair: tuple[float, float], first: Trace, second: Trace
) -> Difference:
    shapes = (node.shape, other.shape)
    id = element_id(node, k)
    if not node.inputs:
        return Difference(iteration, id, node.id, pair, shapes, True, False)
    index = index_at(node.shape, k)
    one, two = formula_of(node, index), formula_of(other, index)
    said = [symbols(expr, lambda ref: f"{ref.node.id}{ref.index}") for expr in (one, two)]
    same = said[0] == said[1]
    a, b = first.values(iteration), second.values(iteration)
    causes: dict[str, tuple[str, float, float]] = {}
    for mine, its in zip(refs(one), refs(two), strict=False) if same else ():
        read = (float(a.number(mine)), float(b.number(its)))
        if _apart(*read):
            name = element_id(mine.node, position(mine.node.shape, mine.index))
            causes.setdefault(name, (name, *read))
    return Difference(iteration, id, node.id, pair, shapes, False, same, tuple(causes.values()))
