"""Time masks: which steps of a sequence each sample reads.

Sequences of unequal length are padded to one length; the mask (N, T) has 1 where a step is read and 0 where
it is passed over. A step that is passed over leaves the state, and with it the output, as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bptrace.graph.node import Node, Own, Shape
from bptrace.ops.sequence import Pick
from bptrace.ops.shaping import Expand
from bptrace.spec.base import shape_of

if TYPE_CHECKING:
    from bptrace.build.builder import Builder
    from bptrace.layers.base import Path


@dataclass(frozen=True)
class TimeMask:
    """The mask of a layer: its leaf `rnn.mask`, (N, T), and what it says of each step in all data."""

    leaf: Node
    rows: list[list[float]]

    def read_by_all(self, t: int) -> bool:
        """Whether every sample reads the step at place `t` (from 1)."""
        return all(row[t - 1] == 1 for row in self.rows)

    def at(self, builder: Builder, t: int, shape: Shape) -> Node:
        """The mask of one step, `rnn.mask@2`, for every unit: (N, units)."""
        id = f"{self.leaf.id}@{t}"
        rest: dict[str, Any] = {"phase": "forward", "layer": self.leaf.layer, "inline": True, "step": t}
        whole = f"{id}.units"
        if whole in builder.graph.by_id:
            return builder.graph.by_id[whole]
        symbol = Own(f"m@{t}")
        step = builder.graph.add(id, Pick(1, t - 1), self.leaf, symbol=symbol, axes=("sample",), **rest)
        return builder.graph.add(whole, Expand(shape, (0,)), step, symbol=symbol, axes=("sample", "unit"), **rest)


def time_mask(builder: Builder, name: str, given: Any, at: Path, source: Node) -> TimeMask | None:
    """The mask of a layer that reads `source` (N, T, features); None where every step is read, or after a problem."""
    count = source.shape[1]
    shape = shape_of(given)
    if shape not in ((count,), (builder.total, count)):
        expected = f"the shape [{builder.total}, {count}] (samples, time steps) or [{count}]: 1 where a step is read"
        builder.problem(at, f"the shape is {list(shape)}", expected)
        return None
    rows = given if len(shape) == 2 else [given] * builder.total
    problems = len(builder.problems)
    for n, row in enumerate(rows):
        for k, number in enumerate(row):
            if number not in (0, 1) and (n == 0 or len(shape) == 2):
                place = (n, k) if len(shape) == 2 else (k,)
                builder.problem((*at, *place), f"{number:g} is no mark of a mask", "1 (read) or 0 (passed over)")
    if len(builder.problems) > problems or all(number == 1 for row in rows for number in row):
        return None
    leaf = builder.graph.leaf(
        f"{name}.mask", (source.shape[0], count), given * source.shape[0] if len(shape) == 1 else None,
        phase="data", symbol=Own("m"), axes=("sample", "time"), layer=name, word="mask",
    )  # fmt: skip
    if len(shape) == 2:
        builder.rows(leaf, rows)
    return TimeMask(leaf, rows)
