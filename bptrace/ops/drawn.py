"""Random numbers as part of the graph, and the 0/1 masks that are made of them.

The only operand is the number of the iteration, so that recorded rows, checkpoints, steps back and
every engine see the same numbers.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bptrace.formula.expr import Expr, Function, Index, choose, letter, number
from bptrace.graph.node import Node, Shape
from bptrace.graph.op import Call, Emit, Op, Operand, Read, Sample, Scratch
from bptrace.ops.arithmetic import Pointwise, random_array
from bptrace.ops.lazy import np

if TYPE_CHECKING:
    from bptrace.graph.op import Array


@dataclass(frozen=True)
class Drawn(Op):
    """Uniform numbers from 0 to below 1, row by row: those of `random.Random(f"{stream}:{iteration}")`.

    iteration: (); the result has the shape `extents`. The formula asks Python's generator, the kernel
    NumPy's, which is put into the same state.
    """

    name = "drawn"
    given = True
    stream: str = ""
    extents: Shape = ()

    def shape(self, *shapes: Shape) -> Shape:
        return self.extents

    def bind(self, out: Array, *arrays: Array, scratch: Scratch) -> Iterable[Call]:
        return [(self._fill, (out, arrays[0], np.random.RandomState(0)))]

    def compute(self, *arrays: Array) -> Array:
        out = np.empty(self.extents)
        self._fill(out, arrays[0], np.random.RandomState(0))
        return out

    def _fill(self, out: Array, iteration: Array, generator: Any) -> None:
        *key, place = random.Random(f"{self.stream}:{int(iteration)}").getstate()[1]
        generator.set_state(("MT19937", key, place))
        out[...] = generator.random_sample(self.extents)

    def formula(self, at: Index, *operands: Operand) -> Expr:
        (iteration,) = operands
        if any(isinstance(place, str) for place in at):
            return Function("drawn", (letter(self.stream), iteration[()]))
        flat = 0
        for place, extent in zip(at, self.extents, strict=True):
            flat = flat * extent + place
        return Function("drawn", (letter(self.stream), iteration[()], number(flat + 1)))

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> None:
        return None

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> None:
        return None

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls("0:drop.mask", (2, 3)), (4.0,)), (cls("7:m", (3,)), (1.0,)), (cls("0:m"), (12.0,))]


@dataclass(frozen=True)
class AtLeast(Pointwise):
    """1 where a number is at least `threshold`, else 0: of uniform numbers the share 1 - threshold."""

    name = "at_least"
    threshold: float = 0.5

    def counts(self) -> bool:
        return True

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0] >= self.threshold, dtype=np.float64)

    def value(self, *operands: Expr) -> Expr:
        return choose(operands[0], ">=", self.threshold, 1, 0)

    def vjp(self, emit: Emit, node: Node, k: int, cotangent: Node, read: Read) -> None:
        return None

    def jvp(self, emit: Emit, node: Node, k: int, tangent: Node) -> None:
        return None

    @classmethod
    def samples(cls, rng: random.Random) -> Sequence[Sample]:
        return [(cls(0.3), (random_array(rng, 2, 3, low=0, high=1),)), (cls(0.5), ([0.25, 0.5, 0.75],))]
