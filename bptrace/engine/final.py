"""One more forward pass after the last update."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from bptrace.engine.exact import FormulaEngine
from bptrace.engine.layout import Layout, forward_nodes, state_leaves
from bptrace.engine.values import FLOATS, Numbers, Values

if TYPE_CHECKING:
    from bptrace.build.assemble import Assembly

MOST_BY_FORMULAS = 5_000
"""Elements up to which formulas are quicker than importing NumPy."""


def final_values(assembly: Assembly, state: Sequence[Any], numbers: Numbers, by_formulas: bool) -> Values:
    """The values of the forward pass and the loss over all rows that are trained on, with the given state."""
    layout = Layout(assembly, forward_nodes(assembly.graph))
    state = at_parameters(assembly, state)
    batch = assembly.parts.training
    if numbers is not FLOATS or (by_formulas and layout.size <= MOST_BY_FORMULAS):
        engine = FormulaEngine(layout, numbers)
        engine.state = state
        row: Sequence[Any] = engine.row(batch)
        # where a formula overflows, the kernels may still have a number
        if numbers is not FLOATS or all(map(isfinite, row)):
            return Values(layout, batch, row, numbers=numbers)
    from bptrace.engine.array import ArrayEngine

    kernels = ArrayEngine(assembly, layout, batch)
    kernels.state = state
    chunk = memoryview(bytearray(max(1, layout.size) * 8)).cast("d")
    kernels.run([batch], chunk, 0, [])
    return Values(layout, batch, chunk[: layout.size])


def at_parameters(assembly: Assembly, state: Sequence[Any]) -> Sequence[Any]:
    """The state without the velocities by which lookahead moves the parameters before it reads them: the
    result is what the parameters themselves give."""
    graph = assembly.graph
    settled: list[Any] = []
    start = 0
    for leaf in state_leaves(graph):
        numbers = state[start : start + leaf.size]
        start += leaf.size
        ahead = leaf.id.startswith("state.v.") and f"ahead.{leaf.id.removeprefix('state.v.')}" in graph.by_id
        settled += [0 * x for x in numbers] if ahead else numbers
    return settled
