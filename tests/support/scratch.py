"""Work space for kernels that are bound outside of an engine."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from bptrace.graph.op import Call, Op


def bound(op: Op, out: Any, operands: Sequence[Any]) -> list[Call]:
    """The calls of an op's kernel, in work space full of NaN."""
    scratch = _Scratch()
    calls = list(op.bind(out, *operands, scratch=scratch))
    return [*scratch.first, *calls]


class _Scratch:
    def __init__(self) -> None:
        self.first: list[Call] = []

    def __call__(self, shape: tuple[int, ...]) -> Any:
        return np.full(shape, np.nan)

    def arranged(
        self, source: Any, how: Hashable, shape: tuple[int, ...], arrange: Callable[[Any], Iterable[Call]]
    ) -> Any:
        made = np.zeros(shape)
        self.first += arrange(made)
        return made
