"""The logarithm of a sum of exponentials, a smooth maximum; its derivative is softmax.

The page shows the textbook formula; the kernel takes the largest argument out first, which changes no
value but keeps exp from overflowing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import Expr, Index, exp, ln
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Emit, Operand, Read, Sample, Term
from bptrace.ops.arithmetic import times
from bptrace.ops.lazy import np
from bptrace.ops.reduction import Reduction, Total

if TYPE_CHECKING:
    from bptrace.graph.op import Array


class _Exponentials:
    """An operand as sums see it that add up the exponentials of its elements."""

    def __init__(self, operand: Operand) -> None:
        self.operand = operand
        self.shape = operand.shape

    def __getitem__(self, index: Any) -> Expr:
        return exp(self.operand[index])


class Exponentials(Reduction):
    """Base: `axes` are summed over, of the exponentials of x."""

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        far = [600.0, 601.0, -5.0]  # larger ones would overflow in the textbook form
        return [*super().samples(rng), (cls((0,), ("place",)), (far,))]

    def total(self, at: Index, x: Operand) -> Expr:
        """Σ exp(x[k]); `at` is the place along the other axes."""
        return self.terms(at, _Exponentials(x))  # type: ignore[arg-type]

    def largest(self, x: Array) -> Array:
        """The largest element along the axes, which stay; 0 where all are -∞."""
        found = x.max(axis=self.axes, keepdims=True)
        return np.where(np.isfinite(found), found, 0.0)


class LogSumExp(Exponentials):
    """ln Σ exp(x[k])"""

    name = "log_sum_exp"

    def compute(self, *arrays: Array) -> Array:
        (x,) = arrays
        largest = self.largest(x)
        grown = np.log(np.exp(x - largest).sum(axis=self.axes))
        return np.asarray(grown + largest.reshape(grown.shape))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        return ln(self.total(at, operands[0]))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> Term:
        op, inputs = self.spread(emit, node, cotangent)
        return times(emit(op, *inputs), self._slope(emit, read(node.inputs[0])))

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> Term:
        op, inputs = times(tangent, self._slope(emit, node.inputs[0]))
        return Total(self.axes, self.words), (emit(op, *inputs),)

    def _slope(self, emit: Emit, x: Node) -> Node:
        return emit(SoftmaxOver(self.axes, self.words), x, inline=False)


class SoftmaxOver(Exponentials):
    """exp(x[i]) / Σ exp(x[k]), the sum over one axis or several."""

    name = "softmax_over"

    def shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def compute(self, *arrays: Array) -> Array:
        (x,) = arrays
        grown = np.exp(x - self.largest(x))
        return np.asarray(grown / grown.sum(axis=self.axes, keepdims=True))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (x,) = operands
        outer = tuple(place for axis, place in enumerate(at) if axis not in self.axes)
        return exp(x[at]) / self.total(outer, x)


__all__ = ["LogSumExp", "SoftmaxOver"]
