"""The work space of kernels: arrays that are made once and serve in every iteration."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from bptrace.graph.node import Shape
from bptrace.graph.op import Call

if TYPE_CHECKING:
    from bptrace.graph.op import Array


LINE = 64
"""Bytes of a cache line."""


def aligned(numpy: ModuleType, shape: Shape) -> Array:
    """Zeros that begin with a cache line: where arrays begin elsewhere, NumPy may sum in another order,
    and a row that is computed again would come to another last bit."""
    size = math.prod(shape)
    numbers = numpy.zeros(size + LINE // 8)
    start = -numbers.ctypes.data % LINE // 8
    made: Array = numbers[start : start + size].reshape(shape)
    return made


class Workspace:
    """All work space of one engine; `add` takes a call that arranges an operand, before those that read it.

    Kernels run one after the other, so they share what they only need while they run.
    """

    def __init__(self, numpy: ModuleType, add: Callable[[Array, Call], None]) -> None:
        self.np = numpy
        self.add = add
        self.shared: dict[tuple[Shape, int], Array] = {}
        self.arranged: dict[tuple[int, Hashable], Array] = {}

    def kernel(self) -> KernelScratch:
        """The scratch of one kernel."""
        return KernelScratch(self)


class KernelScratch:
    """What one kernel takes from the work space (`Scratch`): no two arrays of its own are the same."""

    def __init__(self, space: Workspace) -> None:
        self._space = space
        self._taken: dict[Shape, int] = {}

    def __call__(self, shape: Shape) -> Array:
        self._taken[shape] = self._taken.get(shape, 0) + 1
        key = (shape, self._taken[shape])
        if key not in self._space.shared:
            self._space.shared[key] = aligned(self._space.np, shape)
        return self._space.shared[key]

    def arranged(
        self, source: Array, how: Hashable, shape: Shape, arrange: Callable[[Array], Iterable[Call]]
    ) -> Array:
        space, key = self._space, (id(source), how)
        if key not in space.arranged:
            made = space.arranged[key] = aligned(space.np, shape)
            for call in arrange(made):
                space.add(source, call)
        return space.arranged[key]
