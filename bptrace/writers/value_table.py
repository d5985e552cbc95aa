"""The numbers of a long run as one Markdown table, a row an iteration, without their working.

A row is one template filled at once, since a run of ten thousand iterations has a million numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from bptrace.errors import UsageError

if TYPE_CHECKING:
    from bptrace.graph.node import Node
    from bptrace.trace import Trace

MOST_COLUMNS = 1000
BLOCK = 64
"""Rows that are turned into text at once."""
DIGITS = 10
"""Significant digits of a number; fewer where it needs fewer."""


def value_table(trace: Trace, iterations: Sequence[int]) -> Iterator[str]:
    """A title, then the table: the iteration, and every element by its id."""
    graph = trace.assembly(iterations[0]).graph if iterations else trace.final_assembly.graph
    nodes = [node for node in graph.stored() if not _given(node, trace)]
    names = [name for node in nodes for name in _names(node)]
    if len(names) > MOST_COLUMNS:
        raise UsageError(
            f"--format table: {len(names):,} columns; at most {MOST_COLUMNS:,}. Use csv, or --trace FILE.npy"
        )
    if any(trace.assembly(i).graph is not graph for i in iterations):
        raise UsageError("--format table: batches of different sizes have different columns; use csv")
    yield f"# {trace.network.name}\n\n{DIGITS} significant digits; parameters as they are before the update.\n\n"
    yield f"| iteration | {' | '.join(names)} |\n|{' --: |' * (len(names) + 1)}\n"
    template = "| %d" + f" | %.{DIGITS}g" * len(names) + " |\n"
    lines: list[str] = []
    for iteration, row in zip(iterations, trace.rows(nodes, iterations), strict=True):
        lines.append(template % (iteration, *row))
        if len(lines) == BLOCK:
            yield "".join(lines)
            lines.clear()
    yield "".join(lines)


def _given(node: Node, trace: Trace) -> bool:
    """What is the same in every row is left out."""
    return node.phase in ("data", "setting") or node in trace.final_assembly.held


def _names(node: Node) -> Iterator[str]:
    for index in product(*(range(1, extent + 1) for extent in node.shape)):
        place = ",".join(map(str, index))
        yield f"{node.id}[{place}]" if place else node.id
