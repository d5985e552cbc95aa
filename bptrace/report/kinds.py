"""Which kind a node's working takes, and which of its elements get lines.

The kind is chosen from the formula's structure and the axes that it sums over, never from values.
"""

from __future__ import annotations

from collections.abc import Sequence

from bptrace.formula.expr import (
    Expr,
    Function,
    Index,
    Number,
    Ref,
    flat,
)
from bptrace.graph.node import Node
from bptrace.ops.arithmetic import Add
from bptrace.report.addends import count, over_steps
from bptrace.report.block_parts import BlockParts
from bptrace.report.notation import unflat
from bptrace.report.places import laid_over, spatial
from bptrace.report.structure import summed_axes, table_parts

REDUCED = ("sample", "time")
"""Axes whose sums are written addend by addend."""

WIDE = 64
"""Terms of a sum above which one unit is worked out and the others are listed."""


class Kinds(BlockParts):
    """Chooses kinds and places."""

    def _kind(self, node: Node, first: Expr) -> str:
        if isinstance(first, Function) and first.name == "drawn":
            return "drawn"
        axes = summed_axes(first)
        if isinstance(node.op, Add) and node.phase == "backward":
            return "contributions"
        if node.op.name == "window_choice":
            return "chosen"
        if len(spatial(node)) > 1 and not node.names and _repeated(flat(first)):
            return "picture"
        windows, most = laid_over(node, first), max(self.limits.terms, 0)
        # the channels of a window have rows of their own
        terms = max((extent for _, extent in axes), default=1) if windows else count(first)
        stepped = over_steps(first)
        reduced = any(axis in REDUCED and extent > 1 for axis, extent in axes) or (stepped and terms > most)
        if axes and terms > most and (terms > WIDE or not reduced):
            return "running"
        if windows and all(extent <= most for axis, extent in axes if axis in REDUCED):
            return "rows"
        if reduced and (node.shape or terms > most):
            return "addends"
        if any(axis not in REDUCED for axis, _ in axes) or (axes and not node.shape):
            several = "sample" in node.axes and self.samples > 1
            return "columns" if several and max(extent for _, extent in axes) <= 3 else "working"
        if not node.shape or table_parts(flat(first)) is None:
            return "lines"
        return "table"

    def _repeats(self, node: Node, first: Expr, block: Sequence[Node]) -> bool:
        """A line that would repeat the one before is left out: the sum of one term."""
        return node.phase == "loss" and isinstance(flat(first), Ref) and len(block) > 1

    def _places(self, node: Node, chosen: list[int] | None, most: int, ends: bool) -> tuple[list[tuple[int, ...]], int]:
        """The elements that get lines (the first, or the first and the last), and how many do not."""
        if chosen is not None:
            return sorted((unflat(k, node.shape) for k in chosen), key=lambda index: _rank(node, index)), 0
        if node.size > most:
            half = most // 2 if ends else 0
            kept = [*range(most - half), *range(node.size - half, node.size)]
            return [_in_order(node, k) for k in kept], node.size - most
        return [_in_order(node, k) for k in range(node.size)], 0


def _inner(node: Node) -> list[int]:
    """The axes of a node in the order in which a page counts along them: element by element, of each
    the samples. What has rows and columns stays together sample by sample, as in its picture."""
    axes = list(range(len(node.shape)))
    if "sample" in node.axes and not spatial(node):
        axes.append(axes.pop(node.axes.index("sample")))
    return axes


def _in_order(node: Node, k: int) -> Index:
    """The k-th place of a node as a page counts them."""
    axes = _inner(node)
    places = dict(zip(axes, unflat(k, [node.shape[axis] for axis in axes]), strict=True))
    return tuple(places[axis] for axis in range(len(axes)))


def _rank(node: Node, index: Index) -> Index:
    """What sorts places as a page counts them."""
    return tuple(index[axis] for axis in _inner(node))


def _repeated(expr: Expr) -> bool:
    """Whether a formula is a number that stands on the page, or a whole constant."""
    return isinstance(expr, Ref) or (isinstance(expr, Number) and expr.value.denominator == 1)
