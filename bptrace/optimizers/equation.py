"""Update equations as ops: parameters and their states element by element, settings as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptrace.formula.expr import Expr, Index
from bptrace.graph.node import Shape
from bptrace.graph.op import Op, Operand
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Equation(Op):
    """Base: the first operand gives the shape; operands that are single numbers hold for all elements.

    A subclass states the equation twice: `value` as a formula, `numbers` in NumPy.
    """

    def shape(self, *shapes: Shape) -> Shape:
        for shape in shapes:
            if shape not in ((), shapes[0]):
                raise ValueError(f"an operand of shape {shape} beside {shapes[0]}")
        return shapes[0]

    def value(self, *operands: Expr) -> Expr:
        raise NotImplementedError

    def numbers(self, *arrays: Array) -> Array:
        raise NotImplementedError

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(self.numbers(*arrays))

    def formula(self, at: Index, *operands: Operand) -> Expr:
        return self.value(*(operand[at if operand.shape else ()] for operand in operands))
